"""What coarser views of a scene tell of its classes, from the coarsest to the one before the scene itself.

In: a model that refines, and the levels over a scene. Out: the probabilities of the finest of these levels. Each level
is cut into windows, forwarded and blended like a scene; what one told goes to the next, and then is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from geoseg.core.files import write_errors
from geoseg.core.memory import MemoryReturn
from geoseg.geo.grid import Grid, Place, Window
from geoseg.inference.batches import swath_batches
from geoseg.inference.blend import Blender
from geoseg.inference.classify import are_numbers, check_numbers, classify, whole_window
from geoseg.inference.job import BY_MODEL, Job, make_grid
from geoseg.inference.views.probability_map import Choice, CoarseClasses, ProbabilityMap, Shares, find_doubts, surest
from geoseg.inference.views.pyramids import scene_pyramid
from geoseg.inference.work_folder import WorkFolder
from geoseg.models.runner import Runner
from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.resample import NativeScene
from geoseg.raster.scene import Mask, Values
from geoseg.spec import ClassifySpec, ContextLevel, ModelSpec

_NAME = "coarse.npy"


@dataclass(frozen=True)
class Refinery:
    """A model that refines, and how."""

    runner: Runner
    """The network."""
    model: ModelSpec
    """What it is."""
    batch_px: int
    """Pixels forwarded at once."""
    spec: ClassifySpec = BY_MODEL
    """Which windows, and in how many of them it looks again."""

    @property
    def ratios(self) -> tuple[int, ...]:
        """Ratio of each level to the next finer one, finest first."""
        assert self.model.refine is not None
        return self.model.refine.steps

    def tell(self, pyramid: ContextPyramid, folder: Path) -> ProbabilityMap:
        """Tell the classes of the finest level.

        Args:
            pyramid: the levels, see `model_levels`.
            folder: gets scratch files.
        """
        told, coarse = None, None
        for level in range(len(pyramid.grids) - 1, -1, -1):
            if told is not None:
                grid = self._grid(LevelSource(pyramid, level))
                coarse = self.look_again([told], level + 1, [grid], [grid.places()])[0]
            told = self._tell_level(LevelSource(pyramid, level), coarse, folder)
        assert told is not None  # there is a level
        return told

    def look_again(
        self, told: Sequence[ProbabilityMap], level: int, grids: Sequence[Grid], places: Sequence[Iterable[Place]]
    ) -> list[CoarseClasses]:
        """Choose among places over several scenes, taken together, those to look at again.

        Args:
            told: what a level tells of each scene; 0 is the finest.
            level: which level.
            grids: the windows of the next finer raster over each.
            places: those among which to choose.
        """
        fraction, ratio, every = self.spec.refine_fraction, self.ratios[level], zip(told, grids, places, strict=True)
        skipped = [frozenset[tuple[int, int]]()] * len(told)
        if fraction < 1:
            skipped = surest([find_doubts(one, ratio, grid, some) for one, grid, some in every], fraction)
        return [
            CoarseClasses(one, ratio, Choice(grid, left_out))
            for one, grid, left_out in zip(told, grids, skipped, strict=True)
        ]

    def _tell_level(self, source: LevelSource, coarse: CoarseClasses | None, folder: Path) -> ProbabilityMap:
        grid = self._grid(source)
        told = ProbabilityMap(len(self.model.classes), source.height, source.width, folder)
        blender, fill = Blender(grid), self.model.normalization.mean
        batch_size = max(1, self.batch_px // (grid.rows.size * grid.cols.size))
        memory = MemoryReturn()
        with self.runner.session():
            for i in range(grid.rows.count):
                for batch in swath_batches(source, grid, i, fill, batch_size):
                    logits = classify(self.runner, batch, coarse)
                    check_numbers(are_numbers(logits))
                    for sample, part in zip(batch.samples, logits, strict=True):
                        block = blender.feed(sample.place, whole_window(sample, part))
                        told.write(block.window, _shares(block.logits) * sample.scene_valid)
                    memory.passed(batch.image[:, 0].size)
        return told

    def _grid(self, source: LevelSource) -> Grid:
        return make_grid(source.height, source.width, self.model, self.spec)


def _shares(logits: Tensor) -> Shares:
    shares: Shares = (255 * logits.softmax(dim=0)).nan_to_num_(0).round_().cpu().numpy().astype(np.uint8)
    return shares


def model_levels(model: ModelSpec) -> tuple[ContextLevel, ...]:
    """The levels that a model sees; only the ratios matter of those that it refines."""
    if model.context is not None:
        return model.context.levels
    ratios = () if model.refine is None else model.refine.ratios
    return tuple(ContextLevel(ratio=ratio) for ratio in ratios)


def job_classes(job: Job, work: WorkFolder) -> CoarseClasses:
    """What coarser views tell of a job's scene: the same for all processes that work on it, and when it goes on."""
    if job.coarse is None:
        grid = job.grid
        batch_px = job.batch_size * grid.rows.size * grid.cols.size
        spec = job.spec.classify.model_copy(update={"tile": grid.tile})
        refinery = Refinery(job.runner, job.model.spec, batch_px, spec)
        path = work.path / _NAME
        if not path.exists():
            pyramid = scene_pyramid(job.scene, job.source, model_levels(job.model.spec), folder=work.path)
            refinery.tell(pyramid, work.path).publish(path)
        with write_errors(work.path.parent):
            work.share(path)
        job.coarse = refinery.look_again([ProbabilityMap.load(path)], 0, [grid], [grid.places()])[0]
    return job.coarse


class LevelSource(NativeScene):
    """One level over a scene, as windows are read from it."""

    def __init__(self, pyramid: ContextPyramid, level: int):
        self._pyramid, self._level = pyramid, level
        self.height, self.width = pyramid.grids[level].rows, pyramid.grids[level].cols
        self.has_wide_blocks = False

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside: mean values (C, h, w), and which pixels hold any data (h, w)."""
        weighted = self._pyramid.read(self._level, window)
        return weighted[:-1], weighted[-1] > 0
