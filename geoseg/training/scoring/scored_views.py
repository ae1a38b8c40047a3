"""What lies around the windows in which a model is scored, by the kind of its branch.

In: validation rasters, and the windows over each. Out: arrays around any window, and the logits of batches of windows.
Unlike the views of `geoseg.inference`, these read everything anew for each window: windows are few, and read by a
thread of their own.
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
    """What a view is made for."""

    rasters: Sequence[Readable]
    """Validation rasters."""
    grids: Sequence[Grid]
    """The windows over each."""
    places: Sequence[tuple[int, Place]]
    """Those that are scored: number of the raster, and place in its grid."""
    model: ModelSpec
    """What is scored."""
    folder: Path | None
    """Gets scratch files; None keeps all in memory."""

    def pyramids(self) -> list[ContextPyramid]:
        """The model's levels over each raster."""
        levels = self.model.branch.levels
        return [ContextPyramid(raster, levels, folder=self.folder) for raster in self.rasters]


class ScoredView(Protocol):
    """What a network is shown besides the windows in which it is scored; made of `ScoredInputs`."""

    @property
    def pyramids(self) -> Sequence[ContextPyramid]:
        """The levels over each raster, to look at; none if the network sees windows alone."""
        ...

    def prepare(self, make_runner: Callable[[], Runner], batch_px: int, fraction: float = 1.0) -> None:
        """Run the network over whole rasters first, if that is how it sees them; called again when it has changed.

        Args:
            make_runner: brings the network to its device.
            batch_px: pixels that are forwarded at once.
            fraction: share of the scored windows that are forwarded where a coarser view has been classified.
        """
        ...

    def surroundings(self, which: int, place: Place) -> WindowSurroundings:
        """What lies around the window of a raster at a place."""
        ...

    def classify(self, runner: Runner, batch: ScoredBatch) -> Tensor:
        """Logits, or logarithms of probabilities, of scored windows (B, K, T, T), on the device."""
        ...

    def shown(self, grid: LevelGrid, window: Window, part: Window) -> Window:
        """The pixels of a level that stand for what is seen around part of a window, for a picture."""
        ...


class ScoredAlone:
    """Windows alone."""

    pyramids: Sequence[ContextPyramid] = ()

    def __init__(self, inputs: ScoredInputs):
        """There is nothing to keep."""

    def prepare(self, make_runner: Callable[[], Runner], batch_px: int, fraction: float = 1.0) -> None:
        """There is nothing to do."""

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
        """There is nothing to do: views are averaged when the first is read."""

    def surroundings(self, which: int, place: Place) -> WindowSurroundings:
        """The view of each level in which the window lies."""
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
    """Windows in which the classes of coarser views are refined."""

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
        """Probabilities of the coarser view, and the share of the network's own answer."""
        coarse = self._coarse[which]
        maps, boxes = coarse.of_windows([place.window])
        return WindowSurroundings((maps[0],), (ViewBox(*boxes[0]),), (coarse.refined.weights(place, place.window),))

    def classify(self, runner: Runner, batch: ScoredBatch) -> Tensor:
        """Logarithms of probabilities (B, K, T, T)."""
        (weights,) = batch.weights
        return refine(runner, batch.image.numpy(), Context(*batch.views).to(runner.device), weights.numpy())

    def shown(self, grid: LevelGrid, window: Window, part: Window) -> Window:
        """A view with the part in its middle: the network sees whole levels."""
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
