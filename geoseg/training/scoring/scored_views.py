"""The views of the surroundings of scored windows, by the kind of a model's branch.

In: validation rasters, and the windows over each. Out: the views of any window as arrays, and the logits of batches of
windows. Unlike the views of `geoseg.inference`, nothing is shared between windows: they are few, and are read ahead by
a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from geoseg.core.registry import Registry
from geoseg.geo.grid import Grid, Place, Window
from geoseg.inference.views.coarse_classes import CoarseClasses, refine
from geoseg.inference.views.coarse_to_fine import CoarseToFine
from geoseg.models.runner import Runner
from geoseg.models.surroundings import Context
from geoseg.raster.level_grid import LevelGrid, ViewBox
from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.readable import Readable
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.training.scoring.scored_batch import NO_SURROUNDINGS, ScoredBatch, WindowSurroundings


@dataclass(frozen=True)
class ScoredInputs:
    """What a view is made of."""

    rasters: Sequence[Readable]
    """Validation rasters."""
    grids: Sequence[Grid]
    """The grid of windows over each."""
    places: Sequence[tuple[int, Place]]
    """The windows that are scored: number of the raster, and place in its grid."""
    model: ModelSpec
    """The spec of the scored model."""
    folder: Path | None
    """Folder for scratch files; None keeps all in memory."""

    def pyramids(self) -> list[ContextPyramid]:
        """The model's levels over each raster."""
        levels = self.model.branch.levels
        return [ContextPyramid(raster, levels, folder=self.folder) for raster in self.rasters]


class ScoredView(Protocol):
    """What a network gets besides scored windows; made of `ScoredInputs`."""

    @property
    def pyramids(self) -> Sequence[ContextPyramid]:
        """The levels over each raster, for pictures; empty if the network sees windows alone."""
        ...

    def prepare(self, make_runner: Callable[[], Runner], batch_px: int, fraction: float = 1.0) -> None:
        """Classify coarser views of whole rasters, if the network refines them; called again after its weights change.

        Args:
            make_runner: moves the network to its device.
            batch_px: pixels per batch.
            fraction: share of the scored windows that are forwarded; the others keep the coarser view's classes.
        """
        ...

    def surroundings(self, which: int, place: Place) -> WindowSurroundings:
        """The views of the surroundings of a raster's window at a place."""
        ...

    def classify(self, runner: Runner, batch: ScoredBatch) -> Tensor:
        """Logits of scored windows (B, K, T, T), on the device."""
        ...

    def shown(self, grid: LevelGrid, window: Window, part: Window) -> Window:
        """The context pixels of a level to be shown in a picture for a part of a window."""
        ...


class ScoredAlone:
    """Windows alone."""

    pyramids: Sequence[ContextPyramid] = ()

    def __init__(self, inputs: ScoredInputs):
        """Nothing is kept."""

    def prepare(self, make_runner: Callable[[], Runner], batch_px: int, fraction: float = 1.0) -> None:
        """Nothing to prepare."""

    def surroundings(self, which: int, place: Place) -> WindowSurroundings:
        """Nothing."""
        return NO_SURROUNDINGS

    def classify(self, runner: Runner, batch: ScoredBatch) -> Tensor:
        """Logits (B, K, T, T)."""
        return runner(batch.image.numpy())

    def shown(self, grid: LevelGrid, window: Window, part: Window) -> Window:
        """The part itself."""
        return part


class ScoredInContext:
    """Windows in wider, coarser views."""

    def __init__(self, inputs: ScoredInputs):
        self.pyramids: Sequence[ContextPyramid] = inputs.pyramids()

    def prepare(self, make_runner: Callable[[], Runner], batch_px: int, fraction: float = 1.0) -> None:
        """Nothing to prepare: views are averaged when the first is read."""

    def surroundings(self, which: int, place: Place) -> WindowSurroundings:
        """The view of each level that contains the window."""
        pyramid, window = self.pyramids[which], place.window
        views = [pyramid.view(level, window) for level in range(len(pyramid.grids))]
        return WindowSurroundings(
            tuple(pyramid.read(level, view) for level, view in enumerate(views)),
            tuple(pyramid.box(level, window, view) for level, view in enumerate(views)),
        )

    def classify(self, runner: Runner, batch: ScoredBatch) -> Tensor:
        """Logits (B, K, T, T)."""
        return runner(batch.image.numpy(), runner.see(batch.views))

    def shown(self, grid: LevelGrid, window: Window, part: Window) -> Window:
        """The window's view."""
        return grid.view(window)


class ScoredRefined:
    """Windows in which the probabilities of coarser views are refined."""

    def __init__(self, inputs: ScoredInputs):
        self._inputs = inputs
        self.pyramids: Sequence[ContextPyramid] = inputs.pyramids()
        self._coarse: list[CoarseClasses] = []

    def prepare(self, make_runner: Callable[[], Runner], batch_px: int, fraction: float = 1.0) -> None:
        """Classify the coarser views of all rasters."""
        self._coarse = []  # the maps of an earlier network go first
        model, folder = self._inputs.model, self._inputs.folder
        coarse_to_fine = CoarseToFine(make_runner(), model, batch_px, ClassifySpec(refine_fraction=fraction))
        maps = [coarse_to_fine.classify_levels(pyramid, folder) for pyramid in self.pyramids]
        places = [[place for of, place in self._inputs.places if of == which] for which in range(len(maps))]
        self._coarse = coarse_to_fine.choose_windows(maps, 0, self._inputs.grids, places)

    def surroundings(self, which: int, place: Place) -> WindowSurroundings:
        """Probabilities of the coarser view, and the weight of the network's own."""
        coarse = self._coarse[which]
        maps, boxes = coarse.of_windows([place.window])
        return WindowSurroundings((maps[0],), (ViewBox(*boxes[0]),), (coarse.refined.weights(place, place.window),))

    def classify(self, runner: Runner, batch: ScoredBatch) -> Tensor:
        """Logits (B, K, T, T)."""
        (weights,) = batch.weights
        return refine(runner, batch.image.numpy(), Context(*batch.views).to(runner.device), weights.numpy())

    def shown(self, grid: LevelGrid, window: Window, part: Window) -> Window:
        """A view centred on the part: the network classifies whole levels."""
        size, (down, right) = grid.level.size, grid.ratio
        row, col = (part.row + part.height / 2) / down, (part.col + part.width / 2) / right
        return Window(round(row - size / 2), round(col - size / 2), size, size)


SCORED_VIEWS: Registry[Callable[[ScoredInputs], ScoredView]] = Registry(
    "view of scored windows",
    "geoseg.scored_views",
    {
        "plain": "geoseg.training.scoring.scored_views:ScoredAlone",
        "context": "geoseg.training.scoring.scored_views:ScoredInContext",
        "refine": "geoseg.training.scoring.scored_views:ScoredRefined",
    },
)
