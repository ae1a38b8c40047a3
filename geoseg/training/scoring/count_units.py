"""Pixel counts of a model in each unit of the labelled grid, whatever the resolution at which the model sees it.

In: the windows of a model, and the labelled mosaics under them. Out: counts of each unit, and what else counts pixels.

Logits are blended across the seams of windows as in a prediction, so that the scores are those of the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.geo.grid import Place, Window
from geoseg.inference.blend import Blender
from geoseg.inference.logits import are_numbers, check_numbers
from geoseg.metrics.unit_counts import UnitCounter
from geoseg.spec import IGNORE
from geoseg.training.loader import Loader
from geoseg.training.scoring.model_rasters import ModelRaster
from geoseg.training.scoring.score_windows import Predict
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.scoring.units import Units


class LogitCounter(Protocol):
    """Counts something of the logits of labelled pixels, some pixels at a time."""

    def update(self, logits: Tensor, predicted: Tensor, true: Tensor) -> None:
        """Count pixels.

        Args:
            logits: (K, N), float32, in the order of the counted classes.
            predicted: index of the highest of them (N,), int64.
            true: labelled class (N,), int64; all are labelled.
        """
        ...


class LogitMap(Protocol):
    """Keeps something of the logits of labelled pixels, with their places."""

    def put(self, which: int, window: Window, logits: Tensor, wanted: Tensor) -> None:
        """Keep the logits (K, h, w), float32, of a window of a mosaic where they are wanted (h, w), bool."""
        ...


@dataclass(frozen=True)
class Counters:
    """What is counted of the same pixels."""

    units: UnitCounter
    """Predicted and labelled classes by unit."""
    logits: Sequence[LogitCounter] = ()
    """What is counted of the logits."""
    maps: Sequence[LogitMap] = ()
    """What is kept of them where they lie."""


class CountedWindow(Protocol):
    """A classified window, whose core is counted."""

    @property
    def which(self) -> int:
        """Number of the raster."""
        ...

    @property
    def raster(self) -> ModelRaster:
        """The raster."""
        ...

    @property
    def place(self) -> Place:
        """Its place in the grid."""
        ...

    @property
    def shown(self) -> Window:
        """The pixels of the labelled grid to which its logits are brought."""
        ...

    def on_labelled_grid(self) -> Iterator[tuple[Window, Tensor]]:
        """Its logits (K, n, m) on these pixels, in bands from top to bottom."""
        ...


def count_units(windows: Iterable[CountedWindow], units: Units, counters: Counters) -> None:
    """Count the pixels of classified windows.

    Args:
        windows: windows, with those of which seams alone hold labels.
        units: the unit of each pixel of the labelled grid.
        counters: count.
    """
    for window in windows:
        there = window.shown
        if there.pixels:
            _count(window, units.numbers(window.which, there), counters)


@dataclass(frozen=True)
class Classified:
    """One window, classified at a model's resolution."""

    which: int
    """Number of the raster."""
    raster: ModelRaster
    """The raster."""
    place: Place
    """Its place in the grid."""
    logits: Tensor
    """(K, T, T); in its core blended with those of its neighbours."""
    valid: Tensor
    """Which pixels hold data (T, T), bool."""

    @property
    def inside(self) -> Window:
        """Its part inside of the raster, at the model's resolution."""
        return self.place.window.clip(self.raster.height, self.raster.width)

    @property
    def shown(self) -> Window:
        """The pixels of the labelled grid to which its logits are brought."""
        return shown_of(self.raster, self.place)

    def on_labelled_grid(self) -> Iterator[tuple[Window, Tensor]]:
        """Its logits (K, n, m) on these pixels, in bands from top to bottom."""
        inside, window = self.inside, self.place.window
        at = inside.shift(-window.row, -window.col).slices
        return self.raster.source.to_scene(self.logits[:, *at], self.valid[at], inside)


def shown_of(raster: ModelRaster, place: Place) -> Window:
    """The pixels of the labelled grid to which the logits of a window are brought."""
    return raster.source.scene_window(place.window.clip(raster.height, raster.width))


def blended(
    predict: Predict,
    windows: ScoredWindows,
    loader: Loader,
    rasters: Sequence[ModelRaster],
    reporter: Reporter = SILENT,
) -> Iterator[Classified]:
    """Classify all windows, and blend those of each raster.

    Args:
        predict: classifies windows; its logits are in the order of the classes that are counted.
        windows: windows over `rasters`, with those of which seams alone hold labels.
        loader: batches of them, those of a raster in the order of its grid.
        rasters: the mosaics as the model sees them.
        reporter: gets the progress of `scoring` in batches.
    """
    scoring = Stage(reporter, "scoring", len(loader))
    current, blender = -1, None
    for indexes, batch in zip(loader.batches, loader, strict=True):
        logits = predict(batch)
        check_numbers(are_numbers(logits))
        for index, part, valid in zip(indexes, logits.cpu().float(), batch.valid, strict=True):
            which, place = windows.places[index]
            if blender is None or which != current:
                current, blender = which, Blender(windows.grids[which], lap=rasters[which].source.lap)
            blender.feed(place, part)  # replaces the seams in the window's core
            yield Classified(which, rasters[which], place, part, valid)
        scoring.advance(1)


def _count(window: CountedWindow, units: NDArray[np.int64], counters: Counters) -> None:
    """Count the core of a window; what surrounds it on the labelled grid decides where boundaries are."""
    raster, there = window.raster, window.shown
    _, valid = raster.mosaic.read(there)
    labels = torch.from_numpy(np.where(valid, raster.mosaic.read_labels(there), IGNORE).astype(np.int64))
    counted = _core_of(window) & torch.from_numpy(raster.in_area(there))
    predicted = []
    for band, logits in window.on_labelled_grid():
        predicted.append(logits.max(dim=0).indices)
        if counters.logits or counters.maps:
            rows = slice(band.row - there.row, band.row - there.row + band.height)
            wanted = counted[rows] & (labels[rows] != IGNORE)
            for counter in counters.logits if wanted.any() else ():
                counter.update(logits[:, wanted], predicted[-1][wanted], labels[rows][wanted])
            for kept in counters.maps if wanted.any() else ():
                kept.put(window.which, band, logits, wanted)
    counters.units.update(torch.cat(predicted), labels, counted, torch.from_numpy(units))


def _core_of(window: CountedWindow) -> Tensor:
    """Which of the pixels shown (h, w) belong to the window's core."""
    there, core = window.shown, window.raster.source.scene_window(window.place.core)
    mask = torch.zeros(there.height, there.width, dtype=torch.bool)
    mask[core.shift(-there.row, -there.col).slices] = True
    return mask
