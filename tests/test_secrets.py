"""Scenes that need a password or a signature: nothing that geoseg writes or prints holds one."""

import json
import shutil
from urllib.parse import quote

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from support.models import save_bundle
from support.rasters import write_raster
from support.servers import serving_apart

from geoseg.cli import main
from geoseg.core.redaction import public_values
from geoseg.spec import TrainSpec
from geoseg.training.run.provenance import without_folders
from geoseg.training.run.run_folder import written_settings

SECRET = "Pa55wordOfMine"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server of the current folder, in a process of its own."""
    monkeypatch.chdir(tmp_path)
    with serving_apart(tmp_path) as url:
        yield url


@pytest.fixture
def places(tmp_path, server):
    """Paths of one scene on a server, each with secrets; of a folder for results, and of a bundle."""
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    write_raster(tmp_path / "scene.tif", values, photometric="RGB")
    bundle = save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"))
    host = server.removeprefix("http://")
    url = f"http://me:{SECRET}@{host}/scene.tif?sv=1&sig={SECRET}%2F&X-Amz-Signature={SECRET}"
    plain = f"http://{host}/scene.tif?sig={SECRET}"
    options = f"/vsicurl?header.Authorization={quote(f'Bearer {SECRET}')}&url={quote(plain, safe='')}"
    return (
        [url, f"/vsicurl/{url}", options, f"vrt:///vsicurl/http://me:{SECRET}@{host}/scene.tif?bands=1,2,3"],
        tmp_path,
        bundle,
    )


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.output


def written(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files], b"".join(path.read_bytes() for path in files)


def test_no_result_and_no_message_holds_a_secret(places):
    paths, here, bundle = places
    for number, path in enumerate(paths):
        out = here / f"out{number}"
        texts = [
            run("predict", path, "-m", bundle, "-o", out, *more)
            for more in ([], ["--json", "--overwrite"])[number % 2 :]
        ]
        texts += [run("info", path, "-m", bundle, *["--json"][number % 2 :])]
        if number == 2:
            texts += [run("predict", path, "-m", bundle, "-o", out, "--resume"), run("predict", path, "--dry-run")]
        assert [code for code, _ in texts] == [0] * len(texts), texts
        names, content = written(out)
        assert len(names) == 7
        assert any("scene_landcover.tif" in name for name in names)
        everything = "".join(text for _, text in texts) + "".join(names) + content.decode("latin-1")
        assert SECRET not in everything
        item = json.loads((out / "scene_landcover.json").read_text())
        assert "scene.tif" in item["links"][0]["href"]


def test_no_error_holds_a_secret(places):
    paths, here, bundle = places
    for path in paths[1:3]:
        missing = path.replace("scene.tif", "none.tif")
        (here / "list.txt").write_text(f"{missing}\n{path}\n")
        texts = [
            run("predict", missing, "-m", bundle, "-o", here / "out"),
            run("predict", "list.txt", "-m", bundle, "-o", here / "many", "--json", "--overwrite"),
            run("info", missing),
            run("vectorize", missing, "-o", here / "x.gpkg"),
            run("predict", missing.replace(".tif", ".json")),
            run("evaluate", missing, "--labels", missing),
        ]
        assert [code for code, _ in texts] == [1] * len(texts), texts
        assert SECRET not in "".join(text for _, text in texts)


def test_a_broken_scene_says_so_without_its_secret(places, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    paths, here, bundle = places
    (here / "scene.tif").write_bytes((here / "scene.tif").read_bytes()[:3000])
    for path in paths[:2]:
        code, text = run("predict", path, "-m", bundle, "-o", here / "out")
        assert code == 1
        assert SECRET not in text


def test_escape_sequences_are_shown_not_obeyed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.zeros((2, 20, 20), np.uint8)
    write_raster(tmp_path / "plain.tif", values, descriptions=("\x1b[2Jred", "b\nerror: x"))
    shutil.move("plain.tif", "\x1b[31m\n.tif")
    for arguments in (
        ["info", "\x1b[31m\n.tif"],
        ["predict", "\x1b[31m\n.tif"],
        ["predict", "\x1b]0;.tif"],
        ["info", "\udcff"],
    ):
        _, text = run(*arguments)
        assert "\x1b" not in text
        assert "\udcff" not in text
    assert "\\x1b[31m" in run("info", "\x1b[31m\n.tif")[1]


def test_wrong_usage_shows_no_escape_sequences(tmp_path):
    for arguments in (["\x1b[31m"], ["predict", "--\x1b[31m"], ["predict", "a.tif", "--nodata", "\x1b[31m"]):
        code, text = run(*arguments)
        assert code == 2
        assert "\x1b" not in text


def test_the_config_of_a_training_run_holds_no_secret():
    url = f"https://me:{SECRET}@h/d/x.tif?sig={SECRET}"
    data = {"scenes": [{"image": url, "label": f"/vsicurl/{url}"}], "bands": ["red"]}
    classes = [{"id": i, "name": str(i), "color": "#000000"} for i in (0, 1)]
    network = {"architecture": "pointwise"}
    spec = TrainSpec.model_validate({"name": "x", "data": data, "classes": classes, "network": network})
    text = json.dumps(written_settings(spec)) + json.dumps(
        public_values(without_folders(spec.data).model_dump(mode="json"))
    )
    assert SECRET not in text
    assert "x.tif" in text


def test_names_of_classes_in_a_raster_are_shown_not_obeyed(tmp_path):
    write_raster(tmp_path / "c.tif", np.zeros((9, 9), np.uint8))
    with rasterio.open(tmp_path / "c.tif", "r+") as raster:
        raster.update_tags(GEOSEG_CLASSES=json.dumps([{"id": 0, "name": "\x1b[31m\ud800\n" + "x" * 10**5}]))
    for extension in ("gpkg", "shp", "geojson", "fgb", "parquet"):
        code, text = run("vectorize", tmp_path / "c.tif", "-o", tmp_path / f"out.{extension}")
        assert "\x1b" not in text
        assert code == 0, text
