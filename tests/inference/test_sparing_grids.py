"""Windows are chosen by what seams do to classes: fewest pixels, few classes changed, and only with memory."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.models import echo_model, make_spec
from support.rasters import write_raster
from support.stopped import stopped_after

from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.geo.grid import Grid
from geoseg.inference.sparing_grids import changed_share, slowing, sparing_grids
from geoseg.inference.windows import Target, make_grid, wanted_grids
from geoseg.spec import ClassifySpec, ContextSpec, ModelSpec
from geoseg.spec.seams import MOST_CHANGED, SeamsSpec

FAR, NEAR = (5.0, 3.0, 2.0, 1.0, 0.5), (0.5, 0.1, 0.0, 0.0, 0.0)
"""Pixels that seams change, of a network that sees far, and of one that does not."""
QUICK = {"polygons": False, "preview": False, "stac": False, "device": "cpu"}


def seams(changed: tuple[float, ...] = FAR) -> SeamsSpec:
    return SeamsSpec(overlaps=(32, 64, 96, 128, 192), changed=changed, pixels=4096)


def best_grid(size: tuple[int, int], spec: ModelSpec, settings: ClassifySpec, **more: float) -> Grid:
    return wanted_grids(size, spec, settings, **more)[0]


def model(changed: tuple[float, ...] | None = FAR, **fields: object) -> ModelSpec:
    return make_spec(**{"seams": changed and seams(changed)} | fields)


@given(
    size=st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)),
    changed=st.lists(st.floats(0, 40), min_size=5, max_size=5),
    tile=st.sampled_from((256, 1024, 2048)),
)
def test_grids_forward_few_pixels_and_change_few_classes(
    size: tuple[int, int], changed: list[float], tile: int
) -> None:
    spec = model(tuple(sorted(changed, reverse=True)), tile=tile)
    own = make_grid(*size, spec)
    assert spec.seams is not None
    before = changed_share(own, spec.seams)
    found = sparing_grids(own, spec, ClassifySpec(), 8192)
    for grid in found:
        assert changed_share(grid, spec.seams) <= max(MOST_CHANGED, before)
        assert grid.forwarded_px <= 1.1 * own.forwarded_px
        assert tile <= grid.tile <= 2 * tile
    px = [grid.forwarded_px / (size[0] * size[1]) for grid in found]
    assert all(one <= other + 0.01 for one, other in pairwise(px))


def test_a_large_scene_is_forwarded_with_six_percent_more_at_most() -> None:
    own = make_grid(10_000, 10_000, model())
    best = best_grid((10_000, 10_000), model(), ClassifySpec())
    assert own.forwarded_px / 1e8 > 1.14
    assert best.forwarded_px / 1e8 <= 1.06
    assert changed_share(best, seams()) <= changed_share(own, seams())


def test_a_network_that_sees_less_far_needs_no_larger_windows_where_they_save_nothing() -> None:
    assert best_grid((900, 900), model(NEAR), ClassifySpec()).tile == 1024
    assert best_grid((10_000, 10_000), model(NEAR), ClassifySpec()).overlap == 32


def test_windows_grow_less_where_a_pixel_takes_longer_in_larger_ones() -> None:
    """As on a CPU; GPUs do not mind."""
    assert slowing("cpu") > 0 == slowing("cuda")
    tiles = [best_grid((10_000, 10_000), model(), ClassifySpec(), slower=slower).tile for slower in (0, 0.05, 0.2)]
    assert tiles == [2048, 1536, 1024]


def test_what_is_asked_for_stays() -> None:
    size = 10_000, 10_000
    assert best_grid(size, model(), ClassifySpec(tile=512)) == make_grid(*size, model(), ClassifySpec(tile=512))
    assert {grid.overlap for grid in sparing_grids(make_grid(*size, model(), ClassifySpec(overlap=80)), model(),
                                                   ClassifySpec(overlap=80), 8192)} == {80}  # fmt: skip
    assert best_grid(size, model(None), ClassifySpec()) == make_grid(*size, model())


def test_models_that_see_more_than_windows_keep_theirs() -> None:
    spec = model(context=ContextSpec())
    assert sparing_grids(make_grid(9000, 9000, spec), spec, ClassifySpec(), 8192) == []


def test_windows_stay_small_where_each_pixel_stands_for_many() -> None:
    assert best_grid((9000, 9000), model(), ClassifySpec(), ratio=16).tile <= 512


def test_seams_that_were_not_measured_change_everything() -> None:
    assert [seams().changed_at(px) for px in (16, 32, 63, 64, 500)] == [math.inf, 5.0, 5.0, 3.0, 0.5]
    for wrong in ({"overlaps": (64, 32, 96, 128, 192)}, {"changed": (1.0,)}, {"changed": (-1.0, 0, 0, 0, 0)}):
        with pytest.raises(ValidationError):
            SeamsSpec.model_validate(seams().model_dump() | wrong)


@pytest.mark.parametrize(("windows", "larger"), [(20, True), (3, False)])
def test_larger_windows_are_taken_where_much_memory_is_free(
    monkeypatch: pytest.MonkeyPatch, windows: int, larger: bool
) -> None:
    """An eighth of the free memory must hold one: others may be about to take as much."""
    monkeypatch.setattr("geoseg.inference.windows.activation_bytes", lambda _m, _b, pixels, each: pixels * each)
    monkeypatch.setattr("geoseg.inference.windows.free_bytes", lambda _device: windows * 2 * 2048**2)
    whole = echo_model(seams=seams())
    grid = Target(torch.device("cpu"), "int8").fitting_grid((10_000, 10_000), whole, ClassifySpec())
    assert (grid.tile > 1024) == larger


def noise(folder: Path) -> Path:
    values = np.random.default_rng(1).integers(0, 4, (300, 260)).astype(np.uint8)
    return write_raster(folder / "scene.tif", values)


def test_a_resumed_run_keeps_the_windows_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = echo_model(seams=seams(), tile=64, overlap=32)
    scene = noise(tmp_path)
    began = plan_prediction(scene, tmp_path / "out", model=whole, device="cpu").settings
    assert began["tile"] == 128
    with stopped_after(1, monkeypatch):
        predict(scene, tmp_path / "out", model=whole, **QUICK)
    monkeypatch.setattr("geoseg.inference.windows.free_bytes", lambda _device: 1)
    monkeypatch.setattr("geoseg.inference.windows.activation_bytes", lambda *_: 1)
    result = predict(scene, tmp_path / "out", model=whole, resume=True, **QUICK)
    assert (result.settings["tile"], result.settings["overlap"]) == (began["tile"], began["overlap"])
    with rasterio.open(result.paths["landcover"]) as raster, rasterio.open(scene) as values:
        np.testing.assert_array_equal(raster.read(1), values.read(1))
