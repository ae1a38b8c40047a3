"""A prediction that was stopped goes on with other settings, unless a pixel would differ."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.models import CountingEcho, make_spec
from support.rasters import write_raster
from support.reporters import Heard

from geoseg.commands.predict import predict
from geoseg.core.errors import OutputError
from geoseg.inference.checksums import write_checked
from geoseg.inference.work_folder import Record, work_path
from geoseg.models.model import Model

PLAIN: dict[str, Any] = {"tile": 64, "overlap": 16, "precision": "fp32", "polygons": False, "preview": False}
SCORES, CONFIDENCE, UNCERTAINTY = "scores.tif", "confidence.tif", "uncertainty.tif"
RASTERS = "scores", "confidence", "uncertainty"


class Stopped(Exception):
    pass


class Run:
    """A scene that is predicted into one folder, with a network that counts what it sees."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, values: np.ndarray):
        self.folder, self.values, self._monkeypatch = folder, values, monkeypatch
        self.scene = write_raster(folder / "s.tif", values)
        self.echo = CountingEcho(4)
        self.landcover = folder / "out" / "s_landcover.tif"

    def __call__(self, *, out: str = "out", **settings: Any) -> tuple[Any, list[str], int]:
        """The result, what was said, and how many pixels the network has seen."""
        rasters = {name: self.folder / f"{len(out)}-{settings[name]}" for name in RASTERS if name in settings}
        self.echo.seen, heard = 0, Heard()
        model = Model(make_spec(), self.echo)
        found = predict(self.scene, self.folder / out, model=model, reporter=heard, **PLAIN | settings | rasters)
        return found, heard.lines, self.echo.seen

    def stop(self, finished: int, **settings: Any) -> None:
        """Predict until so many more tile rows are finished."""
        save, saved = Record.save, list[Path]()

        def stop(record: Record, path: Path) -> None:
            if len(saved) == finished:
                raise Stopped
            saved.append(path)
            save(record, path)

        with self._monkeypatch.context() as patch:
            patch.setattr(Record, "save", stop)
            with pytest.raises(Stopped):
                self(**settings)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    patches = np.kron(np.random.default_rng(0).integers(0, 4, (20, 5)), np.ones((16, 16)))
    patches[40:44, 40:44] = 3
    return Run(tmp_path, monkeypatch, patches.astype(np.uint8))


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read()


@pytest.mark.parametrize(
    ("begun", "resumed"),
    [
        *(({}, {name: "9px"}) for name in ("min_area", "fill_holes")),
        ({}, {"majority": 3}),
        ({"polygons": True, "simplify": "1px"}, {"polygons": True, "simplify": "2px", "smooth": True}),
        ({"polygons": True}, {"polygons": True, "dissolve": True, "classes": ("class 1",)}),
        ({}, {"stac": False}),
        ({"preview": True}, {}),
        ({"polygons": True}, {}),
        ({"confidence": CONFIDENCE}, {}),
        ({"uncertainty": UNCERTAINTY}, {}),
        ({"uncertainty": UNCERTAINTY, "scores": SCORES}, {"uncertainty": "elsewhere.tif"}),
        ({"scores": SCORES}, {}),
        ({"scores": SCORES}, {"scores": "elsewhere.tif"}),
        ({"scores": SCORES, "scores_type": "uint8"}, {"scores_type": "float32"}),
        ({"batch_size": 2}, {"batch_size": 1}),
        ({}, {"devices": "1"}),
        ({"refine_fraction": 0.5}, {"context": False}),
    ],
)
def test_a_stopped_run_goes_on_with_settings_that_change_no_pixel(
    run: Run, begun: dict[str, Any], resumed: dict[str, Any]
) -> None:
    run.stop(3, **begun)
    found, lines, seen = run(resume=True, **resumed)
    whole, _, all_seen = run(out="whole", **resumed)
    assert "going on with an unfinished run: 3 tile rows finished" in lines
    assert 0 < seen < all_seen
    for kind in ("landcover", *RASTERS):
        if kind in whole.paths:
            np.testing.assert_array_equal(pixels(found.paths[kind]), pixels(whole.paths[kind]))
    assert (found.classes, found.polygons, found.forwarded_px) == (whole.classes, whole.polygons, whole.forwarded_px)


@pytest.mark.parametrize(
    ("begun", "resumed", "lacking"),
    [
        ({}, {"scores": SCORES}, "scores as float32"),
        ({"scores": SCORES}, {"scores": SCORES, "scores_type": "uint8"}, "scores as uint8"),
        ({}, {"confidence": CONFIDENCE}, "confidence"),
        ({}, {"uncertainty": UNCERTAINTY}, "uncertainty by entropy in percent"),
        (
            {"uncertainty": UNCERTAINTY},
            {"uncertainty": UNCERTAINTY, "uncertainty_by": "margin"},
            "uncertainty by margin in percent",
        ),
        ({}, {"polygons": True}, "confidence"),
        ({}, {"preview": True}, "preview"),
    ],
)
def test_what_was_finished_without_an_output_that_is_wanted_is_made_again(
    run: Run, begun: dict[str, Any], resumed: dict[str, Any], lacking: str
) -> None:
    run.stop(3, **begun)
    found, lines, seen = run(resume=True, **resumed)
    whole, _, all_seen = run(out="whole", **resumed)
    assert f"3 more were finished without {lacking}: they are made again" in lines
    assert seen == all_seen
    assert set(found.paths) == set(whole.paths)
    for kind in ("landcover", *(name for name in RASTERS if name in resumed)):
        np.testing.assert_array_equal(pixels(found.paths[kind]), pixels(whole.paths[kind]))
    assert found.polygons == whole.polygons


def test_of_a_run_that_went_on_without_an_output_only_that_part_is_made_again(run: Run) -> None:
    run.stop(2, scores=SCORES)
    run.stop(2, resume=True)
    found, lines, _ = run(resume=True, scores=SCORES)
    assert "going on with an unfinished run: 2 tile rows finished" in lines
    assert "2 more were finished without scores as float32: they are made again" in lines
    made = pixels(found.paths["scores"])
    whole, _, _ = run(out="whole", scores=SCORES)
    np.testing.assert_array_equal(made, pixels(whole.paths["scores"]))


@pytest.mark.parametrize(
    "settings",
    [
        {"tile": 96},
        {"overlap": 8},
        {"tta": "flips"},
        {"tta_scales": (1.0, 2.0)},
        {"crf": True},
        {"nodata": 3},
        {"nodata": "auto"},
        {"rescale": (0, 3)},
        {"resolution": 1.2},
        {"bbox": (300_000, 4_299_900, 300_030, 4_300_000)},
    ],
)
def test_a_setting_that_decides_pixels_is_refused_and_what_was_finished_stays(
    run: Run, settings: dict[str, Any]
) -> None:
    run.stop(3)
    with pytest.raises(OutputError, match="another scene, model or settings that decide pixels"):
        run(resume=True, **settings)
    assert len(list(work_path(run.landcover).glob("*.seal"))) == 3


def test_the_models_own_tile_is_the_same_setting_written_or_not(run: Run) -> None:
    own = make_spec().tile
    run.stop(0, tile=None, overlap=None)
    run.landcover.parent.mkdir(exist_ok=True)
    for settings in ({"tile": own}, {"tile": None, "overlap": make_spec().overlap}):
        first, _, _ = run(out=str(settings), **{"tile": None, "overlap": None})
        again, lines, seen = run(out=str(settings), resume=True, **{"overlap": None} | settings)
        assert seen == 0
        assert any(line.startswith("done already") for line in lines)
        assert again.paths == first.paths


def test_the_work_of_version_0_1_is_refused_in_a_line(run: Run) -> None:
    run.stop(3)
    manifest = work_path(run.landcover) / "work.json"
    manifest.unlink()
    write_checked(manifest, {"fingerprint": "0" * 32, "tile": 64, "batch_size": 1, "run": "a"})
    with pytest.raises(OutputError, match=r"another version of geoseg: use the same again, or leave --resume out"):
        run(resume=True)


def test_a_finished_scene_gets_what_else_is_wanted(run: Run) -> None:
    first, _, _ = run(stac=False)
    there = first.paths["landcover"].read_bytes()
    for settings in (
        {"stac": True},
        {"polygons": True, "simplify": "1px"},
        {"polygons": True, "simplify": "3px"},
        {"scores": SCORES},
        {"scores": SCORES, "scores_type": "uint8"},
        {"uncertainty": UNCERTAINTY},
        {"uncertainty": UNCERTAINTY, "uncertainty_by": "margin"},
    ):
        found, lines, _ = run(resume=True, **settings)
        assert any(line.endswith("not all that belongs to it: it is made again") for line in lines)
        fresh, _, _ = run(out=str(settings), **settings)
        assert found.polygons == fresh.polygons
        for kind in set(fresh.paths) & {"landcover", *RASTERS}:
            np.testing.assert_array_equal(pixels(found.paths[kind]), pixels(fresh.paths[kind]))
        _, lines, seen = run(resume=True, **settings)
        assert (lines[-1], seen) == (f"done already: {run.landcover}", 0)
    assert there != first.paths["landcover"].read_bytes()  # its tags say what it was made with


def test_a_finished_scene_is_done_also_where_less_is_wanted(run: Run) -> None:
    run(polygons=True, preview=True, scores=SCORES)
    _, lines, seen = run(resume=True, stac=False)
    assert (lines[-1], seen) == (f"done already: {run.landcover}", 0)


@pytest.mark.parametrize("settings", [{"min_area": "9px"}, {"majority": 3}, {"fill_holes": "9px"}, {"overlap": 8}])
def test_a_finished_class_raster_of_other_pixels_is_refused(run: Run, settings: dict[str, Any]) -> None:
    run()
    with pytest.raises(OutputError, match="with other settings: pass --overwrite"):
        run(resume=True, **settings)


def test_a_class_raster_of_version_0_1_is_refused(run: Run) -> None:
    found, _, _ = run()
    with rasterio.open(found.paths["landcover"], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        assert set(json.loads(raster.tags()["GEOSEG_OUTPUTS"])) == {"item"}
        raster.update_tags(GEOSEG_FINGERPRINT="0" * 32, GEOSEG_OUTPUTS="{}")
    with pytest.raises(OutputError, match="pass --overwrite"):
        run(resume=True)
