"""What was seen around windows is kept while it is needed, and no longer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import Resampling
from support.context_networks import awake, network
from support.rasters import Ramp, write_raster

from geoseg.geo.grid import Grid, Window
from geoseg.inference.views.context import FEWEST_VIEWS, WORTH_ROWS, ContextCache, views_worth_keeping
from geoseg.inference.views.pyramids import scene_pyramid
from geoseg.models.runner import Runner
from geoseg.models.surroundings import Views
from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.resample import NativeScene, ResampledScene
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import ContextSpec


@pytest.fixture
def runner() -> Runner:
    return Runner(awake(network()), "cpu", "fp32")


def test_each_view_is_seen_once(runner: Runner) -> None:
    spec, grid = runner.network.context.spec, Grid(600, 900, 64, 16, 8, border=8)
    pyramid = ContextPyramid(Ramp(600, 900), spec.levels)
    keep = views_worth_keeping(spec.levels, grid)
    cache = ContextCache(runner, pyramid, keep)
    places = [place.window for place in grid.places()]
    for window in places:
        cache.context([window])
    assert cache.encoded <= 1.2 * sum(len({pyramid.view(level, window) for window in places}) for level in (0, 1))
    assert all(len(seen) <= most for seen, most in zip(cache._seen, keep, strict=True))


class Counting:
    """Stands in for a network: tells nothing of a view."""

    device = torch.device("cpu")

    def encode(self, level: int, view: np.ndarray) -> torch.Tensor:
        return torch.zeros(1, 1, 1, 1)


@pytest.mark.parametrize("tile", [512, 1024])
@pytest.mark.parametrize("height", [1_000, 1_200, 2_100, 3_000, 10_000])
def test_few_views_are_seen_twice_however_high_the_scene(height: int, tile: int) -> None:
    spec, grid = ContextSpec(), Grid(height, 8_000, tile, 64, 32, border=64)
    pyramid = ContextPyramid(Ramp(height, 8_000), spec.levels)
    pyramid.read = lambda level, view: np.zeros((3, 1, 1), np.float32)  # type: ignore[method-assign]
    cache = ContextCache(Counting(), pyramid, views_worth_keeping(spec.levels, grid))  # type: ignore[arg-type]
    windows = [place.window for place in grid.places()]
    for window in windows:
        cache.context([window])
    assert cache.encoded < WORTH_ROWS * len({pyramid.view(0, window) for window in windows})


def test_few_views_are_kept_where_more_would_be_of_no_use() -> None:
    def kept(height: int, width: int, tile: int) -> int:
        return views_worth_keeping(ContextSpec().levels, Grid(height, width, tile, 64))[0]

    assert kept(10_000, 4_000, 1024) == kept(10_000, 400_000, 1024) == FEWEST_VIEWS  # the next row meets others
    assert kept(4_000, 16_384, 512) == 18
    assert kept(4_000, 100_000, 512) == FEWEST_VIEWS  # the first one of a row would be gone when the next begins


def test_classes_do_not_depend_on_the_order_of_windows_or_on_batches(runner: Runner) -> None:
    rng = np.random.default_rng(0)
    windows = [Window(int(row), int(col), 64, 64) for row, col in rng.integers(-8, 500, (12, 2))]
    images = rng.random((12, 2, 64, 64), np.float32)
    spec = runner.network.context.spec

    def classify(order: list[int], size: int, keep: int) -> torch.Tensor:
        cache = ContextCache(runner, ContextPyramid(Ramp(600, 555), spec.levels), [keep, keep])
        found = torch.empty(12, 3, 64, 64)
        for i in range(0, 12, size):
            batch = order[i : i + size]
            found[batch] = runner(images[batch], cache.context([windows[j] for j in batch]))
        return found

    first = classify(list(range(12)), 4, 9)
    rounding = 2e-5 * first.abs().max()
    assert (classify(list(rng.permutation(12)), 1, 1) - first).abs().max() < rounding
    assert (classify(list(range(12))[::-1], 5, 2) - first).abs().max() < rounding
    assert (runner(images) - first).abs().max() > 1e-3


def test_a_cache_and_views_side_by_side_say_the_same(runner: Runner) -> None:
    pyramid = ContextPyramid(Ramp(400, 300), runner.network.context.spec.levels)
    windows = [Window(0, 0, 64, 64), Window(200, 100, 64, 64)]
    image = np.random.default_rng(0).random((2, 2, 64, 64), np.float32)
    cut = [[(pyramid.view(level, window), window) for window in windows] for level in (0, 1)]
    views = Views(
        tuple(torch.from_numpy(np.stack([pyramid.read(i, view) for view, _ in cut[i]])) for i in (0, 1)),
        tuple(torch.from_numpy(np.stack([pyramid.box(i, w, view) for view, w in cut[i]])).float() for i in (0, 1)),
    )
    cached = runner(image, ContextCache(runner, pyramid, [4, 4]).context(windows))
    torch.testing.assert_close(runner(image, runner.see(views)), cached, atol=1e-4, rtol=1e-4)


def test_an_even_scene_gives_even_classes(runner: Runner) -> None:
    class Even(Ramp):
        def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
            shape = window.height, window.width
            return np.full((2, *shape), 5, np.float32), np.ones(shape, bool)

    pyramid = ContextPyramid(Even(2000, 2000), runner.network.context.spec.levels[:1])
    views = [pyramid.read(0, pyramid.view(0, Window(row, col, 64, 64))) for row in (900, 960) for col in (900, 1100)]
    assert all(np.array_equal(view, views[0]) for view in views)


@pytest.mark.parametrize("overviews", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.4, 1.7])
def test_views_of_a_scene_at_any_resolution_are_in_place(overviews: bool, factor: float, tmp_path: Path) -> None:
    rows, cols = np.mgrid[:700, :517].astype(np.float32) + 0.5
    path = write_raster(tmp_path / "a.tif", np.stack([rows, cols]), tiled=True, blockxsize=256, blockysize=256)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], Resampling.average)
    before = path.read_bytes()
    with Scene.open(path) as opened:
        opened = SceneBands.select(opened, [1, 2])
        size = round(700 * factor), round(517 * factor)
        source = NativeScene(opened) if factor == 1 else ResampledScene(opened, *size)
        pyramid = scene_pyramid(opened, source, network().context.spec.levels, folder=tmp_path)
        part = Window(2, 2, size[0] // 4 - 6, size[1] // 4 - 6)
        found = pyramid.read(0, part)[:2]
        wanted = (np.mgrid[part.slices] + 0.5) * 4 * np.reshape([700 / size[0], 517 / size[1]], (2, 1, 1))
    assert np.abs(found - wanted).max() < 0.05
    assert path.read_bytes() == before


def test_whole_rows_are_read_to_average_a_scene_whose_blocks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.raster.pyramid.CHUNK_PX", 2_000)
    path = write_raster(tmp_path / "a.tif", np.zeros((2, 300, 517), np.uint8), tiled=False, blockysize=1)
    widths, read = [], SceneBands.read
    monkeypatch.setattr(SceneBands, "read", lambda scene, window: widths.append(window.width) or read(scene, window))
    with Scene.open(path) as scene:
        scene = SceneBands.select(scene, [1, 2])
        scene_pyramid(scene, NativeScene(scene), network().context.spec.levels).prepare()
    assert set(widths) == {517}
