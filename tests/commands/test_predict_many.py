"""Many scenes in one run, from Python."""

import numpy as np
import pytest
import rasterio
from support.models import echo_model
from support.rasters import write_raster
from support.reporters import Heard

import geoseg.commands.scene_tasks as scene_tasks
from geoseg.commands.predict_many import predict_many
from geoseg.core.errors import ModelError, OutputError, SceneError
from geoseg.core.executors.inline import Inline
from geoseg.scenes import SceneRef, find_scenes

QUICK = {"polygons": False, "preview": False, "stac": False}


@pytest.fixture
def folder(tmp_path, class_values):
    (tmp_path / "in").mkdir()
    for seed, name in enumerate("abc"):
        write_raster(tmp_path / "in" / f"{name}.tif", class_values(40, 50, seed=seed))
    return tmp_path / "in"


def test_every_scene_gets_its_own_result(tmp_path, folder):
    heard = Heard()
    result = predict_many(
        folder,
        tmp_path / "out",
        model=echo_model(),
        reporter=heard,
        **QUICK,
    )
    assert result.failures == ()
    assert [report.paths["landcover"].name for report in result.results] == [f"{n}_landcover.tif" for n in "abc"]
    for report in result.results:
        with rasterio.open(report.scene) as scene, rasterio.open(report.paths["landcover"]) as classes:
            np.testing.assert_array_equal(scene.read(1), classes.read(1))
    assert [state for state in heard.progressed if state[0] == "scenes"] == [("scenes", i, 3) for i in range(4)]
    assert f"== scene 2 of 3: {folder / 'b.tif'}" in heard.lines


def test_a_broken_scene_stops_no_other(tmp_path, folder):
    whole = (folder / "b.tif").read_bytes()
    (folder / "b.tif").write_bytes(whole[: len(whole) // 2])
    result = predict_many(folder, tmp_path / "out", model=echo_model(), **QUICK)
    assert [type(outcome).__name__ for outcome in result.outcomes] == ["PredictResult", "SceneFailure", "PredictResult"]
    assert result.failures[0].scene == str(folder / "b.tif")
    assert result.failures[0].traceback is None
    assert not (tmp_path / "out" / "b_landcover.tif").exists()


def test_an_error_that_nobody_expected_is_named_and_traced(tmp_path, folder, monkeypatch):
    def fail(scene, *arguments, **options):
        if scene.path.endswith("a.tif"):
            raise ZeroDivisionError("by\nzero")
        return predict(scene, *arguments, **options)

    predict = scene_tasks.predict
    monkeypatch.setattr(scene_tasks, "predict", fail)
    result = predict_many(folder, tmp_path / "out", model=echo_model(), **QUICK)
    assert result.failures[0].error == "ZeroDivisionError: by zero"
    assert "in fail" in result.failures[0].traceback
    assert len(result.results) == 2


def test_scenes_with_names_and_problems_of_their_own(tmp_path, folder):
    scenes = [SceneRef(str(folder / "a.tif"), "first"), SceneRef("nowhere", "second", problem="it is not there")]
    result = predict_many(scenes, tmp_path / "out", model=echo_model(), **QUICK)
    assert result.results[0].paths["landcover"].name == "first_landcover.tif"
    assert [failure.error for failure in result.failures] == ["it is not there"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"scenes": []}, SceneError, "no scene was given"),
        ({"output": "one.tif"}, OutputError, "--output one.tif is one file for 3 scenes"),
        ({"scores": "one.tif"}, OutputError, "--scores one.tif is one file for 3 scenes"),
        ({"model": "missing.safetensors"}, ModelError, "no model at"),
    ],
)
def test_what_stops_all_scenes_stops_before_the_first(tmp_path, folder, change, error, says):
    given = {"scenes": folder, "output": tmp_path / "out", "model": echo_model()} | QUICK | change
    with pytest.raises(error, match=says):
        predict_many(given.pop("scenes"), given.pop("output"), **given)
    assert not (tmp_path / "out").exists()


def test_results_reached_by_a_link_are_found(tmp_path, folder):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(OutputError, match="one of the scenes itself"):
        predict_many(
            [folder / "a.tif", write_raster(folder / "a_landcover.tif", np.zeros((9, 9), np.uint8))],
            tmp_path / "link",
            model=echo_model(),
            overwrite=True,
            **QUICK,
        )


def test_large_scenes_are_left_to_all_workers_at_the_end(tmp_path, folder, class_values, monkeypatch):
    write_raster(folder / "a.tif", class_values(60, 60))
    monkeypatch.setattr(scene_tasks, "LARGE_PX", 40 * 50)
    arguments = scene_tasks.PredictArguments(tmp_path / "out", QUICK)
    tasks = scene_tasks.tasks_of(find_scenes(folder))
    outcomes = list(scene_tasks.predict_elsewhere(arguments, tasks, echo_model(), Inline()))
    assert [outcome.paths["landcover"].name[0] for outcome in outcomes] == ["b", "c", "a"]
    with rasterio.open(tmp_path / "out" / "a_landcover.tif") as classes:
        np.testing.assert_array_equal(class_values(60, 60), classes.read(1))
