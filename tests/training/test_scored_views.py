"""The contract of views of scored windows, held by every kind that is registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.crs import CRS
from support.branches import FIELDS, SMALL
from support.models import make_spec

from geoseg.data.areas import Rectangles
from geoseg.data.class_statistics import count_classes
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.data.mosaic import join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Grid, Window
from geoseg.models.build import build_network
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.spec import NormalizationSpec
from geoseg.training.scoring.scored_batch import stack_scored
from geoseg.training.scoring.scored_views import SCORED_VIEWS
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.windows.random_windows import LabelledCells

every_kind = pytest.mark.parametrize("kind", SCORED_VIEWS.names)
SIDE, HEIGHT, WIDTH = 64, 150, 130


def scored(kind: str, folder: Path) -> tuple[ScoredWindows, Runner]:
    """The windows of one raster in which a network of a kind is scored."""
    torch.manual_seed(0)
    three = NormalizationSpec(mean=(120,) * 3, std=(60,) * 3)
    bands = "red", "green", "blue"
    model = make_spec(network=SMALL, bands=bands, normalization=three, tile=SIDE, overlap=16, **FIELDS[kind])
    assert model.branch.kind == kind
    values = np.random.default_rng(0).integers(0, 255, (3, HEIGHT, WIDTH)).astype(np.float32)
    labels = (np.arange(HEIGHT)[:, None] // 40 + np.arange(WIDTH) // 40).astype(np.uint8) % 4
    place = PixelGrid(HEIGHT, WIDTH, Affine(1, 0, 1000, 0, -1, 2000), CRS.from_epsg(32617))
    raster = MemoryRaster("a.tif", place, values, np.ones((HEIGHT, WIDTH), bool), labels)
    whole = Rectangles.of([Window(0, 0, HEIGHT, WIDTH)])
    rasters = [joined for joined, _ in join_neighbours([PartlyLabelled(raster, whole, Rectangles.of([]))])]
    counts = count_classes(rasters[0], len(model.classes), 3)
    cells = LabelledCells(np.insert(counts.cells, 0, 0, axis=1), counts.counts)
    grids = [Grid(HEIGHT, WIDTH, SIDE, 16, model.network.multiple)]
    options = RunnerOptions(multiple=model.network.multiple, bands=3)
    runner = Runner(build_network(model).eval(), "cpu", "fp32", options)
    return ScoredWindows(rasters, cells, grids, model, folder), runner


def logits(windows: ScoredWindows, runner: Runner, which: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return windows.view.classify(runner, stack_scored([windows[i] for i in which]))


@every_kind
def test_scored_windows_are_classified_pixel_by_pixel_and_each_by_itself(kind: str, tmp_path: Path) -> None:
    windows, runner = scored(kind, tmp_path)
    windows.view.prepare(lambda: runner, SIDE**2)
    which = windows.batches(3)[0]
    together = logits(windows, runner, which)
    assert together.shape == (len(which), 4, *windows[which[0]].labels.shape)
    assert together.isfinite().all()
    one_by_one = [logits(windows, runner, [i]) for i in which]
    torch.testing.assert_close(torch.cat(one_by_one), together, atol=1e-4, rtol=1e-4)


@every_kind
def test_to_prepare_again_with_the_same_network_changes_nothing(kind: str, tmp_path: Path) -> None:
    windows, runner = scored(kind, tmp_path)
    windows.view.prepare(lambda: runner, SIDE**2)
    first = logits(windows, runner, [0])
    windows.view.prepare(lambda: runner, SIDE**2)
    assert torch.equal(logits(windows, runner, [0]), first)


@every_kind
def test_what_is_shown_of_each_level_holds_the_part_that_is_looked_at(kind: str, tmp_path: Path) -> None:
    windows, _ = scored(kind, tmp_path)
    (_, place), part = windows.places[0], Window(8, 8, 16, 16)
    for pyramid in windows.view.pyramids:
        for grid in pyramid.grids:
            shown, (down, right) = windows.view.shown(grid, place.window, part), grid.ratio
            middle = 16 / down, 16 / right
            assert shown.row <= middle[0] <= shown.row + shown.height
            assert shown.col <= middle[1] <= shown.col + shown.width
