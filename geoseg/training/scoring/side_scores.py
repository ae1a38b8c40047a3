"""Scores of a model on one side of a split, as it classifies a scene.

In: a model, the labelled rasters of a side, and settings. Out: scores. `geoseg evaluate` and the end of a training run
score through these functions, so that a bundle's card says what `geoseg evaluate` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError
from geoseg.core.events import SILENT, Reporter
from geoseg.geo.grid import Window
from geoseg.metrics.calibration.temperature import FittedTemperature, LogitSample
from geoseg.metrics.intervals import Bootstrap
from geoseg.metrics.scores import Scores
from geoseg.metrics.unit_counts import UnitCounts
from geoseg.models.model import Model
from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.scaling import Rescaling
from geoseg.spec import EvaluateSpec, TrainSpec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.scoring.count_units import LogitCounter, LogitMap
from geoseg.training.scoring.model_rasters import ModelBands
from geoseg.training.scoring.scored_model import LabelledSide, ScoredModel, lay_model
from geoseg.training.scoring.units import UNITS


def lay_side(model: Model, side: SplitSide, spec: TrainSpec, wanted: EvaluateSpec, folder: Path) -> ScoredModel:
    """Lay a model's windows over a side that was read with its bands.

    Args:
        model: the model.
        side: its labelled rasters.
        spec: the config that names them; its classes are the model's.
        wanted: how the model classifies, and on which device.
        folder: for scratch files.

    Raises:
        SpecError: if a setting does not go with the model or the rasters, or this machine has no such device.
    """
    rescale, count = wanted.classify.given_rescale, len(model.spec.bands)
    change = None if rescale is None else Rescaling.of(*rescale, HIGHEST[model.spec.dtype])
    bands = [ModelBands(mosaic, tuple(range(count)), change) for mosaic in side.rasters]
    labelled = LabelledSide(bands, side.cells, spec.data.resolution_m, spec.batch_px)
    return lay_model(model, labelled, wanted.classify, wanted.scoring.device, folder, range(len(spec.classes)))


@dataclass(frozen=True)
class SideCounts:
    """The pixel counts of a model on a side, by unit."""

    counts: UnitCounts
    """The counts."""
    names: Sequence[str]
    """Names of the classes."""
    unit: str
    """What a unit is, e.g. "a block of 1024 px"."""
    bootstrap: Bootstrap
    """Draws the units."""

    def scores(self) -> Scores:
        """The scores of all units together, with their intervals."""
        return self.bootstrap.scores(self.counts, self.names, self.unit)


def count_side(
    scored: ScoredModel,
    spec: TrainSpec,
    wanted: EvaluateSpec,
    reporter: Reporter = SILENT,
    logit_counters: Sequence[LogitCounter] = (),
    logit_maps: Sequence[LogitMap] = (),
) -> SideCounts:
    """Count the pixels of a model whose windows are laid over a side.

    Args:
        scored: the model.
        spec: the config; its classes are the model's.
        wanted: whose boundary width and blocks are taken before those of the config.
        reporter: gets the progress of `scoring` in batches.
        logit_counters: count the logits of the same pixels.
        logit_maps: keep the logits of what is scored.

    Raises:
        LabelError: if nothing is labelled in the area of interest.
    """
    drawn, given = wanted.bootstrap, wanted.scoring.boundary_px
    reach = spec.boundary_px if given is None else given
    names, mosaics = [c.name for c in spec.classes], [raster.mosaic for raster in scored.rasters]
    units = UNITS[drawn.unit](mosaics, drawn.block_px or spec.data.split.block_px, len(names))
    counts = scored.count(units, reach or None, reporter, logit_counters, logit_maps)
    if not len(counts):
        raise LabelError("no labelled pixel lies in the area of interest: choose another aoi or bbox")
    return SideCounts(counts, names, units.words, Bootstrap(len(counts), drawn.draws, drawn.seed))


def fit_temperature(scored: ScoredModel, pixels: int, reporter: Reporter = SILENT) -> FittedTemperature:
    """Fit a temperature to the logits of a model whose windows are laid over a side.

    Args:
        scored: the model; its own temperature plays no part.
        pixels: labelled pixels of the side.
        reporter: gets the progress of `scoring` in batches.
    """
    sample = LogitSample(len(scored.order), pixels)
    scored.count(_AllPixels(), None, reporter, (sample,))
    return sample.fit()


class _AllPixels:
    """All pixels of all rasters as one unit."""

    words = "all pixels"
    count = 1

    def numbers(self, which: int, window: Window) -> NDArray[np.int64]:
        """Zeros (h, w)."""
        return np.zeros((window.height, window.width), np.int64)
