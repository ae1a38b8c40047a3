"""Coarser views of a scene, classified one after the other from the coarsest to the finest.

In: a model that refines, and the levels over a scene. Out: probabilities of the finest of these levels. Each level is
cut into windows, forwarded and blended like a scene; its probabilities are dropped once the next finer one has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import Tensor

from geoseg.core.memory import MemoryReturn
from geoseg.geo.grid import Grid, Place, Window
from geoseg.inference.batches import tile_row_batches
from geoseg.inference.blend import Blender
from geoseg.inference.logits import are_numbers, check_numbers, whole_window
from geoseg.inference.views.coarse_classes import CoarseClasses, Refined
from geoseg.inference.views.nothing import WindowsAlone
from geoseg.inference.views.refined_windows import ByteProbabilities, RefinedWindows, mean_uncertainties, most_certain
from geoseg.inference.views.view import Surroundings
from geoseg.inference.windows import BY_MODEL, make_grid
from geoseg.models.runner import Runner
from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.resample import NativeScene
from geoseg.raster.validity import Mask, Values
from geoseg.raster.window_store import WindowStore
from geoseg.spec import ClassifySpec, ModelSpec


@dataclass(frozen=True)
class CoarseToFine:
    """Classifies the coarser views of a scene with a model that refines them."""

    runner: Runner
    """The network."""
    model: ModelSpec
    """The model's description."""
    batch_px: int
    """Pixels forwarded at once."""
    spec: ClassifySpec = BY_MODEL
    """Settings of the windows, and the fraction of them that is forwarded."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Ratio of each level to the next finer one, finest first."""
        ratios = [1, *(int(level.ratio) for level in self.model.branch.levels)]
        return tuple(coarser // finer for finer, coarser in pairwise(ratios))

    def classify_levels(self, pyramid: ContextPyramid, folder: Path | None) -> WindowStore:
        """Classify all levels, coarsest first; return the probabilities of the finest one.

        Args:
            pyramid: the model's levels over a raster.
            folder: for scratch files; None keeps all in memory.
        """
        coarsest = len(pyramid.grids) - 1
        found = self._classify(LevelSource(pyramid, coarsest), WindowsAlone(self.runner), folder)
        for level in range(coarsest - 1, -1, -1):
            source = LevelSource(pyramid, level)
            grid = self._grid(source)
            coarse = self.choose_windows([found], level + 1, [grid], [grid.places()])[0]
            found = self._classify(source, Refined(self.runner, coarse), folder)
        return found

    def choose_windows(
        self, maps: Sequence[WindowStore], level: int, grids: Sequence[Grid], places: Sequence[Iterable[Place]]
    ) -> list[CoarseClasses]:
        """Choose the windows to forward, the least sure ones over several rasters taken together.

        Args:
            maps: probabilities of one level, of each raster.
            level: index of that level; 0 is the finest.
            grids: the windows of the next finer view of each.
            places: the candidates, of each raster.
        """
        fraction, step, every = self.spec.refine_fraction, self.steps[level], zip(maps, grids, places, strict=True)
        skipped = [frozenset[tuple[int, int]]()] * len(maps)
        if fraction < 1:
            skipped = most_certain([mean_uncertainties(one, step, grid, some) for one, grid, some in every], fraction)
        return [
            CoarseClasses(one, step, level, RefinedWindows(grid, left_out))
            for one, grid, left_out in zip(maps, grids, skipped, strict=True)
        ]

    def _classify(self, source: LevelSource, surroundings: Surroundings, folder: Path | None) -> WindowStore:
        grid = self._grid(source)
        found = WindowStore(len(self.model.classes), source.height, source.width, folder)
        blender, fill = Blender(grid), self.model.normalization.mean
        batch_size = max(1, self.batch_px // (grid.rows.size * grid.cols.size))
        memory = MemoryReturn()
        with self.runner.session():
            for i in range(grid.rows.count):
                for batch in tile_row_batches(source, grid, i, fill, batch_size):
                    logits = surroundings.classify(batch)
                    check_numbers(are_numbers(logits))
                    for sample, part in zip(batch.samples, logits, strict=True):
                        block = blender.feed(sample.place, whole_window(sample, part))
                        found.write(block.window, _to_bytes(block.logits) * sample.scene_valid)
                    memory.passed(batch.image[:, 0].size)
        return found

    def _grid(self, source: LevelSource) -> Grid:
        return make_grid(source.height, source.width, self.model, self.spec)


def _to_bytes(logits: Tensor) -> ByteProbabilities:
    shares: ByteProbabilities = (255 * logits.softmax(dim=0)).nan_to_num_(0).round_().cpu().numpy().astype(np.uint8)
    return shares


class LevelSource(NativeScene):
    """One level over a scene as a raster to read windows from."""

    def __init__(self, pyramid: ContextPyramid, level: int):
        self._pyramid, self._level = pyramid, level
        self.height, self.width = pyramid.grids[level].rows, pyramid.grids[level].cols
        self.has_wide_blocks = False

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside the level: mean values (C, h, w), and which pixels hold any data (h, w)."""
        weighted = self._pyramid.read(self._level, window)
        return weighted[:-1], weighted[-1] > 0
