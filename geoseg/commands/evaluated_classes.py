"""The classes of which a class raster is scored: from its legend, else from its values and those of the labels.

In: an open class raster, and a label file. Out: classes in the order of the scores, and how the raster is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.errors import SceneError
from geoseg.core.events import Reporter
from geoseg.core.safe_paths import whole_url
from geoseg.data.labels import LabelSource, label_format, open_labels
from geoseg.raster.class_codes import ClassCodes, find_codes
from geoseg.raster.class_raster import open_raster
from geoseg.raster.class_values import count_values
from geoseg.raster.legend import Legend
from geoseg.raster.legends import LegendReading, read_legend, with_file
from geoseg.spec import NODATA_ID, ClassSpec

MOST_CLASSES = 254
"""Most classes that are compared; the scores of more would be a table that nobody reads."""


@dataclass(frozen=True)
class EvaluatedClasses:
    """Classes of a class raster, and how its values are read."""

    classes: tuple[ClassSpec, ...]
    """Classes from its own tags, else those that occur in it or in the labels."""
    codes: ClassCodes
    """Codes of its values."""
    notices: tuple[str, ...]
    """Sentences for the user."""


def inspect_classes(raster: Any, labels: LabelSource, legend: Path | None, reporter: Reporter) -> EvaluatedClasses:
    """Find the classes of an open class raster and its labels.

    A value that means nodata in many rasters, such as 255, is a class like any other unless the raster says that it is
    nodata, or names its classes.

    Args:
        raster: the class raster.
        labels: the label file; its classes are those found here.
        legend: a file with names of classes, if the raster's own are not wanted.
        reporter: gets the progress of `reading`, in pixels.

    Raises:
        SceneError: if the raster holds no class, or too many.
        LabelError: if the labels cannot be read.
        SpecError: if the legend file cannot be read.
    """
    reading = with_file(read_legend(raster), legend)
    found = find_codes(raster, counted=not reading.is_complete, reporter=reporter)
    notices = reading.notices
    if found.fill is not None:
        notices += (_notice_of_fill(raster.name, *found.fill, is_class=not reading.is_complete),)
    others = _LabelValues((), Legend())
    if reading.is_complete:
        ids = {k for k in reading.legend.names if 0 <= k < NODATA_ID}
    else:
        others = _label_values(labels, reading, reporter)
        ids = {*(found.counts.values.tolist() if found.counts else ()), *others.ids}
        notices += _differing_names(sorted(ids), reading.legend, others.legend, labels.path)
    if not ids:
        raise SceneError(f"{raster.name} holds no class at all, only nodata: give a class raster with predictions")
    if len(ids) > MOST_CLASSES:
        raise SceneError(
            f"{raster.name} and {labels.path} hold {len(ids):,} different values, and up to {MOST_CLASSES} classes are "
            "compared: are they segment numbers? Give class rasters"
        )
    known = reading.legend.completed_by(others.legend)
    classes = tuple(_class(k, known) for k in sorted(ids))
    return EvaluatedClasses(classes, found.codes, notices)


def unique_names(classes: Sequence[ClassSpec]) -> list[str]:
    """Unique names of classes: equal ones get their ids."""
    times = Counter(c.name for c in classes)
    return [c.name if times[c.name] == 1 else f"{c.name} {c.id}" for c in classes]


def _class(class_id: int, legend: Legend) -> ClassSpec:
    """A class of a raster of any origin, whose id may be any number, unlike that of a model's class."""
    name, code = legend.names.get(class_id, f"class {class_id}"), legend.codes.get(class_id)
    return ClassSpec.model_construct(id=class_id, name=name, color="#000000", code=code)


@dataclass(frozen=True)
class _LabelValues:
    """What labels add to the classes of a class raster."""

    ids: Sequence[int]
    """Class ids."""
    legend: Legend
    """Names that stand in the label file."""


def _label_values(labels: LabelSource, reading: LegendReading, reporter: Reporter) -> _LabelValues:
    """Values of a label raster but for those whose names the prediction has under another number; of polygons, the
    classes that the prediction's legend names."""
    names = reading.legend.names
    if label_format(labels).is_vector:
        return _LabelValues(tuple(names) if len(names) <= MOST_CLASSES else (), Legend())
    with open_labels(labels):
        pass  # what does not fit the prediction is refused before it is read from end to end
    with open_raster(whole_url(labels.path)) as dataset:
        legend = read_legend(dataset).legend
        values = count_values(dataset, reporter=reporter).values.tolist()
    own = {name.casefold() for name in names.values()}
    return _LabelValues([k for k in values if k != NODATA_ID and legend.name(k).casefold() not in own], legend)


def _differing_names(ids: Sequence[int], own: Legend, other: Legend, labels: Path) -> tuple[str, ...]:
    """A notice if a number has one name in the prediction and another one, unknown there, in the labels."""
    names = {name.casefold() for name in own.names.values()}
    for k in ids:
        if k in own.names and k in other.names and other.names[k].casefold() not in names:
            return (
                f"{k} is called {own.names[k]} in the prediction and {other.names[k]} in {labels}: classes are "
                "compared by their numbers where names differ",
            )
    return ()


def _notice_of_fill(path: str, value: int, pixels: int, *, is_class: bool) -> str:
    counts_as = "a class" if is_class else "without prediction, as its tags name no such class"
    return (
        f"{path} does not say that {value} is nodata: {pixels:,} px of that value count as {counts_as}: if it means "
        f"nodata, say so with gdal_edit.py -a_nodata {value}"
    )
