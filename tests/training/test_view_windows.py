"""Training windows and their views: turned alike, in place to a fraction of a pixel, and without what is kept apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.crs import CRS

from geoseg.data.areas import Rectangles
from geoseg.data.class_statistics import count_classes
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.data.mosaic import Mosaic, join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.models.box_sampling import sample_boxes
from geoseg.raster.level_grid import LevelGrid
from geoseg.spec import IGNORE, AugmentSpec, ContextLevel
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import LabelledCells, Sampling
from geoseg.training.windows.view_resampling import majority
from geoseg.training.windows.view_windows import ViewBatch, ViewWindows, stack_view_windows

PLAIN = AugmentSpec(
    d4=False, warp=0, gamma=0, contrast=0, brightness=0, saturation=0, band_gain=0, band_shift=0, band_mix=0, noise=0,
    blur_px=0,
)  # fmt: skip
D4 = PLAIN.model_copy(update={"d4": True})
WARPED = D4.model_copy(update={"warp": 1.0})
LEVELS = ContextLevel(ratio=4, size=64, margin=0.25), ContextLevel(ratio="scene", size=128)
FILL = (0.0, 0.0)


def ground(height: int = 600, width: int = 500, closed: Window | None = None) -> Mosaic:
    """Bands are row and column of each pixel's middle; labels are squares of 40 pixels."""
    rows, cols = np.mgrid[:height, :width].astype(np.float32) + 0.5
    labels = ((rows // 40 + cols // 40) % 3).astype(np.uint8)
    grid = PixelGrid(height, width, Affine(1, 0, 1000, 0, -1, 2000), CRS.from_epsg(32617))
    held = MemoryRaster("a.tif", grid, np.stack([rows, cols]), np.ones((height, width), bool), labels)
    whole = [Window(0, 0, height, width)] if closed is None else [Window(0, 0, height, closed.col)]
    return join_neighbours([PartlyLabelled(held, Rectangles.of(whole), Rectangles.of([]))])[0][0]


def windows(augment: AugmentSpec, *grounds: Mosaic, side: int = 64, seed: int = 0) -> ViewWindows:
    counts = [count_classes(one, 3, 2) for one in grounds]
    places = np.concatenate([np.insert(part.cells, 0, i, axis=1) for i, part in enumerate(counts)])
    cells = LabelledCells(places, np.concatenate([part.counts for part in counts]))
    sampling = Sampling(side, augment.read_side(side), 50, 0.5, seed)
    return ViewWindows(grounds, cells, sampling, FILL, LEVELS, augment)


def vary(drawn: ViewWindows, indexes: range) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], ViewBatch]:
    batch = stack_view_windows([drawn[i] for i in indexes])
    augment = Augment(drawn._augment, 0.0, 1000.0, torch.tensor(FILL))
    image, _, views, _ = augment.with_views(
        batch.image, batch.labels, batch.matrices, batch.views.images, drawn.sampling.window, torch.Generator()
    )
    return image, views, batch


@pytest.mark.parametrize(("augment", "error_px"), [(PLAIN, 0.02), (D4, 0.02), (WARPED, 0.3)])
def test_a_window_and_its_views_show_the_same_ground(augment: AugmentSpec, error_px: float) -> None:
    """Coordinates sampled from a view in the window's box are those that the window itself shows."""
    image, views, batch = vary(windows(augment, ground()), range(24))
    for level, (view, boxes) in enumerate(zip(views, batch.views.boxes, strict=True)):
        there = sample_boxes(view, boxes, (64, 64))
        seen = (image > 0).all(dim=1) & (there[:, 2] > 0.999)
        # Bilinear sampling is exact for a ramp, but not at the border of the ground.
        inner = torch.nn.functional.avg_pool2d(seen.float()[:, None], 17, 1, 8)[:, 0] > 0.999
        assert inner.sum() > 1000, level
        error = (there[:, :2] - image).abs().amax(dim=1)[inner]
        assert error.max() < error_px * 4, level


def test_windows_lie_anywhere_in_the_core() -> None:
    drawn = windows(PLAIN, ground(2000, 2000))
    boxes = stack_view_windows([drawn[i] for i in range(50)]).views.boxes[0]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (middles >= 0.25 - 1 / 64).all()
    assert (middles <= 0.75 + 1 / 64).all()
    assert middles.min() < 0.32
    assert middles.max() > 0.68
    assert ((boxes >= 0) & (boxes <= 1)).all()


def test_quarter_turns_resample_nothing() -> None:
    drawn = windows(D4, ground())
    for index in range(10):
        view = drawn[index].views[0].image
        # Middles of blocks of 4 x 4 pixels: 2, 6, 10, ...
        assert np.abs((view[:2][:, view[2] == 1] - 2) / 4 % 1 - 0.5).min() > 0.499


def test_labels_of_views_are_those_of_their_pixels() -> None:
    drawn = windows(D4, ground())
    for index in range(10):
        view = drawn[index].views[0]
        full = view.image[2] == 1
        rows, cols = view.image[:2, full]
        assert np.array_equal(view.labels[full], (rows // 40 + cols // 40) % 3)
        assert (view.labels[view.image[2] == 0] == IGNORE).all()


def test_views_show_no_ground_that_is_kept_for_scoring() -> None:
    drawn = windows(WARPED, ground(closed=Window(0, 250, 600, 250)))
    for index in range(20):
        for view in drawn[index].views:
            assert view.image[1, view.image[2] > 0].max() < 250 + 4 * 2


def test_windows_depend_on_seed_epoch_and_index_alone() -> None:
    drawn, again = windows(WARPED, ground()), windows(WARPED, ground())
    first = [drawn[i].views[0].image.tobytes() for i in range(4)]
    assert [again[i].views[0].image.tobytes() for i in (3, 2, 1, 0)] == first[::-1]
    again.epoch = 1
    assert again[0].views[0].image.tobytes() != first[0]


def test_colours_are_varied_alike() -> None:
    augment = PLAIN.model_copy(update={"gamma": 0.3, "brightness": 0.3, "band_shift": 0.1, "contrast": 0.3})
    generator = torch.Generator().manual_seed(0)
    image = torch.full((3, 2, 32, 32), 40.0)
    image[:, :, ::2] = 80.0
    view = torch.cat([image, torch.rand(3, 1, 32, 32)], dim=1)
    matrices = torch.eye(2, 3).expand(3, 2, 3)
    labels = torch.zeros(3, 32, 32, dtype=torch.uint8)
    varied, _, (seen,), _ = Augment(augment, 0.0, 255.0, torch.zeros(2)).with_views(
        image.clone(), labels, matrices, [view], 32, generator
    )
    assert torch.allclose(seen[:, :2], varied, atol=1e-3)
    assert torch.equal(seen[:, 2], view[:, 2])
    assert (varied - image).abs().amax(dim=(1, 2, 3)).min() > 1


# ----------------------------------------------------------------------------------------------------------- majorities


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("height", "width"), [(601, 503), (64, 1000)])
def test_majorities_are_counted_over_each_context_pixel(level: ContextLevel, height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(np.uint8([0, 1, 2, IGNORE]), (height, width))
    labels[:100] = IGNORE
    grid = PixelGrid(height, width, Affine(1, 0, 0, 0, -1, 0), CRS.from_epsg(32617))
    whole = MemoryRaster("a", grid, np.zeros((1, height, width), np.uint8), np.ones((height, width), bool), labels)
    raster = LevelGrid(level, height, width)
    found = majority(whole, raster, 3)
    down, right = raster.ratio
    for row, col in rng.integers(0, [raster.rows, raster.cols], (200, 2)):
        rows = np.flatnonzero((np.arange(height) + 0.5) // down == row)
        cols = np.flatnonzero((np.arange(width) + 0.5) // right == col)
        here = labels[np.ix_(rows, cols)]
        counts = np.bincount(here[here != IGNORE], minlength=3)
        assert found[row, col] == (counts.argmax() if counts.any() else IGNORE)


@pytest.mark.parametrize("augment", [PLAIN, D4, WARPED])
def test_how_much_of_the_views_holds_data_is_measured(augment: AugmentSpec) -> None:
    """Without drawing other windows than before, and from the raster's pixels, those of validation left out."""
    drawn = windows(augment, ground(closed=Window(0, 300, 600, 200)))
    first = drawn[0].image
    wanted = np.mean([[view.image[-1].mean() for view in drawn[i].views] for i in range(50)], axis=0)
    assert drawn.data_in_views(50) == pytest.approx(wanted, abs=0.01)
    assert drawn.data_in_views(50)[1] < 0.6
    assert np.array_equal(drawn[0].image, first)


def test_few_rasters_are_averaged_to_measure_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.training.windows.view_windows.MOST_AVERAGED_PX", 1)
    drawn = windows(PLAIN, ground(), ground(), ground())
    assert len(drawn.data_in_views(50)) == len(LEVELS)
    assert sum(one._pyramid._copy is not None for one in drawn._surroundings.values()) == 1
