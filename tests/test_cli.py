"""The command line as a person or a script meets it."""

import json
import subprocess
import sys

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from conftest import save_bundle, write_raster

from geoseg.cli import COMMANDS, main


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


def test_dry_run_writes_nothing(tmp_path, scene, bundle):
    result = run("predict", scene, "-m", bundle, "-o", tmp_path / "out", "--dry-run")
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
    flat = write_raster(tmp_path / "s.tif", np.zeros((3, 9, 9), np.uint8), photometric="RGB")

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(run("info", scene, "--json").stdout, parse_constant=refuse)["nodata"] == "nan"
    report = run("predict", flat, "-m", bundle, "-o", tmp_path / "out", "--nodata", "nan", "--json")
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
    assert f"1 of 2 scenes failed: {tmp_path / 'bad.tif'}" in result.stderr
    assert (tmp_path / "out" / "scene_landcover.tif").exists()


def test_several_scenes_need_a_folder_and_names_of_their_own(tmp_path, scene, bundle):
    other = write_raster(tmp_path / "other.tif", np.zeros((3, 9, 9), np.uint8), photometric="RGB")
    assert "give a folder" in run("predict", scene, other, "-m", bundle, "-o", tmp_path / "x.tif").stderr
    (tmp_path / "a").mkdir()
    twin = write_raster(tmp_path / "a" / "scene.tif", np.zeros((3, 9, 9), np.uint8), photometric="RGB")
    assert "two scenes are called scene" in run("predict", scene, twin, "-m", bundle, "-o", tmp_path / "o").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "missing.tif"], "no scene at missing.tif"),
        (["predict", "{scene}", "-m", "missing.safetensors"], "no model at missing.safetensors"),
        (["predict", "{scene}", "-m", "{pickle}"], "refused"),
        (["predict", "{scene}", "-m", "{folder}"], "is a folder"),
        (["predict", "{folder}", "-m", "{bundle}"], "is a folder"),
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
    places = {"scene": scene, "bundle": bundle, "pickle": pickle, "folder": tmp_path}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") <= 2  # a notice about bands may come first
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments", [["predict"], ["predict", "x", "--tile", "abc"], ["nonsense"], ["predict", "x", "--bands", "r,g"]]
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_info_of_a_scene_and_a_model(scene, bundle):
    result = run("info", scene, "-m", bundle, "--json")
    report = json.loads(result.stdout)
    assert report["size"] == {"width": 70, "height": 60, "megapixels": 0.004}
    assert report["fits"] == {
        "model": "test", "fits": True, "bands": {"red": 1, "green": 2, "blue": 3}, "bands_by": "colour interpretation",
        "model_resolution_m": 0.6,
        "notices": ["bands by colour interpretation: red = band 1, green = band 2, blue = band 3"],
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
