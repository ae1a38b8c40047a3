"""Contents of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.scores import Scores
from geoseg.metrics.spread import ScoreSpread
from geoseg.outputs.suspects import Suspect
from geoseg.spec import ClassSpec, ModelCard


@dataclass(frozen=True)
class ContextPicture:
    """A coarser view of a window's surroundings, as the model sees it."""

    caption: str
    """Caption, e.g. "seen 8 times coarser"."""
    image: NDArray[np.uint8]
    """(h, w, 3), see `geoseg.outputs.report.pictures.look`."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the window, as shares of the picture."""


@dataclass(frozen=True)
class Example:
    """One window of a scored raster."""

    name: str
    """File and position, e.g. "tile_13476.tif, rows 0–255, columns 256–511"."""
    image: NDArray[np.uint8]
    """(H, W, 3), see `geoseg.outputs.report.pictures.look`."""
    label: NDArray[np.uint8]
    """(H, W) class indexes, 255 where not labelled."""
    predicted: NDArray[np.uint8]
    """(H, W) class indexes."""
    miou: float
    """Its own mean IoU, 0 to 1."""
    context: tuple[ContextPicture, ...] = ()
    """The views of its surroundings, one per level."""


@dataclass(frozen=True)
class SuspectPicture:
    """An area whose label is likely to be wrong, with its surroundings."""

    suspect: Suspect
    """The area."""
    name: str
    """File and position."""
    image: NDArray[np.uint8]
    """(H, W, 3), see `geoseg.outputs.report.pictures.look`."""
    label: NDArray[np.uint8]
    """(H, W) class indexes, 255 where not labelled."""
    predicted: NDArray[np.uint8]
    """(H, W) class indexes."""
    marked: NDArray[np.bool_]
    """(H, W) the pixels of the area."""


@dataclass(frozen=True)
class Report:
    """Contents of a report."""

    title: str
    """Heading of the page."""
    classes: Sequence[ClassSpec]
    """Classes by index."""
    scores: Scores
    """Scores on the validation rasters."""
    history: Sequence[Mapping[str, float | None]]
    """One mapping per epoch with the columns of metrics.csv; empty for an evaluation."""
    best_epoch: int | None
    """Epoch that the scores belong to, counted from 1; None for an evaluation."""
    facts: Mapping[str, str]
    """Further facts, e.g. {"Bands": "red, green, blue"}."""
    settings: str
    """The resolved config as YAML; empty if there is none."""
    card: ModelCard | None
    """The model's card; only its texts are shown."""
    worst: Sequence[Example]
    """Windows with the lowest mIoU, worst first."""
    best: Sequence[Example]
    """Windows with the highest mIoU, best first."""
    test_scores: Scores | None = None
    """Scores on the test rasters, which chose nothing; None if there are none."""
    calibration: Calibration | None = None
    """How well the probabilities of classes fit the labels; None if that is unknown."""
    spread: ScoreSpread | None = None
    """Mean and spread of the validation scores of several seeds; None of a single run."""
    test_spread: ScoreSpread | None = None
    """The same of the test scores; None if there are none."""
    suspects: Sequence[SuspectPicture] = ()
    """Areas whose labels are likely to be wrong, the most suspicious first."""
