"""Labels coded by colour: RGB pictures, and rasters with a palette."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.labels.example import Example, Shown, write_example
from geoseg.data.labels.raster_file import Codes, RasterFile
from geoseg.data.labels.raster_labels import NOT_FINITE, UNKNOWN, RasterLabels, as_integers, indexes_of
from geoseg.data.labels.rules import OTHER, LabelRules, resolve_rules
from geoseg.data.labels.source import LabelSource
from geoseg.spec import IGNORE, ClassSpec

RGB_BANDS = (1, 2, 3)
"""Numbers of the bands of a picture that are read."""
BLACK = 0
"""Colour of values that a palette leaves out, 0xrrggbb."""
CORNER_PX = 1024
"""Side of the corner of a picture whose colours an error lists when the rules name none."""


class Colours:
    """The format of RGB pictures."""

    is_vector = False

    def matches(self, source: LabelSource) -> bool:
        """Whether the file has three or four uint8 bands."""
        return source.header.is_picture

    def open(self, source: LabelSource) -> RasterLabels:
        """Open the file as a picture."""
        return RasterLabels(source, _ColorCoding.of)

    def example(self, folder: Path, shown: Shown) -> Example:
        """Write a picture in the colours of the classes, black where nothing is labelled."""
        bands = np.moveaxis(shown.mapped(shown.colors, 0), -1, 0)
        return Example(write_example(folder / "labels.tif", bands, shown.grid), shown.color_rules)


class Palette:
    """The format of rasters with a palette, whose values the rules name by their colours there."""

    is_vector = False

    def matches(self, source: LabelSource) -> bool:
        """Whether the rules name colours; pictures are tried before."""
        return source.rules.by_color

    def open(self, source: LabelSource) -> RasterLabels:
        """Open the file as a raster with a palette."""
        return RasterLabels(source, _PaletteCoding.of)

    def example(self, folder: Path, shown: Shown) -> Example:
        """Write a raster of numbers, from 1 on in the order of the classes, whose palette has their colours."""
        numbers = np.arange(1, len(shown.classes) + 1, dtype=np.uint8)
        palette = {0: (0, 0, 0, 255)} | {k + 1: (*color, 255) for k, color in enumerate(shown.colors.tolist())}
        path = write_example(folder / "labels.tif", shown.mapped(numbers, 0)[np.newaxis], shown.grid, palette)
        return Example(path, shown.color_rules)


COLOURS, PALETTE = Colours(), Palette()


class _PaletteCoding:
    """Coding by the colours of a palette, or of another legend of the file."""

    bands = (1,)
    leaves_out_255 = False

    def __init__(self, table: _ColorTable, palette: Mapping[int, int], nodata: int | None):
        self._palette, self._nodata, self._values_in = palette, nodata, table.values_in
        self._index_of = {value: table.named.get(color, table.other) for value, color in palette.items()}
        is_named = nodata is None or palette.get(nodata, BLACK) in table.named
        self.unlabelled = (NOT_FINITE,) if nodata is None or is_named else (NOT_FINITE, nodata)
        self._index_of |= dict.fromkeys(self.unlabelled, IGNORE)
        self._other = table.named.get(BLACK, table.other)

    @classmethod
    def of(cls, source: LabelSource, file: RasterFile) -> Self:
        """The coding of an open raster.

        Raises:
            LabelError: if it has no palette, and no other colours.
        """
        table = _color_table(source.classes, source.rules)
        colors = file.palette or {k: tuple(bytes.fromhex(c[1:])) for k, c in file.legend.colors.items()}
        if not colors:
            raise LabelError(
                f"{source.path} has {source.header} and no palette, but data.label_values of a config names "
                "colours: give the numbers of its classes there instead"
            )
        palette = {index: red << 16 | green << 8 | blue for index, (red, green, blue, *_) in colors.items()}
        return cls(table, palette, file.nodata)

    def values(self, bands: Codes) -> Codes:
        """The palette indexes (h, w)."""
        return as_integers(bands[0], self._nodata)

    def indexes(self, values: Codes) -> NDArray[np.uint8]:
        """Class indexes (h, w) of palette indexes."""
        return indexes_of(values, self._index_of, self._other)

    def complaint(self, values: Codes) -> str:
        """Name the unknown colours, and say what to do."""
        found, which = np.unique(values, return_inverse=True)
        return _color_complaint(
            np.array([self._palette.get(value, BLACK) for value in found.tolist()])[which], self._values_in
        )


class _ColorCoding:
    """Coding by the colours of a picture."""

    bands = RGB_BANDS
    leaves_out_255 = False

    def __init__(self, table: _ColorTable, nodata: int | None):
        marked = () if nodata is None or not 0 <= nodata <= 255 else (nodata * 0x010101,)
        self.unlabelled = tuple(color for color in marked if color not in table.named)
        named, self._values_in = dict.fromkeys(marked, IGNORE) | table.named, table.values_in
        self._table = _all_colors(tuple(named.items()), table.other)

    @classmethod
    def of(cls, source: LabelSource, file: RasterFile) -> Self:
        """The coding of an open picture.

        Raises:
            LabelError: if the rules name no colours.
        """
        if not source.rules.by_color:
            colors = _colors_text(_pack(file.read(RGB_BANDS, file.corner(CORNER_PX))))
            raise LabelError(
                f"{source.path} has {source.header.count} bands: it seems to be coded by colour: say in "
                f"data.label_values of a config what its colours stand for, it has {colors}"
            )
        return cls(_color_table(source.classes, source.rules), file.nodata)

    def values(self, bands: Codes) -> Codes:
        """Colours (h, w) as 0xrrggbb."""
        return _pack(bands)

    def indexes(self, values: Codes) -> NDArray[np.uint8]:
        """Class indexes (h, w) of colours."""
        found: NDArray[np.uint8] = self._table[values]
        return found

    def complaint(self, values: Codes) -> str:
        """Name the unknown colours, and say what to do."""
        return _color_complaint(values, self._values_in)


@dataclass(frozen=True)
class _ColorTable:
    """Class indexes by colour."""

    named: dict[int, int]
    """Class index by colour, 0xrrggbb."""
    other: int
    """Class index of all other colours."""
    values_in: str
    """Where the settings name the colours."""


def _color_table(classes: Sequence[ClassSpec], rules: LabelRules) -> _ColorTable:
    resolved = resolve_rules(classes, rules)
    named = {_parse_color(key): index for key, index in resolved.items() if str(key).startswith("#")}
    return _ColorTable(named, resolved.get(OTHER, UNKNOWN), rules.values_in)


@lru_cache(maxsize=2)
def _all_colors(named: tuple[tuple[int, int], ...], other: int) -> NDArray[np.uint8]:
    """Class indexes (2 ** 24,) by colour."""
    table = np.full(2**24, other, np.uint8)
    for color, index in named:
        table[color] = index
    return table


def _parse_color(key: int | str) -> int:
    if not re.fullmatch("#[0-9a-f]{6}", str(key)):
        raise SpecError(f"data.label_values names the colour {key!r}: write it as #rrggbb")
    return int(str(key)[1:], 16)


def _pack(bands: Codes) -> NDArray[np.uint32]:
    red, green, blue = bands.astype(np.uint32)
    packed: NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return packed


def _color_complaint(colors: Codes, values_in: str) -> str:
    return (
        f"the colours {_colors_text(colors)} stand for no class: add them to {values_in}, or the word `other`, "
        "with a class or `ignore`"
    )


def _colors_text(colors: Codes) -> str:
    """The most frequent colours and their pixel counts, as text."""
    values, counts = np.unique(colors, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:6]
    return ", ".join(f"#{int(values[i]):06x} ({counts[i]:,} px)" for i in first)
