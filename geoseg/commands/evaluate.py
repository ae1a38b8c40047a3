"""`geoseg evaluate`: scores of a class raster against labels of the same area.

In: the paths of a class raster of any origin, and of labels: a raster on its grid, or polygons in any format and CRS.
Out: a result with all scores. Both are read window by window, so that memory does not depend on their size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.commands.evaluated_classes import EvaluatedClasses, inspect_classes, unique_names
from geoseg.core.errors import LabelError, SceneError, SpecError
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.redaction import public_form
from geoseg.data.labels import LabelRules, Labels, LabelSource, label_format, open_labels, unmarked_labels
from geoseg.data.labels.background import outside_index
from geoseg.data.labels.corrections import count_corrected
from geoseg.geo.georef import PixelGrid, grid_of
from geoseg.geo.grid import Window
from geoseg.metrics.intervals import Bootstrap
from geoseg.metrics.scores import Scores
from geoseg.metrics.scoring import Comparison
from geoseg.metrics.unit_counts import UnitCounter
from geoseg.raster.class_raster import open_classes, read_codes
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.reading import to_rasterio
from geoseg.spec import IGNORE, NODATA_ID, ComparisonSpec, parse_spec
from geoseg.spec.evaluate import BOUNDARY_PX_MOST
from geoseg.spec.settings import ComparisonSettings
from geoseg.training.scoring.units import block_units

__all__ = ["EvaluateResult", "evaluate"]

SIDE = 1024
"""Side of a window in pixels. Larger ones are no faster, and out of the processor's cache."""
BLOCK_PX = 512
"""Side of the blocks that are resampled for intervals by default, in pixels."""
BOUNDARY_PX = 3
"""How far from a class's contour its boundary reaches by default."""


@dataclass(frozen=True)
class EvaluateResult:
    """The result of `evaluate`."""

    prediction: str
    """The class raster, as it was given."""
    labels: str
    """What it was compared with, as it was given."""
    scores: Scores
    """How well the two agree where both have a class."""
    unpredicted: float
    """Share of the labelled pixels without a prediction, 0..1; they are not in the scores."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """Sentences that the user should read."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"scores": self.scores.as_dict(), "notices": list(self.notices)}


def evaluate(
    prediction: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    boundary_px: int = BOUNDARY_PX,
    reporter: Reporter = SILENT,
    **settings: Unpack[ComparisonSettings],
) -> EvaluateResult:
    """Score a class raster against labels.

    Args:
        prediction: a class raster; its classes have the names of its legend, else "class 3".
        labels: a raster of class ids on the same grid, or polygons with class ids or names.
        boundary_px: how far from a class's contour its boundary reaches; 0 compares no boundaries.
        reporter: takes notices, and the progress of `reading` and `scoring` in pixels.
        settings: fields of ComparisonSpec.

    Raises:
        SceneError: if the prediction cannot be read, is no class raster, or has a class id that its tags don't name.
        LabelError: if labels cannot be read, don't overlap, or hold an unknown class.
        SpecError: if a setting is invalid.
    """
    started = time.perf_counter()
    spec = parse_spec(ComparisonSpec, settings, source="settings")
    prediction, labels = os.fspath(prediction), os.fspath(labels)
    rules = LabelRules((), spec.column, spec.layer, spec.outside, spec.extent, buffer_px=spec.buffer_px)
    _check_boundary(boundary_px)
    with gdal_settings(), open_classes(prediction) as raster:
        source = LabelSource(Path(labels), grid_of(raster), (), Path(prediction), rules)
        _check_rules(source, labels)
        shown = inspect_classes(raster, source, spec.legend, reporter)
        source = replace(source, classes=shown.classes, rules=_corrected(rules, spec))
        with open_labels(source) as truth:
            pair = _Pair(raster, truth, shown, _everywhere(rules, shown))
            scores = _score(pair, shown, boundary_px, spec, reporter)
            notices = (
                *shown.notices,
                *_notices_of_labels(labels, truth),
                *_notice_of_bare(labels, rules, shown, scores),
                *_notice_of_corrections(source),
            )
    if not scores.pixels:
        raise LabelError(f"{prediction} predicts nothing where {labels} is labelled: give labels of the same area")
    share = pair.unpredicted / (pair.unpredicted + scores.pixels)
    for notice in notices:
        reporter.notice(notice)
    about = public_form(prediction), public_form(labels)
    return EvaluateResult(*about, scores, share, time.perf_counter() - started, notices)


def _check_boundary(boundary_px: int) -> None:
    if not 0 <= boundary_px <= BOUNDARY_PX_MOST:
        raise SpecError(f"boundary_px = {boundary_px}: give 0 to {BOUNDARY_PX_MOST} pixels")


def _check_rules(labels: LabelSource, name: str) -> None:
    if (labels.rules.column or labels.rules.layer) and not label_format(labels).is_vector:
        raise SpecError(f"{name} is a raster: a column or a layer is for polygons, leave it out")


def _everywhere(rules: LabelRules, shown: EvaluatedClasses) -> int:
    """Index of the class that is only labelled where there is a prediction, as it lies outside of all polygons."""
    return outside_index(rules, shown.classes) if rules.extent is None else IGNORE


def _notice_of_bare(path: str, rules: LabelRules, shown: EvaluatedClasses, scores: Scores) -> tuple[str, ...]:
    """A notice if labels consist of what lies outside of them."""
    outside, pixels = outside_index(rules, shown.classes), np.sum(scores.confusion, axis=1)
    if outside == IGNORE or not pixels[outside] or pixels.sum() > pixels[outside]:
        return ()
    return (f"{path} shows no polygon here: all of the area counts as {shown.classes[outside].name}",)


def _corrected(rules: LabelRules, spec: ComparisonSpec) -> LabelRules:
    """The rules with the corrections of the settings, whose classes must be known."""
    return rules if spec.corrections is None else replace(rules, corrections=(spec.corrections,))


def _notice_of_corrections(source: LabelSource) -> tuple[str, ...]:
    corrections = source.rules.corrections
    if not corrections:
        return ()
    with open_labels(replace(source, rules=replace(source.rules, corrections=()))) as labels:
        return (count_corrected(source, labels).notice(corrections),)


def _notices_of_labels(path: str, labels: Labels) -> tuple[str, ...]:
    pixels = labels.unmarked_px()
    unmarked = (f"{path}: {unmarked_labels(pixels)}",) if pixels else ()
    return *unmarked, *(f"{path}: {count:,} px {clause}" for clause, count in labels.disputed().items() if count)


# ---------------------------------------------------------------------------------------------------------- counting


class _Pair:
    """An open prediction and its open labels, as class indexes of the same windows."""

    def __init__(self, raster: Any, labels: Labels, shown: EvaluatedClasses, everywhere: int):
        self.grid: PixelGrid = grid_of(raster)
        self.height, self.width = raster.shape
        self.unpredicted = 0
        """Labelled pixels compared so far that have no prediction."""
        self._raster, self._labels, self._codes, self._everywhere = raster, labels, shown.codes, everywhere
        index_of = {NODATA_ID: IGNORE} | {c.id: index for index, c in enumerate(shown.classes)}
        self._index_of = np.full(max(len(shown.codes.values), shown.codes.nodata + 1), -1, np.int16)
        for code, value in enumerate(shown.codes.values.tolist()):
            self._index_of[code] = index_of.get(value, -1)
        self._index_of[shown.codes.nodata] = IGNORE

    def compare(self, window: Window, core: Window) -> Comparison:
        """Prediction and labels of a window; only its core is counted.

        Raises:
            SceneError: if the prediction holds a class that its tags don't name.
            LabelError: if labels cannot be read.
        """
        counted = np.zeros((window.height, window.width), bool)
        counted[core.shift(-window.row, -window.col).slices] = True
        predicted, true = self._predicted(window), self._labels.read(window)
        missing = (predicted == IGNORE) & (true != IGNORE)
        self.unpredicted += int((missing & counted & (true != self._everywhere)).sum())
        true[missing] = IGNORE
        return Comparison(*map(torch.from_numpy, (predicted, true, counted)))

    def _predicted(self, window: Window) -> NDArray[np.uint8]:
        """Predicted class indexes (h, w), IGNORE where there is no prediction."""
        codes = read_codes(self._raster, to_rasterio(window), self._codes)
        predicted: NDArray[np.int16] = self._index_of[codes]
        if (unknown := predicted < 0).any():
            value = self._codes.decode(codes[unknown][:1])[0]
            raise SceneError(
                f"{self._raster.name} holds class id {value}, which its tags don't name: "
                "name it there, or remove the tag GEOSEG_CLASSES"
            )
        return predicted.astype(np.uint8)


def _score(pair: _Pair, shown: EvaluatedClasses, reach: int, spec: ComparisonSpec, reporter: Reporter) -> Scores:
    """Compare a raster with its labels, window by window, each with the margin that boundary scores need."""
    names = unique_names(shown.classes)
    units = block_units([pair], spec.block_px or BLOCK_PX, len(names))
    counter = UnitCounter(len(names), units.count, reach or None)
    stage = Stage(reporter, "scoring", pair.height * pair.width)
    for core in _windows(pair.height, pair.width):
        window = _grown(core, reach).clip(pair.height, pair.width)
        predicted, true, counted = pair.compare(window, core)
        counter.update(predicted.long(), true.long(), counted, torch.from_numpy(units.numbers(0, window)))
        stage.advance(core.pixels)
    counts = counter.counts()
    return Bootstrap(len(counts), spec.draws, spec.seed).scores(counts, names, units.words)


def _windows(height: int, width: int) -> Iterator[Window]:
    """Windows that cover a raster, each pixel once."""
    for row in range(0, height, SIDE):
        for col in range(0, width, SIDE):
            yield Window(row, col, SIDE, SIDE).clip(height, width)


def _grown(window: Window, px: int) -> Window:
    return Window(window.row - px, window.col - px, window.height + 2 * px, window.width + 2 * px)
