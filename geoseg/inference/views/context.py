"""The view of a model with a context branch, and a cache of the features that the branch found.

In: windows of a scene, row by row. Out: the context that a network takes along with them. The features of the views
that were used last are kept, so that a window which shares a view with an earlier one does not forward it again. If the
next row of windows needs mostly the same views, as many are kept as a row has, up to a limit; else the few that
neighbouring windows of a row share. So memory does not depend on the size of the scene.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geoseg.core.files import write_errors
from geoseg.geo.grid import Axis, Grid, Window
from geoseg.inference.batches import Batch, Sample
from geoseg.inference.views.pyramids import scene_pyramid
from geoseg.inference.views.view import ViewInputs, averaged_bytes
from geoseg.inference.work_folder import WorkFolder
from geoseg.models.runner import Runner
from geoseg.models.surroundings import Context
from geoseg.raster.level_grid import super_tile
from geoseg.raster.pyramid import ContextPyramid
from geoseg.spec import ContextLevel

_NAME = "averaged.npy"
FEWEST_VIEWS = 4
"""Views of a level that are kept for the windows beside: some megabytes each."""
SPARE_VIEWS = 2
"""Views kept beyond those of a row, which windows that were cropped to their data may meet."""
MOST_VIEWS = 40
"""Views of a level that are kept for the next rows of windows: at ratio 8, those of 40,000 px. Of a row with more, none
would be left when the next one begins."""
WORTH_ROWS = 1.25
"""Rows of windows that a row of views has to serve, on average, to be kept for the next one."""


class ContextView:
    """Shows wider, coarser views of the scene, averaged once for all processes; see `view.View`."""

    forwarded_share = 1.0
    maps_held = 3
    """For blending."""

    def __init__(self, inputs: ViewInputs):
        self._inputs = inputs
        self._prepared: dict[Path, ContextPyramid] = {}

    @property
    def scratch_bytes(self) -> float:
        """Bytes per pixel of the source for the averaged scene."""
        return averaged_bytes(self._inputs.model)

    def surroundings(self, work: WorkFolder) -> ContextCache:
        """Average the scene, unless the work folder holds it averaged, and open an empty cache.

        Raises:
            GeosegError: if the scene cannot be read, or the work folder cannot be written.
        """
        inputs = self._inputs
        if work.path not in self._prepared:
            self._prepared[work.path] = self._average(work)
        keep = views_worth_keeping(inputs.model.branch.levels, inputs.grid)
        return ContextCache(inputs.runner, self._prepared[work.path], keep)

    def _average(self, work: WorkFolder) -> ContextPyramid:
        shared, inputs = work.path / _NAME, self._inputs
        pyramid = scene_pyramid(inputs.scene, inputs.source, inputs.model.branch.levels, shared=shared)
        pyramid.prepare()
        with write_errors(work.path.parent):
            work.seal_common(shared)
        return pyramid


class ContextCache:
    """Classifies windows with their context, caching the features of views; see `view.Surroundings`."""

    def __init__(self, runner: Runner, pyramid: ContextPyramid, keep: Sequence[int]):
        """Keep the `keep[level]` most recently used views of each level; see `views_worth_keeping`."""
        self._runner, self._pyramid, self._keep = runner, pyramid, keep
        self._seen: list[OrderedDict[Window, Tensor]] = [OrderedDict() for _ in pyramid.grids]
        self.encoded = 0
        """Number of views that were forwarded so far."""

    def classify(self, batch: Batch) -> Tensor:
        """Logits of the forwarded parts of a batch (B, K, h, w)."""
        return self._runner(batch.image, self.context(batch.windows))

    def forwarded_px(self, sample: Sample) -> int:
        """All pixels of the forwarded part."""
        return sample.part.pixels

    def context(self, windows: Sequence[Window]) -> Context:
        """Context features of all levels for B windows, on the device."""
        levels = [self._level(level, windows) for level in range(len(self._pyramid.grids))]
        maps, boxes = zip(*levels, strict=True)
        return Context(maps, boxes)

    def _level(self, level: int, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        views = [self._pyramid.view(level, window) for window in windows]
        boxes = [self._pyramid.box(level, *pair) for pair in zip(windows, views, strict=True)]
        maps = {view: self._map(level, view) for view in dict.fromkeys(views)}
        together = next(iter(maps.values())) if len(maps) == 1 else torch.cat([maps[view] for view in views])
        return together, torch.from_numpy(np.stack(boxes)).float().to(self._runner.device)

    def _map(self, level: int, view: Window) -> Tensor:
        seen = self._seen[level]
        if view not in seen:
            seen[view] = self._runner.encode(level, self._pyramid.read(level, view))
            self.encoded += 1
            while len(seen) > self._keep[level]:
                seen.popitem(last=False)
        seen.move_to_end(view)
        return seen[view]


def views_worth_keeping(levels: Sequence[ContextLevel], grid: Grid) -> list[int]:
    """Number of views of each level to keep, so that few are forwarded twice while windows are classified by rows."""
    return [_worth_keeping(level, grid) for level in levels]


def _worth_keeping(level: ContextLevel, grid: Grid) -> int:
    if level.ratio == "scene":
        return 1
    side = level.core_px * level.ratio
    down, across = _views_met(grid.rows, side, grid.border), _views_met(grid.cols, side, grid.border)
    if grid.rows.count < WORTH_ROWS * down or across + SPARE_VIEWS > MOST_VIEWS:
        return FEWEST_VIEWS
    return max(FEWEST_VIEWS, across + SPARE_VIEWS)


def _views_met(axis: Axis, side: int, border: int) -> int:
    """Number of views that the windows along an axis meet, views having cores of `side` pixels of the scene."""
    spans = zip(axis.starts, axis.sizes, strict=True)
    return len({super_tile(start, start + size, side, border) for start, size in spans})
