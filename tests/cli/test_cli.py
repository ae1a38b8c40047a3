"""The command line as a person or a script meets it."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pystac
import pytest
import rasterio.shutil
import yaml
from click.testing import CliRunner
from support.models import save_bundle
from support.rasters import write_raster

from geoseg.cli import COMMANDS, main
from geoseg.inference.fit import NO_STATISTICS
from geoseg.metrics.intervals import Bootstrap
from geoseg.metrics.unit_counts import UnitCounts
from geoseg.spec import ModelCard

BARE = ("--no-polygons", "--no-preview", "--no-stac")
"""Nothing but the class raster."""


@pytest.fixture
def bundle(tmp_path):
    return save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"))


@pytest.fixture
def scene(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (3, 60, 70), dtype=np.uint8)
    return write_raster(tmp_path / "scene.tif", values, photometric="RGB")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_predict_writes_and_reports(tmp_path, scene, bundle):
    result = run("predict", scene, "-m", bundle, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"scene_landcover.{end}" for end in ("gpkg", "json", "png", "qml", "sld", "tif", "tif.aux.xml")
    ]
    for said in ("class 0", "%", "forwarded", "polygons", "scene_landcover.tif", "cpu"):
        assert said in result.stdout
    assert "bands by colour interpretation" in result.stderr


def test_json_is_all_that_is_printed(tmp_path, scene, bundle):
    result = run("predict", scene, "-m", bundle, "-o", tmp_path / "out", "--json")
    report = json.loads(result.stdout)
    assert result.stderr == ""
    assert set(report["paths"]) == {"landcover", "polygons", "preview", "style", "sld", "item"}
    assert abs(sum(c["share"] for c in report["classes"]) - 1) < 1e-9


def test_quiet_says_nothing(tmp_path, scene, bundle):
    result = run("predict", scene, "-m", bundle, "-o", tmp_path / "out", "-q")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("flags", [(), ("--overwrite",), ("--resume",), ("--overwrite", "--resume")])
def test_dry_run_writes_nothing(tmp_path, scene, bundle, flags):
    result = run("predict", scene, "-m", bundle, "-o", tmp_path / "out", "--dry-run", *flags)
    assert "1 window of" in result.stdout
    assert "memory" in result.stdout
    assert not (tmp_path / "out").exists()


def test_flags_win_over_the_config_file(tmp_path, scene, bundle):
    config = tmp_path / "c.yaml"
    given = {"tile": 64, "overlap": 8, "bands": [3, 2, 1], "model": str(bundle), "no-polygons": True, "json": True}
    config.write_text(yaml.safe_dump(given))
    result = run("predict", scene, "--config", config, "-o", tmp_path / "out", "--overlap", "16")
    report = json.loads(result.stdout)
    assert report["settings"]["tile"] == 64
    assert report["settings"]["overlap"] == 16
    assert report["settings"]["bands"] == [3, 2, 1]
    assert report["polygons"] is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("no-such: 1", "unknown setting 'no-such'"),
        ("tile: [1]", "tile = [1]: give a single value"),
        ("scores: {a: b}", "give a single value"),
        ("- tile", "holds no settings"),
        ("tile: ]", "is not YAML"),
    ],
)
def test_a_bad_config_file_names_the_setting(tmp_path, scene, line, says):
    (tmp_path / "c.yaml").write_text(line)
    result = run("predict", scene, "--config", tmp_path / "c.yaml")
    assert result.exit_code == 1
    assert says in result.stderr


def test_json_has_no_nan(tmp_path, bundle):
    scene = write_raster(tmp_path / "f.tif", np.full((3, 9, 9), np.nan, np.float32), nodata=np.nan)
    flat = write_raster(tmp_path / "s.tif", np.zeros((3, 9, 9), np.float32), photometric="RGB")

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(run("info", scene, "--json").stdout, parse_constant=refuse)["nodata"] == "nan"
    settings = "--nodata", "nan", "--rescale", "0,1"
    report = run("predict", flat, "-m", bundle, "-o", tmp_path / "out", *settings, "--json")
    assert json.loads(report.stdout, parse_constant=refuse)["settings"]["nodata"] == "nan"


def test_outputs_of_all_scenes_are_checked_before_the_first(tmp_path, scene, bundle):
    other = write_raster(tmp_path / "other.tif", np.zeros((3, 9, 9), np.uint8), photometric="RGB")
    (tmp_path / "other_landcover.tif").write_text("mine")
    result = run("predict", scene, other, "-m", bundle, "-o", tmp_path)
    assert result.exit_code == 1
    assert "other_landcover.tif exists" in result.stderr
    assert not (tmp_path / "scene_landcover.tif").exists()


def test_several_scenes_go_on_past_one_that_fails(tmp_path, scene, bundle):
    (tmp_path / "bad.tif").write_text("no raster")
    result = run("predict", tmp_path / "bad.tif", scene, "-m", bundle, "-o", tmp_path / "out", "--no-polygons")
    assert result.exit_code == 1
    assert "bad.tif" in result.stderr
    *_, listed, last = result.stderr.splitlines()
    assert listed.startswith(f"  {tmp_path / 'bad.tif'} cannot be opened as a raster")
    assert last == "error: 1 of 2 scenes failed, as listed above"
    assert (tmp_path / "out" / "scene_landcover.tif").exists()


def test_several_scenes_need_a_folder_and_get_names_of_their_own(tmp_path, scene, bundle):
    (tmp_path / "a").mkdir()
    twin = write_raster(tmp_path / "a" / "scene.tif", np.zeros((3, 9, 9), np.uint8), photometric="RGB")
    assert "give a folder" in run("predict", scene, twin, "-m", bundle, "-o", tmp_path / "x.tif").stderr
    assert run("predict", scene, twin, "-m", bundle, "-o", tmp_path / "o", *BARE).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "o").glob("*.tif")) == [
        "a_scene_landcover.tif", f"{tmp_path.name}_scene_landcover.tif",
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path, scene):
    """Two scenes and a broken one between them."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.tif").write_text("no raster")
    for name in ("a", "c"):
        shutil.copy(scene, tmp_path / "in" / f"{name}.tif")
    return tmp_path / "in"


def results(folder):
    return sorted(path.name for path in folder.glob("*_landcover.tif"))


def test_a_folder(tmp_path, folder, bundle):
    result = run("predict", folder, "-m", bundle, "-o", tmp_path / "out", *BARE)
    assert result.exit_code == 1
    assert results(tmp_path / "out") == ["a_landcover.tif", "c_landcover.tif"]
    for said in (f"== scene 1 of 3: {folder / 'a.tif'}", "== scene 3 of 3", "error: 1 of 3 scenes failed"):
        assert said in result.stderr
    assert result.stdout.endswith("2 scenes: 0.0 Mpx, 0.0 Mpx through the network\n")


def test_json_of_many_scenes_lists_results_and_errors_in_order(tmp_path, folder, bundle):
    result = run("predict", folder, "-m", bundle, "-o", tmp_path / "out", *BARE, "--json")
    reports = json.loads(result.stdout)
    assert [Path(report["scene"]).name for report in reports] == ["a.tif", "b.tif", "c.tif"]
    assert [set(report) & {"paths", "error"} for report in reports] == [{"paths"}, {"error"}, {"paths"}]
    assert "== scene" not in result.stderr
    assert result.exit_code == 1


def test_json_of_one_scene_in_a_folder_is_a_list_too(tmp_path, folder, bundle):
    result = run("predict", folder / "a*.tif", "-m", bundle, "-o", tmp_path / "out", *BARE, "--json")
    assert [Path(report["scene"]).name for report in json.loads(result.stdout)] == ["a.tif"]
    assert result.exit_code == 0


def test_quiet_many_scenes_say_nothing_but_errors(tmp_path, folder, bundle):
    result = run("predict", folder, "-m", bundle, "-o", tmp_path / "out", *BARE, "-q")
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2


def test_a_list_and_a_vrt(tmp_path, folder, bundle):
    vrt = folder / "v.vrt"
    rasterio.shutil.copy(folder / "a.tif", vrt, driver="VRT")
    (tmp_path / "list.txt").write_text("in/v.vrt\nin/missing.tif\nin/c.tif\n")
    result = run("predict", tmp_path / "list.txt", "-m", bundle, "-o", tmp_path / "out", *BARE)
    assert results(tmp_path / "out") == ["c_landcover.tif", "v_landcover.tif"]
    assert f"  no scene at {folder / 'missing.tif'}" in result.stderr
    assert result.exit_code == 1


def test_stac_items(tmp_path, folder, bundle):
    def item(name, **assets):
        links = {key: pystac.Asset(href, media_type=pystac.MediaType.COG) for key, href in assets.items()}
        return pystac.Item(name, None, None, datetime.now(UTC), {}, assets=links)

    items = [item("A/1", visual="in/a.tif", nir="in/b.tif"), item("C", nir="in/c.tif"), item("D", x="x", y="y")]
    pystac.ItemCollection(items).save_object(tmp_path / "items.json")
    result = run("predict", tmp_path / "items.json", "-m", bundle, "-o", tmp_path / "out", "--no-polygons")
    assert results(tmp_path / "out") == ["A_1_landcover.tif", "C_landcover.tif"]
    assert pystac.Item.from_file(str(tmp_path / "out" / "A_1_landcover.json")).id == "A_1_landcover"
    assert f"item D of {tmp_path / 'items.json'} has several rasters (x, y)" in result.stderr
    result = run("predict", tmp_path / "items.json", "-m", bundle, "-o", tmp_path / "nir", *BARE, "--asset", "nir")
    assert results(tmp_path / "nir") == ["C_landcover.tif"]
    assert "has no asset nir (x, y)" in result.stderr


def test_stac_items_behind_a_url(tmp_path, folder, bundle, server):
    # A signed address, beside which GDAL looks for no sidecars: it would ask for those while it keeps Python waiting,
    # and so this server.
    asset = pystac.Asset("in/a.tif?signed=1", roles=["data"])
    item = pystac.Item("far", None, None, datetime.now(UTC), {}, assets={"any": asset})
    (tmp_path / "far.json").write_text(json.dumps(item.to_dict(include_self_link=False)))
    result = run("predict", f"{server}/far.json", "-m", bundle, "-o", tmp_path / "out", *BARE, "--json")
    assert json.loads(result.stdout)[0]["scene"] == f"{server}/in/a.tif?signed=1"
    assert results(tmp_path / "out") == ["far_landcover.tif"]


def test_a_dry_run_of_many_scenes_sums_up(tmp_path, folder, bundle):
    (tmp_path / "in" / "d").mkdir()
    shutil.copy(folder / "a.tif", folder / "d" / "a.tif")
    options = ("-m", bundle, "-o", tmp_path / "out", "--confidence", tmp_path / "more", "--dry-run")
    result = run("predict", folder, *options)
    assert "3 scenes: 0.0 Mpx" in result.stdout
    assert str(tmp_path / "more" / "d_a_confidence.tif") in result.stdout
    assert "1 of 4 scenes failed" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_results_in_a_folder_are_looked_for_before_the_first_scene(tmp_path, folder, bundle, flags):
    (tmp_path / "c_landcover.tif").write_text("mine")
    result = run("predict", folder, "-m", bundle, "-o", tmp_path, *BARE, *flags)
    assert result.stderr == f"error: {tmp_path}/c_landcover.tif exists: pass --overwrite to replace it, or choose " \
        "another --output\n"  # fmt: skip
    assert results(tmp_path) == ["c_landcover.tif"]


def test_no_result_replaces_another_scene(tmp_path, scene, bundle):
    other = shutil.copy(scene, tmp_path / "scene_landcover.tif")
    result = run("predict", scene, other, "-m", bundle, "-o", tmp_path, *BARE, "--overwrite")
    assert "scene_landcover.tif is one of the scenes itself" in result.stderr


def test_an_interruption_ends_all(tmp_path, folder, bundle, monkeypatch):
    begun = []

    def interrupted(scene, *_, **__):
        begun.append(scene)
        raise KeyboardInterrupt

    monkeypatch.setattr("geoseg.commands.scene_tasks.predict", interrupted)
    result = run("predict", folder, "-m", bundle, "-o", tmp_path / "out")
    assert (len(begun), result.exit_code) == (1, 1)
    assert "interrupted" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "missing.tif"], "no scene at missing.tif"),
        (["predict", "{scene}", "-m", "missing.safetensors"], "no model at missing.safetensors"),
        (["predict", "{scene}", "-m", "{pickle}"], "refused"),
        (
            ["predict", "{scene}", "-m", "{folder}/empty"],
            "is a folder without the bundle of a run",
        ),
        (["predict", "{folder}/empty", "-m", "{bundle}"], "holds no raster"),
        (["predict", "{folder}/*.jp2", "-m", "{bundle}"], "no raster matches"),
        (["predict", "{folder}/none.txt", "-m", "{bundle}"], "cannot read"),
        (["predict", "{folder}/none.json", "-m", "{bundle}"], "cannot read"),
        (["predict", "{scene}", "-m", "{bundle}", "--bands", "1,2"], "names 2 bands"),
        (["predict", "{scene}", "-m", "{bundle}", "--device", "cuda:99"], "use --device"),
        (["predict", "{scene}", "-m", "{bundle}", "--overlap", "9999"], "overlap"),
        (["predict", "{scene}", "--config", "missing.yaml"], "cannot read settings"),
        (["info", "missing.tif"], "no scene at"),
        (["vectorize", "missing.tif", "-o", "out.gpkg"], "missing.tif"),
        (["train", "missing.yaml", "-o", "out"], "missing.yaml"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_1(tmp_path, scene, bundle, arguments, says):
    pickle = tmp_path / "model.pt"
    pickle.write_bytes(b"\x80\x04cos\nsystem\n")
    (tmp_path / "empty").mkdir()
    places = {"scene": scene, "bundle": bundle, "pickle": pickle, "folder": tmp_path}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") <= 3  # notices about bands and the model may come first
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments", [["predict"], ["predict", "x", "--tile", "abc"], ["nonsense"], ["predict", "x", "--bands", "r,g"]]
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_info_shows_scores_with_their_intervals(tmp_path):
    random = np.random.default_rng(0)
    counts = UnitCounts(random.integers(1, 99, (8, 2, 2)), *np.zeros((2, 8, 2), np.int64), None)
    scores = Bootstrap(8).scores(counts, ["wood", "level"], "an image")
    path = save_bundle(tmp_path / "m.safetensors", card=ModelCard(scores=scores.as_dict()))
    low, high = (f"{end:.2f}" for end in (scores.interval("miou").low, scores.interval("miou").high))
    shown = run("info", path).stdout
    assert f"miou: {scores.miou:.3f} ({low} to {high})" in shown
    assert f"level: {scores.iou['level']:.3f} (" in shown
    assert "intervals: 95% intervals by 2,000 resamples of 8 units with labels, each an image (rough" in shown
    values = json.loads(run("info", path, "--json").stdout)["card"]["scores"]
    assert values["miou"] == scores.miou
    assert values["intervals"]["figures"]["miou"]["low"] == scores.interval("miou").low


def test_info_of_a_scene_and_a_model(scene, bundle):
    result = run("info", scene, "-m", bundle, "--json")
    report = json.loads(result.stdout)
    assert report["size"] == {"width": 70, "height": 60, "megapixels": 0.004}
    assert report["fits"] == {
        "model": "test", "fits": True, "bands": {"red": 1, "green": 2, "blue": 3}, "bands_by": "colour interpretation",
        "model_resolution_m": None,
        "notices": ["bands by colour interpretation: red = band 1, green = band 2, blue = band 3", NO_STATISTICS],
    }  # fmt: skip
    np.testing.assert_allclose(report["pixel_size_m"], (0.6, 0.6))
    assert "300000, 0, -0.6, 4300000" in run("info", scene, "-m", bundle).stdout
    assert "bands: red, green, blue" in run("info", bundle).stdout


def test_every_command_and_option_has_help():
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command.help, name
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (name, parameter.name)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom geoseg.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'rasterio', 'geopandas', 'numpy', 'lightning', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def file_parameters():
    """Every argument and option of every command that takes a path."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        for parameter in command.params:
            is_name = isinstance(parameter.type, click.types.StringParamType)
            if isinstance(parameter.type, click.Path) or (isinstance(parameter, click.Argument) and not is_name):
                yield pytest.param(name, parameter, id=f"{name} {parameter.name}")


@pytest.mark.parametrize(("command", "parameter"), list(file_parameters()))
def test_an_empty_path_is_a_mistake_not_the_current_folder(command, parameter):
    for empty in ("", " "):
        is_argument = isinstance(parameter, click.Argument)
        result = run(command, empty) if is_argument else run(command, "in.tif", parameter.opts[-1], empty)
        assert result.exit_code == 2
        assert "an empty path names no file" in result.stderr


def test_an_empty_path_in_a_config_is_a_mistake(tmp_path, scene):
    (tmp_path / "c.yaml").write_text('aoi: ""\n')
    result = run("vectorize", scene, "-o", tmp_path / "out.gpkg", "--config", tmp_path / "c.yaml")
    assert result.exit_code == 2
    assert "an empty path names no file" in result.stderr
