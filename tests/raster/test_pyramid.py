"""The wider, coarser views: where they lie to a thousandth of a context pixel, what they show, and what they cost."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from support.rasters import Ramp, write_raster
from support.reporters import Heard
from torch import from_numpy
from torch.nn.functional import grid_sample

from geoseg.core.errors import OutputError, SceneError
from geoseg.geo.grid import Window
from geoseg.raster import pyramid as context
from geoseg.raster import window_store
from geoseg.raster.level_grid import SCENE_LEAST_RATIO, LevelGrid, super_tile
from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import Mask, Values
from geoseg.spec import ContextLevel

SIZES = [(4099, 3001), (1003, 517), (37, 4099), (64, 64)]
LEVELS = [ContextLevel(ratio=8, size=64), ContextLevel(ratio=24, size=32), ContextLevel(ratio="scene", size=96)]
lengths, starts, ratios = st.integers(1, 900), st.integers(-400, 5000), st.integers(2, 40)


def middles(pyramid: ContextPyramid, level: int, view: Window) -> np.ndarray:
    """Row and column of the middles of a view's pixels, in pixels of the scene (2, h, w)."""
    ratio = np.reshape(pyramid.grids[level].ratio, (2, 1, 1))
    return (np.mgrid[view.slices] + 0.5) * ratio


# ------------------------------------------------------------------------------------------------------ where views lie


@pytest.mark.parametrize(
    ("start", "stop", "core", "origin", "number"),
    [
        (0, 100, 100, 0, 0),
        (50, 149, 100, 0, 0),
        (50, 150, 100, 0, 1),  # its middle is the first pixel of the next core
        (-60, 40, 100, 0, -1),
        (0, 100, 100, 60, -1),
        (10, 110, 100, 60, 0),
        (950, 1050, 100, 0, 10),
    ],
)
def test_a_window_is_served_by_the_core_that_holds_its_middle(
    start: int, stop: int, core: int, origin: int, number: int
) -> None:
    assert super_tile(start, stop, core, origin) == number


@given(
    st.tuples(lengths, lengths), st.tuples(starts, starts), ratios, st.sampled_from([16, 32, 64]),
    st.sampled_from([0.125, 0.25, 0.375]), st.tuples(st.integers(0, 63), st.integers(0, 63)),
)  # fmt: skip
def test_a_window_lies_in_its_view_and_its_middle_in_the_core(
    sides: tuple[int, int], corner: tuple[int, int], ratio: int, size: int, margin: float, origin: tuple[int, int]
) -> None:
    level = ContextLevel(ratio=ratio, size=size, margin=margin)
    assert level.largest_tile is not None
    window = Window(*corner, *(min(side, level.largest_tile) for side in sides))
    grid = LevelGrid(level, 5000, 7000)
    view = grid.view(window, origin)
    left, top, right, bottom = grid.box(window, view)
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    share = level.margin_px / size
    assert share <= (left + right) / 2 < 1 - share
    assert share <= (top + bottom) / 2 < 1 - share
    assert (view.row - origin[0] + level.margin_px) % level.core_px == 0


def test_few_views_serve_all_windows_of_a_scene() -> None:
    grid = LevelGrid(ContextLevel(ratio=8, size=256), 20_000, 20_000)
    windows = [Window(row, col, 1024, 1024) for row in range(0, 19_000, 960) for col in range(0, 19_000, 960)]
    views = {grid.view(window) for window in windows}
    assert len(views) <= 20**2
    assert len(windows) == len({(w.row, w.col) for w in windows}) == 400


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_whole_scene_is_one_view_in_its_own_proportions(height: int, width: int) -> None:
    grid = LevelGrid(ContextLevel(ratio="scene", size=96), height, width)
    view = grid.view(Window(5, 6, 7, 8))
    assert view == grid.view(Window(0, 0, height, width))
    assert max(grid.rows, grid.cols) <= 96
    assert min(grid.ratio) >= SCENE_LEAST_RATIO * 0.9 or min(height, width) < 40
    left, top, right, bottom = np.array(grid.box(Window(0, 0, height, width), view)) * 96
    assert (round(bottom - top, 6), round(right - left, 6)) == (grid.rows, grid.cols)
    assert abs(top - (96 - bottom)) <= 1
    assert abs(left - (96 - right)) <= 1


# ----------------------------------------------------------------------------------------------------- what they show


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_ramp_comes_back_to_a_thousandth_of_a_pixel(
    height: int, width: int, in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_store, "HELD_BYTES", 0)
    pyramid = ContextPyramid(Ramp(height, width), LEVELS, folder=tmp_path if in_file else None)
    for number, grid in enumerate(pyramid.grids):
        view = grid.view(Window(height // 2, width // 2, 20, 20))
        found, wanted = pyramid.read(number, view), middles(pyramid, number, view)
        ratio = np.reshape(grid.ratio, (2, 1, 1))
        full = found[-1] == 1
        assert full.any() or min(height, width) < 64
        assert (np.abs(found[:-1] - wanted) / ratio)[:, full].max(initial=0) < 1e-3
        outside = ((wanted - ratio / 2 >= [[[height]], [[width]]]) | (wanted + ratio / 2 <= 0)).any(axis=0)
        assert not found[:, outside].any()


@given(st.integers(40, 700), st.integers(40, 700), st.integers(2, 12), st.floats(1.0, 3.0))
@settings(max_examples=40, deadline=None)
def test_any_ratio_keeps_a_ramp_in_place(height: int, width: int, ratio: int, finer: float) -> None:
    """The base may have another resolution than the windows are given in, as an overview has."""
    base = Ramp(height, width)
    size = round(height * ratio / finer / 2), round(width * ratio / finer / 2)
    grid = LevelGrid(ContextLevel(ratio=ratio, size=16), *size)
    pixel = size[0] / height, size[1] / width
    if min(size) < ratio * 3 or max(pixel) > ratio:
        return
    pyramid = ContextPyramid(base, [grid.level], size=size)
    part = Window(0, 0, grid.rows - 1, grid.cols - 1)
    error = pyramid.read(0, part)[:-1] * np.reshape(pixel, (2, 1, 1)) - middles(pyramid, 0, part)
    assert np.abs(error).max() < 1e-3 * ratio


def test_levels_of_almost_one_ratio_are_in_place() -> None:
    """The whole scene is 8.05 by 7.9 times coarser, the other level 8 times."""
    height, width = 773, 506
    pyramid = ContextPyramid(
        Ramp(height, width), [ContextLevel(ratio=8, size=64), ContextLevel(ratio="scene", size=96)]
    )
    for level, grid in enumerate(pyramid.grids):
        part = Window(0, 0, grid.rows - 2, grid.cols - 2)
        error = pyramid.read(level, part)[:-1] - middles(pyramid, level, part)
        assert np.abs(error).max() < 8e-3


def test_features_are_sampled_where_the_window_lies() -> None:
    """The view's own coordinates, sampled in a box as networks do it, are those of the window's pixels."""
    pyramid = ContextPyramid(Ramp(4099, 3001), LEVELS[:1])
    window = Window(1003, 507, 64, 48)
    view = pyramid.view(0, window)
    left, top, right, bottom = pyramid.box(0, window, view)
    rows = 2 * (top + (bottom - top) * (np.arange(64) + 0.5) / 64) - 1
    cols = 2 * (left + (right - left) * (np.arange(48) + 0.5) / 48) - 1
    grid = np.stack(np.broadcast_arrays(cols[None], rows[:, None]), axis=2)[None].astype(np.float32)
    sampled = grid_sample(from_numpy(pyramid.read(0, view)[None, :-1]), from_numpy(grid), align_corners=False)[0]
    assert np.abs(sampled.numpy() - (np.mgrid[window.slices] + 0.5)).max() < 1e-3 * 8


def test_what_holds_no_data_neither_counts_nor_shows() -> None:
    base = Ramp(512, 512, holes=0.5)
    found = ContextPyramid(base, LEVELS[:1]).read(0, Window(0, 0, 64, 64))
    values, valid = base.read(Window(0, 0, 512, 512))
    blocks = (np.where(valid, values, 0).reshape(2, 64, 8, 64, 8).sum((2, 4)), valid.reshape(64, 8, 64, 8).sum((1, 3)))
    assert np.allclose(found[-1], blocks[1] / 64)
    assert np.allclose(found[:-1], blocks[0] / np.maximum(blocks[1], 1), atol=1e-3)


def test_empty_ground_gives_zeros_not_nan() -> None:
    found = ContextPyramid(Ramp(100, 100, holes=1.1), LEVELS).read(0, Window(0, 0, 64, 64))
    assert not found.any()


def test_the_scene_is_read_once_whatever_is_shown(tmp_path: Path) -> None:
    base = Ramp(1003, 517)
    pyramid = ContextPyramid(base, LEVELS, folder=tmp_path)
    heard = Heard()
    pyramid.prepare(heard)
    for number in (0, 1, 2, 0):
        pyramid.read(number, pyramid.view(number, Window(200, 300, 50, 50)))
    assert base.read_px == 1003 * 517
    assert heard.progressed[-1] == ("averaging", 126, 126)
    assert not list(tmp_path.iterdir())  # the scratch file has no name


def test_memory_does_not_grow_with_the_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_store, "HELD_BYTES", 0)

    class Flat(Ramp):
        def __init__(self, height: int, width: int):
            self.height, self.width, self.read_px = height, width, 0

        def read(self, window: Window) -> tuple[Values, Mask]:
            shape = window.height, window.width
            return np.full((2, *shape), 7, np.uint8), np.ones(shape, bool)

    peaks = []
    for side in (8000, 16_000):
        tracemalloc.start()
        levels = [ContextLevel(ratio=4), ContextLevel(ratio="scene"), ContextLevel(ratio=64)]
        pyramid = ContextPyramid(Flat(side, side), levels, folder=tmp_path)
        for number in (0, 1):
            assert pyramid.read(number, pyramid.view(number, Window(0, 0, 64, 64)))[0].max() == 7
        assert (pyramid.read(2, pyramid.grids[2].whole)[:2] == 7).all()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_what_one_has_averaged_others_read(tmp_path: Path) -> None:
    first, second = Ramp(1003, 517, holes=0.3), Ramp(1003, 517)
    shared = tmp_path / "averaged"
    one, other = (ContextPyramid(base, LEVELS, shared=shared) for base in (first, second))
    one.prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["averaged"]
    for level in (0, 1, 2):
        view = one.view(level, Window(200, 300, 50, 50))
        np.testing.assert_array_equal(one.read(level, view), other.read(level, view))
    assert second.read_px == 0
    del one, other
    assert shared.exists()


def test_what_was_not_averaged_to_the_end_is_not_shared(tmp_path: Path) -> None:
    class Broken(Ramp):
        def read(self, window: Window) -> tuple[Values, Mask]:
            if window.row > 500:
                raise SceneError("damaged")
            return super().read(window)

    pyramid = ContextPyramid(Broken(1003, 517), LEVELS, shared=tmp_path / "averaged")
    with pytest.raises(SceneError, match="damaged"):
        pyramid.prepare()
    gc.collect()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("height", "width"), [(1003, 517), (77, 3000)])
def test_whole_rows_are_averaged_at_once_where_blocks_are(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Striped(Ramp):
        def read(self, window: Window) -> tuple[Values, Mask]:
            assert window.width == self.width
            return super().read(window)

    monkeypatch.setattr(context, "CHUNK_PX", 40_000)
    wide = ContextPyramid(Striped(height, width, 0.2), LEVELS, has_wide_blocks=True)
    usual = ContextPyramid(Ramp(height, width, 0.2), LEVELS)
    for level in (0, 1, 2):
        view = wide.view(level, Window(20, 300, 50, 50))
        np.testing.assert_allclose(wide.read(level, view), usual.read(level, view), atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(1003, 517), (640, 768)])
def test_chunks_and_what_is_mapped_leave_no_trace(
    height: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = [ContextLevel(ratio=4), ContextLevel(ratio=16), ContextLevel(ratio="scene", size=64)]
    usual = ContextPyramid(Ramp(height, width, 0.2), levels)
    whole = [usual.read(number, grid.whole) for number, grid in enumerate(usual.grids)]
    for module, name, value in (
        (context, "CHUNK_PX", 5_000), (window_store, "HELD_BYTES", 0), (window_store, "MAPPED_ROWS", 7)
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    cut = ContextPyramid(Ramp(height, width, 0.2), levels, folder=tmp_path)
    for number, grid in enumerate(cut.grids):
        np.testing.assert_allclose(cut.read(number, grid.whole), whole[number], atol=1e-3)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_store, "HELD_BYTES", 0)
    with pytest.raises(OutputError, match=r"cannot write into .*none"):
        ContextPyramid(Ramp(64, 64), LEVELS, folder=tmp_path / "none").prepare()


# ------------------------------------------------------------------------------------------------------------ overviews


def with_overviews(path: Path, height: int, width: int, how: Resampling) -> Path:
    rows, cols = np.mgrid[:height, :width].astype(np.float32) + 0.5
    write_raster(path, np.stack([rows, cols]), tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], how)
    return path


@pytest.mark.parametrize(("height", "width"), [(1003, 517), (800, 1024)])
def test_overviews_stand_in_for_the_scene(height: int, width: int, tmp_path: Path) -> None:
    with Scene.open(with_overviews(tmp_path / "a.tif", height, width, Resampling.average)) as scene:
        scene = SceneBands.select(scene, [1, 2])
        overview = scene.overview(8)
        assert overview is not None
        with overview:
            assert (overview.height, overview.width) == (-(-height // 8), -(-width // 8))
            pyramid = ContextPyramid(overview, LEVELS[:1], size=(height, width))
            part = Window(1, 1, height // 8 - 3, width // 8 - 3)
            error = pyramid.read(0, part)[:-1] - middles(pyramid, 0, part)
    assert np.abs(error).max() < 0.05  # GDAL's own rounding; the nominal ratio would be off by up to 3 pixels


def test_overviews_that_are_no_averages_are_not_used(tmp_path: Path) -> None:
    with Scene.open(with_overviews(tmp_path / "a.tif", 300, 300, Resampling.nearest)) as scene:
        scene = SceneBands.select(scene, [1, 2])
        assert scene.overview(8) is None
    with Scene.open(write_raster(tmp_path / "b.tif", np.zeros((300, 300), np.uint8))) as scene:
        scene = SceneBands.select(scene, [1])
        assert scene.overview(8) is None


def test_an_overview_is_no_coarser_than_the_level(tmp_path: Path) -> None:
    with Scene.open(with_overviews(tmp_path / "a.tif", 300, 300, Resampling.average)) as scene:
        scene = SceneBands.select(scene, [1, 2])
        overview = scene.overview(7.9)
        assert overview is not None
        with overview:
            assert overview.height == 75
        assert scene.overview(1.9) is None
