"""Pixel counts of a model in each unit of the labelled grid, whatever the resolution at which the model sees it.

In: the windows of a model, and the labelled mosaics under them. Out: counts of each unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.geo.grid import Place, Window
from geoseg.inference.logits import are_numbers, check_numbers
from geoseg.metrics.unit_counts import UnitCounter
from geoseg.spec import IGNORE
from geoseg.training.loader import Loader
from geoseg.training.scoring.model_rasters import ModelRaster
from geoseg.training.scoring.score_windows import Predict
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.scoring.units import Units


def count_units(
    predict: Predict,
    windows: ScoredWindows,
    loader: Loader,
    rasters: Sequence[ModelRaster],
    units: Units,
    counter: UnitCounter,
    reporter: Reporter = SILENT,
) -> None:
    """Classify all windows, and count them by unit.

    Args:
        predict: classifies windows; its logits are in the order of the classes that are counted.
        windows: windows over `rasters`.
        loader: batches of them.
        rasters: the mosaics as the model sees them.
        units: the unit of each pixel of the labelled grid.
        counter: counts.
        reporter: gets the progress of `scoring` in batches.
    """
    scoring = Stage(reporter, "scoring", len(loader))
    for indexes, batch in zip(loader.batches, loader, strict=True):
        logits = predict(batch)
        check_numbers(are_numbers(logits))
        for index, *parts in zip(indexes, logits.cpu(), batch.valid, strict=True):
            which, place = windows.places[index]
            window = _Classified(place, *parts)
            _count(window, rasters[which], units.numbers(which, window.shown(rasters[which])), counter)
        scoring.advance(1)


@dataclass(frozen=True)
class _Classified:
    """One window, classified at a model's resolution."""

    place: Place
    """Its place in the grid."""
    logits: Tensor
    """(K, T, T)."""
    valid: Tensor
    """Which pixels hold data (T, T), bool."""

    def inside(self, raster: ModelRaster) -> Window:
        """Its part inside of the raster, at the model's resolution."""
        return self.place.window.clip(raster.height, raster.width)

    def shown(self, raster: ModelRaster) -> Window:
        """The pixels of the labelled grid to which its logits are brought."""
        return raster.source.scene_window(self.inside(raster))

    def classes(self, raster: ModelRaster) -> Tensor:
        """Class indexes (h, w) of these pixels."""
        inside, window = self.inside(raster), self.place.window
        at = inside.shift(-window.row, -window.col).slices
        bands = raster.source.to_scene(self.logits[:, *at], self.valid[at], inside)
        return torch.cat([band.argmax(dim=0) for _, band in bands])


def _count(window: _Classified, raster: ModelRaster, units: NDArray[np.int64], counter: UnitCounter) -> None:
    """Count the core of a window; what surrounds it on the labelled grid decides where boundaries are."""
    there = window.shown(raster)
    if not there.pixels:
        return
    _, valid = raster.mosaic.read(there)
    labels = np.where(valid, raster.mosaic.read_labels(there), IGNORE).astype(np.int64)
    counted = np.zeros(labels.shape, bool)
    counted[raster.source.scene_window(window.place.core).shift(-there.row, -there.col).slices] = True
    counted &= raster.in_area(there)
    counter.update(window.classes(raster), *map(torch.from_numpy, (labels, counted, units)))
