"""`geoseg evaluate`: scores of a class raster against labels of the same area.

In: the paths of a class raster of any origin, and of labels: a raster on its grid, or polygons in any format and CRS.
Out: a result with all scores. Both are read window by window, so that memory does not depend on their size.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SceneError, SpecError
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.redaction import public_form
from geoseg.core.safe_paths import whole_url
from geoseg.data.labels import LabelRules, Labels, LabelSource, label_format, open_labels, unmarked_labels
from geoseg.geo.georef import grid_of
from geoseg.geo.grid import Window
from geoseg.metrics.scores import Scores
from geoseg.metrics.scoring import Comparison, score
from geoseg.raster.class_raster import (
    count_ids,
    free_id,
    open_classes,
    open_raster,
    own_nodata,
    read_ids,
)
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.legends import read_legend
from geoseg.raster.reading import to_rasterio
from geoseg.spec import IGNORE, NODATA_ID, ClassSpec
from geoseg.spec.evaluate import BOUNDARY_PX_MOST

__all__ = ["EvaluateResult", "evaluate"]

SIDE = 1024
"""Side of a window in pixels. Larger ones are no faster, and out of the processor's cache."""
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
    column: str | None = None,
    layer: str | None = None,
    boundary_px: int = BOUNDARY_PX,
    reporter: Reporter = SILENT,
) -> EvaluateResult:
    """Score a class raster against labels.

    Args:
        prediction: a class raster; its classes have the names of its tags if geoseg made it, else "class 3".
        labels: a raster of class ids on the same grid, or polygons with class ids or names.
        column: of the polygons that holds their class; needed where there are several.
        layer: of the vector file; needed where there are several.
        boundary_px: how far from a class's contour its boundary reaches; 0 compares no boundaries.
        reporter: takes notices, and the progress of `reading` and `scoring` in pixels.

    Raises:
        SceneError: if the prediction cannot be read, is no class raster, or has a class id that its tags don't name.
        LabelError: if labels cannot be read, don't overlap, or hold an unknown class.
        SpecError: if a setting is invalid.
    """
    started = time.perf_counter()
    prediction, labels, rules = os.fspath(prediction), os.fspath(labels), LabelRules(column=column, layer=layer)
    _check_boundary(boundary_px)
    with gdal_settings(), open_classes(prediction) as raster:
        source = LabelSource(Path(labels), grid_of(raster), (), Path(prediction), rules)
        _check_rules(source, labels)
        shown = _inspect(raster, prediction, source, reporter)
        with open_labels(replace(source, classes=shown.classes)) as truth:
            pair = _Pair(raster, truth, shown)
            scores = score(_comparisons(pair, boundary_px, reporter), _unique_names(shown.classes), boundary_px or None)
            notices = (*shown.notices, *_notice_of_unlabelled(labels, truth))
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


# ----------------------------------------------------------------------------------------------------------- classes


@dataclass(frozen=True)
class _Contents:
    """Classes and nodata value of a class raster."""

    classes: tuple[ClassSpec, ...]
    """Classes from its tags, else those that occur in it or in the labels."""
    nodata_id: int
    """The class id of nodata when it is read."""
    notices: tuple[str, ...]
    """Sentences for the user."""


def _inspect(raster: Any, prediction: str, labels: LabelSource, reporter: Reporter) -> _Contents:
    """Find the classes and the nodata value, with notices on the value 255.

    255 is nodata if the raster says so; if not, it is a class like any other, unless the raster names its classes.
    """
    reading = read_legend(raster)
    names = reading.legend.names
    ids = {class_id for class_id in names if 0 <= class_id < NODATA_ID} if reading.is_complete else set()
    own = own_nodata(raster)
    counts = count_ids(raster, reporter=reporter) if own is None or not ids else np.zeros(256, np.int64)
    notices = reading.notices
    if counts[NODATA_ID]:
        notices += (_notice_of_255(prediction, int(counts[NODATA_ID]), is_class=not ids),)
    if not ids:
        ids = set(np.flatnonzero(counts).tolist()) | _occurring_labels(labels, names, reporter)
    if not ids:
        raise SceneError(f"{prediction} holds no class at all, only nodata: give a class raster with predictions")
    classes = tuple(_class(i, names.get(i, f"class {i}")) for i in sorted(ids))
    return _Contents(classes, free_id(counts) if own is None else own, notices)


def _class(class_id: int, name: str) -> ClassSpec:
    """A class of a raster of any origin, whose id may be 255, unlike that of a model's class."""
    return ClassSpec.model_construct(id=class_id, name=name, color="#000000")


def _notice_of_255(path: str, pixels: int, *, is_class: bool) -> str:
    counts_as = "a class" if is_class else "without prediction, as its tags name no such class"
    return (
        f"{path} does not say that 255 is nodata: {pixels:,} px of that value count as {counts_as}: if it means "
        "nodata, say so with gdal_edit.py -a_nodata 255"
    )


def _notice_of_unlabelled(path: str, labels: Labels) -> tuple[str, ...]:
    pixels = labels.unmarked_px()
    return (f"{path}: {unmarked_labels(pixels)}",) if pixels else ()


def _occurring_labels(labels: LabelSource, names: Mapping[int, str], reporter: Reporter) -> set[int]:
    """Class ids of a label raster; of polygons, those that the prediction's legend names."""
    if label_format(labels).is_vector:
        return {class_id for class_id in names if 0 <= class_id < NODATA_ID}
    with open_labels(labels):
        pass  # what does not fit the prediction is refused before it is read from end to end
    with open_raster(whole_url(labels.path)) as dataset:
        return set(np.flatnonzero(count_ids(dataset, reporter=reporter)).tolist()) - {NODATA_ID}


def _unique_names(classes: Sequence[ClassSpec]) -> list[str]:
    """Unique names of classes: equal ones get their ids."""
    times = Counter(c.name for c in classes)
    return [c.name if times[c.name] == 1 else f"{c.name} {c.id}" for c in classes]


# ---------------------------------------------------------------------------------------------------------- counting


class _Pair:
    """An open prediction and its open labels, as class indexes of the same windows."""

    def __init__(self, raster: Any, labels: Labels, shown: _Contents):
        self.height, self.width = raster.shape
        self.unpredicted = 0
        """Labelled pixels compared so far that have no prediction."""
        self._raster, self._labels, self._nodata_id = raster, labels, shown.nodata_id
        self._index_of = np.full(256, -1, np.int16)
        self._index_of[NODATA_ID] = IGNORE
        self._index_of[[c.id for c in shown.classes]] = np.arange(len(shown.classes))
        self._index_of[shown.nodata_id] = IGNORE

    def compare(self, core: Window, reach: int) -> Comparison:
        """Prediction and labels of a window, with the margin that boundary scores need; only the window is counted.

        Raises:
            SceneError: if the prediction holds a class that its tags don't name.
            LabelError: if labels cannot be read.
        """
        window = _grown(core, reach).clip(self.height, self.width)
        counted = np.zeros((window.height, window.width), bool)
        counted[core.shift(-window.row, -window.col).slices] = True
        predicted, true = self._predicted(window), self._labels.read(window)
        missing = (predicted == IGNORE) & (true != IGNORE)
        self.unpredicted += int((missing & counted).sum())
        true[missing] = IGNORE
        return Comparison(*(torch.from_numpy(values)[None] for values in (predicted, true, counted)))

    def _predicted(self, window: Window) -> NDArray[np.uint8]:
        """Predicted class indexes (h, w), IGNORE where there is no prediction."""
        ids = read_ids(self._raster, to_rasterio(window), self._nodata_id)
        predicted = self._index_of[ids]
        if (predicted < 0).any():
            raise SceneError(
                f"{self._raster.name} holds class id {ids[predicted < 0][0]}, which its tags don't name: "
                "name it there, or remove the tag GEOSEG_CLASSES"
            )
        return predicted.astype(np.uint8)


def _comparisons(pair: _Pair, reach: int, reporter: Reporter) -> Iterator[Comparison]:
    """Compare a raster with its labels, window by window."""
    stage = Stage(reporter, "scoring", pair.height * pair.width)
    for core in _windows(pair.height, pair.width):
        yield pair.compare(core, reach)
        stage.advance(core.pixels)


def _windows(height: int, width: int) -> Iterator[Window]:
    """Windows that cover a raster, each pixel once."""
    for row in range(0, height, SIDE):
        for col in range(0, width, SIDE):
            yield Window(row, col, SIDE, SIDE).clip(height, width)


def _grown(window: Window, px: int) -> Window:
    return Window(window.row - px, window.col - px, window.height + 2 * px, window.width + 2 * px)
