"""Pictures of suspects for a report: image, label and prediction around each, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoseg.geo.georef import grow
from geoseg.geo.grid import Window
from geoseg.outputs.report.contents import SuspectPicture
from geoseg.outputs.report.pictures import look
from geoseg.spec import IGNORE
from geoseg.spec.evaluate import SuspectsSpec
from geoseg.training.scoring.find_suspects import FoundSuspect, find_suspects
from geoseg.training.scoring.probability_maps import ProbabilityMaps
from geoseg.training.scoring.scored_model import ScoredModel
from geoseg.training.scoring.units import ImageUnits

LEAST_PX, MOST_PX = 160, 512
"""Bounds of a picture's side, in pixels; larger suspects are shown about their median pixel."""
SHOWN = 12
"""Suspects in a report."""
AROUND_PX = 24
"""Surroundings that are shown on each side."""


def first_suspects(scored: ScoredModel, classes: int, folder: Path) -> list[SuspectPicture]:
    """Pictures of the most suspicious labels of a model's rasters, which it has not learnt; scratch files go into a
    folder.
    """
    mosaics = [raster.mosaic for raster in scored.rasters]
    kept = ProbabilityMaps(mosaics, classes, folder)
    if not len(scored.windows):
        return []
    scored.count(ImageUnits(mosaics), None, logit_maps=(kept,))
    found = find_suspects(kept.maps, classes, SuspectsSpec().min_area)
    return show_suspects(found.ranked[:SHOWN], scored.spec.bands)


def show_suspects(suspects: Sequence[FoundSuspect], bands: Sequence[str]) -> list[SuspectPicture]:
    """Pictures of suspects, in their order; `bands` are the names of the mosaics' bands."""
    return [_show(found, bands) for found in suspects]


def _show(found: FoundSuspect, bands: Sequence[str]) -> SuspectPicture:
    mosaic = found.map.mosaic
    window = _part_to_show(found).clip(mosaic.height, mosaic.width)
    image, valid = mosaic.read(window)
    probabilities, labels = found.map.read(window)
    predicted = np.where(labels == IGNORE, IGNORE, probabilities.argmax(axis=0)).astype(np.uint8)
    marked = np.zeros(labels.shape, bool)
    place = found.window.shift(-window.row, -window.col)
    inside = place.clip(window.height, window.width)
    marked[inside.slices] = found.mask[inside.shift(-place.row, -place.col).slices]
    return SuspectPicture(
        found.suspect, mosaic.window_name(found.window), look(image, bands, valid), labels, predicted, marked
    )


def _part_to_show(found: FoundSuspect) -> Window:
    """The window around a suspect that is shown, not clipped to the mosaic."""
    window = grow(found.window, AROUND_PX)
    rows, cols = np.nonzero(found.mask)
    row, height = _side(window.row, window.height, found.window.row + int(np.median(rows)))
    col, width = _side(window.col, window.width, found.window.col + int(np.median(cols)))
    return Window(row, col, height, width)


def _side(first: int, length: int, middle: int) -> tuple[int, int]:
    """First pixel and length of a picture's side, given those of a suspect with its surroundings."""
    if length < LEAST_PX:
        return first - (LEAST_PX - length) // 2, LEAST_PX
    return (first, length) if length <= MOST_PX else (middle - MOST_PX // 2, MOST_PX)
