"""Tables with a row for each value of a raster: which column holds the value, which the name, and which the colour.

In: columns with their names and, where the table has them, their usages. Out: a Legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.raster.legend import Legend
from geoseg.raster.legends.place import class_name, hex_color, whole

GENERIC, NAME, MIN, MAX, MIN_MAX = 0, 2, 3, 4, 5
"""Usages of columns, as GDALRATFieldUsage numbers them."""
COLORS = 6, 7, 8
"""Usages of the columns of red, green and blue."""

VALUE_NAMES = "value", "val", "pixel_value", "pixelvalue", "class_id", "classid", "id", "code", "gridcode"
"""Names of columns of values, in lower case, the most usual first."""
CLASS_NAMES = (
    "class_name", "class_names", "classname", "classnames", "class", "classes", "name", "names", "label3", "label",
    "land_cover", "landcover", "land cover", "category", "description", "desc", "legend", "label2", "label1", "type",
)  # fmt: skip
"""Names of columns of class names, in lower case, the most usual first."""
COLOR_NAMES = ("red", "r"), ("green", "g"), ("blue", "b")
"""Names of columns of colours, in lower case."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """Its name."""
    cells: Sequence[str | float | None]
    """Its cells, row by row."""
    usage: int = GENERIC
    """Its meaning, as GDALRATFieldUsage numbers it; GENERIC if the table does not say it."""

    @property
    def is_text(self) -> bool:
        """Whether a cell is no number."""
        return any(isinstance(cell, str) and cell.strip() and not _is_number(cell) for cell in self.cells)


def legend_of(columns: Sequence[Column], first: float = 0, step: float = 1) -> Legend:
    """The legend in a table; without a column of values, the first row is that of the value `first`."""
    values = [whole(value) for value in _values(columns, first, step)]
    names = _names(columns)
    colors = _colors(columns)
    rows = [(value, row) for row, value in enumerate(values) if value is not None]
    return Legend(
        {value: name for value, row in rows if names and (name := class_name(names.cells[row]))},
        {value: color for value, row in rows if colors and (color := _color(colors, row)) is not None},
    )


def _values(columns: Sequence[Column], first: float, step: float) -> Sequence[str | float | None]:
    """The value of each row; None in rows of several values."""
    if (column := _of_usage(columns, MIN_MAX) or _named(columns, VALUE_NAMES[:4])) is not None:
        return column.cells
    low, high = _of_usage(columns, MIN), _of_usage(columns, MAX)
    if low is not None and high is not None:
        return [a if whole(a) == whole(b) else None for a, b in zip(low.cells, high.cells, strict=True)]
    if (column := low or _named(columns, VALUE_NAMES)) is not None:
        return column.cells
    return [first + step * row for row in range(len(columns[0].cells) if columns else 0)]


def _names(columns: Sequence[Column]) -> Column | None:
    """The column of class names: by its usage, else by its name, else the text with the most different words."""
    if (column := _of_usage(columns, NAME) or _named(columns, CLASS_NAMES)) is not None:
        return column
    texts = [column for column in columns if column.is_text]
    return max(texts, key=lambda column: len(set(column.cells)), default=None)


def _colors(columns: Sequence[Column]) -> tuple[Column, Column, Column] | None:
    found = [_of_usage(columns, u) or _named(columns, n) for u, n in zip(COLORS, COLOR_NAMES, strict=True)]
    red, green, blue = found
    return None if red is None or green is None or blue is None else (red, green, blue)


def _color(columns: tuple[Column, Column, Column], row: int) -> str | None:
    """The colour of a row; parts are numbers from 0 to 255, or fractions of 1 throughout the table."""
    try:
        parts = [float(column.cells[row]) for column in columns]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    scale = 255 if _are_fractions(columns) else 1
    return hex_color(*(scale * part for part in parts)) if all(abs(part) < 2**16 for part in parts) else None


def _are_fractions(columns: tuple[Column, Column, Column]) -> bool:
    numbers = [float(cell) for column in columns for cell in column.cells if _is_number(cell)]  # type: ignore[arg-type]
    return max(numbers, default=0) <= 1 and any(0 < number < 1 or number == 1 for number in numbers)


def _of_usage(columns: Sequence[Column], usage: int) -> Column | None:
    return next((column for column in columns if column.usage == usage), None)


def _named(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    by_name = {column.name.strip().lower(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _is_number(cell: str | float | None) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
