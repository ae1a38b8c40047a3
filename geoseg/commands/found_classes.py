"""Classes of label files that nobody has described yet: values that occur, with names and colours as far as known.

In: label files. Out: classes, and what their values stand for. Every raster is read once, some rows at a time; of
vector files the column that looks most like a class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.commands.label_values import open_values
from geoseg.core.errors import LabelError
from geoseg.core.wording import number_of
from geoseg.data.labels.places import LABELS, count_done, done_labels, is_places_file, known_classes, nothing_done
from geoseg.data.labels.polygons import VECTOR_FILES
from geoseg.geo.vector_files import VectorError, polygon_layers, read_columns, read_polygons
from geoseg.raster.legend import Legend
from geoseg.raster.named_colors import colored_classes
from geoseg.spec import NODATA_ID, ClassSpec

OUTSIDE = "background"
"""Name of the class outside of polygons that are of one class."""
MOST_CLASSES = 254
MOST_NAMES = 60
"""More distinct values of a column name features, not classes."""
CLASS_COLUMNS = (
    "class", "klass", "land_?(?:cover|use)", "lulc", "label", "categor", "crop", "species", "type", "kind", "cover",
    "legend", "code", "value", "name",
)  # fmt: skip
"""Names of columns that hold a class, the likeliest first."""
_NO_CLASS = re.compile(
    r"(fid|id|gid|uuid|objectid|.*_id|fid_.*|area.*|perimeter.*|shape_.*|length|confidence|color)", re.IGNORECASE
)


@dataclass(frozen=True)
class FoundClasses:
    """The classes of label files."""

    classes: tuple[ClassSpec, ...]
    """The classes."""
    amounts: dict[str, int]
    """Pixels, or polygons, by class name."""
    label_values: dict[int | str, int | str]
    """What values stand for; empty where they are the ids or names of the classes."""
    column: str | None = None
    """Column of polygons that holds their class, where there are several."""
    layer: str | None = None
    """Layer of a vector file, where there are several."""
    outside: str | None = None
    """Class of what lies outside of polygons; None where it is not labelled."""
    notices: tuple[str, ...] = ()
    """What was guessed: a sentence each."""
    places: int | None = None
    """Places that are labelled, if labels are a file of places."""

    @property
    def are_polygons(self) -> bool:
        """Whether labels are polygons."""
        return self.layer is not None


def find_classes(labels: Sequence[Path], column: str | None, layer: str | None) -> FoundClasses:
    """Find the classes of label files, which are of one kind.

    Raises:
        LabelError: if they cannot be read, hold no classes, or are of several kinds.
    """
    are_vectors = {path.suffix.lower() in VECTOR_FILES for path in labels}
    if len(are_vectors) > 1:
        raise LabelError("labels are rasters and polygons: write two configs, for one kind each")
    return _of_polygons(labels, column, layer) if are_vectors.pop() else _of_rasters(labels)


# ----------------------------------------------------------------------------------------------------------- polygons


def _of_polygons(labels: Sequence[Path], column: str | None, layer: str | None) -> FoundClasses:
    try:
        if layer is None and column is None and is_places_file(labels[0]):
            return _of_places(labels[0])
        layer = layer or _layer(labels[0])
        columns, _ = read_columns(labels[0], layer)
        chosen = column or _column(labels[0], layer, columns)
        found: Counter[str] = Counter()
        for path in dict.fromkeys(labels):
            found.update(_known(path, layer if path == labels[0] else _layer(path), chosen))
    except VectorError as error:
        raise LabelError(f"cannot read polygons {labels[0]}: {error}") from None
    if chosen is None or len(found) < 2:
        return _footprints(labels[0], found, layer)
    values = sorted(found, key=lambda value: (not value.isdecimal(), int(value) if value.isdecimal() else 0, value))
    is_numbered = all(value.isdecimal() for value in values)
    titles = {i: f"class {value}" if is_numbered else value for i, value in enumerate(values)}
    meant: dict[int | str, int | str] = {values[i]: title for i, title in titles.items()} if is_numbered else {}
    is_guess = column is None and len(columns) > 1
    return FoundClasses(
        colored_classes(Legend(titles)),
        {title: found[values[i]] for i, title in titles.items()},
        meant,
        chosen if len(columns) > 1 else None,
        layer,
        notices=(f"classes are those of the column {chosen} (--column for another)",) if is_guess else (),
    )


def _of_places(path: Path) -> FoundClasses:
    """The classes that occur in the places of a file that are done, with the names and colours that the file gives.

    Raises:
        LabelError: if no place is done.
        VectorError: if the file cannot be read.
    """
    done, places = count_done(path)
    if not done:
        raise nothing_done(path)
    found, known = Counter(done_labels(path)), known_classes(path)
    first = 1 + max((c.id for c in known), default=-1)
    added = Legend(dict(enumerate(sorted(found.keys() - {c.name for c in known}), first)))
    absent = [c.name for c in known if c.name not in found]
    notices = [f"{done} of {number_of(places, 'place')} of {path} are done; no label is taken from the others"]
    if absent:
        notices.append(
            f"no place that is done shows {', '.join(absent)}: a model that learns from these labels alone will not "
            "know it; add the labels that the first model learnt from"
        )
    shown = (*(c for c in known if c.name in found), *colored_classes(added))
    return FoundClasses(shown, dict(found), {}, None, LABELS, notices=tuple(notices), places=done)


def _footprints(path: Path, found: Counter[str], layer: str) -> FoundClasses:
    """Polygons of one class, and what lies outside of them as another.

    Raises:
        LabelError: if there are no polygons.
    """
    if not found:
        raise LabelError(f"{path} holds no polygon with a value: give another file")
    if len(read_polygons(path, layer, None, None).marks):
        raise LabelError(
            f"the points and lines of {path} are of one class, and do not say what lies between them: mark another "
            "class, too, or name the column of the classes with --column"
        )
    only = next(iter(found)) if [*found] != ["polygon"] else path.stem
    name = "class " + only if only.isdecimal() else only[:200]
    said = f"the polygons are of one class ({name}), and what lies outside of them is taken for another, {OUTSIDE}"
    return FoundClasses(
        colored_classes(Legend({0: OUTSIDE, 1: name})),
        {name: found.total()},
        {"other": name},
        None,
        layer,
        OUTSIDE,
        (f"{said}: if only a part of the images was mapped, outline it in a file and name that as data.extent",),
    )


def _known(path: Path, layer: str, column: str | None) -> list[str]:
    """Values of a column as texts, without null; a word for each shape if there is no column."""
    polygons = read_polygons(path, layer, column, None)
    values = [*polygons.values, *polygons.mark_values]
    if column is None:
        return ["polygon"] * len(values)
    return [_text(value) for value in values if value is not None and value == value]


def _layer(path: Path) -> str:
    layers = polygon_layers(path)
    if len(layers) != 1:
        raise LabelError(f"{path} has the layers {', '.join(layers) or 'none'}: name one with --layer")
    return layers[0]


def _column(path: Path, layer: str, columns: Sequence[str]) -> str | None:
    """The column whose name and values look most like a class; None if no column does."""
    if len(columns) == 1:
        values = _known(path, layer, columns[0])
        return None if _NO_CLASS.fullmatch(columns[0]) and len({*values}) == len(values) else columns[0]
    single = None
    for name in sorted((name for name in columns if not _NO_CLASS.fullmatch(name)), key=_rank):
        values, is_named = _known(path, layer, name), _rank(name) < len(CLASS_COLUMNS)
        is_repeated = len({*values}) < len(values)
        if 1 < len({*values}) <= MOST_NAMES and (is_repeated or is_named):
            return name
        if len({*values}) == 1 and is_named:
            single = single or name
    return single


def _rank(name: str) -> int:
    """Place of a column among those that may hold a class, the likeliest first."""
    found = (i for i, word in enumerate(CLASS_COLUMNS) if re.search(word, name, re.IGNORECASE))
    return next(found, len(CLASS_COLUMNS))


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# ------------------------------------------------------------------------------------------------------------ rasters


def _of_rasters(labels: Sequence[Path]) -> FoundClasses:
    found: Counter[int] = Counter()
    legend = Legend()
    paths = list(dict.fromkeys(labels))
    are_colors = any(_is_picture(path) for path in paths)
    for path in paths:
        with open_values(path) as raster:
            found += raster.colors() if are_colors else raster.values()
            legend = legend if are_colors else legend.completed_by(raster.legend())
        if len(found) > MOST_CLASSES + 1:
            raise LabelError(
                f"{path} holds {len(found):,} different values: labels have one for each class, which JPEG, resampling "
                "and continuous values spoil"
            )
    return _by_color(found) if are_colors else _by_number(found, legend)


def _is_picture(path: Path) -> bool:
    with open_values(path) as raster:
        return raster.is_picture


def _by_color(found: Counter[int]) -> FoundClasses:
    colors = {i: f"#{value:06x}" for i, value in enumerate(sorted(found))}
    names = {i: f"colour {color[1:]}" for i, color in colors.items()}
    _check_count(len(names))
    values: dict[int | str, int | str] = {colors[i]: name for i, name in names.items()}
    amounts = {names[i]: found[int(color[1:], 16)] for i, color in colors.items()}
    said = "labels are colours, and nothing says of what: give them names, in label_values and in classes"
    return FoundClasses(colored_classes(Legend(names, colors)), amounts, values, notices=(said,))


def _by_number(found: Counter[int], legend: Legend) -> FoundClasses:
    values, notices = sorted(found), []
    if NODATA_ID in values and len(values) > 2 and NODATA_ID not in legend.names:
        values.remove(NODATA_ID)
        notices.append(f"{found[NODATA_ID]:,} px of the value 255 count as not labelled, as no name is given for it")
    _check_count(len(values))
    names = _distinct({value: legend.names.get(value) or _name(value, values) for value in values})
    fits = all(0 <= value < NODATA_ID for value in values)
    ids = {value: value if fits else i for i, value in enumerate(values)}
    classes = colored_classes(
        Legend({ids[v]: names[v] for v in values}, {ids[v]: legend.colors[v] for v in values if v in legend.colors})
    )
    if not fits:  # class rasters keep the codes, so that evaluate knows the labels' values
        classes = tuple(c.model_copy(update={"code": values[c.id]}) for c in classes)
    unnamed = [value for value in values if value not in legend.names]
    if unnamed:
        notices.append(f"nothing names the values {', '.join(map(str, unnamed[:8]))}: give their classes names")
    return FoundClasses(classes, {names[v]: found[v] for v in values}, {}, notices=tuple(notices))


def _name(value: int, values: Sequence[int]) -> str:
    """The name of a class that has none; of a mask of two values the lower is what lies around."""
    if len(values) == 2 and values[0] == 0 and values[1] in (1, NODATA_ID):
        return "background" if value == 0 else "foreground"
    return f"class {value}"


def _distinct(names: dict[int, str]) -> dict[int, str]:
    count = Counter(names.values())
    return {value: name if count[name] == 1 else f"{name} {value}" for value, name in names.items()}


def _check_count(count: int) -> None:
    """Refuse fewer than two classes.

    Raises:
        LabelError: saying what to do.
    """
    if count < 2:
        raise LabelError(f"the labels show {number_of(count, 'class')}: a model needs two, label something else, too")
