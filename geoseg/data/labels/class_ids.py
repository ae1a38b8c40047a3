"""Rasters of class ids: one band of whole numbers of any type, with or without a mask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError
from geoseg.data.labels.example import Example, Shown, write_example
from geoseg.data.labels.raster_file import Codes, RasterFile
from geoseg.data.labels.raster_labels import NOT_FINITE, UNKNOWN, RasterLabels, as_integers, indexes_of
from geoseg.data.labels.rules import OTHER, LabelRules, class_list, left_out, resolve_rules
from geoseg.data.labels.source import LabelSource
from geoseg.spec import IGNORE, NODATA_ID, ClassSpec


class ClassIds:
    """The format of rasters whose values are class ids, or other numbers that the rules name."""

    is_vector = False

    def matches(self, source: LabelSource) -> bool:
        """Always: this is the last format that is tried, and opening the file shows whether it is a raster at all."""
        return True

    def open(self, source: LabelSource) -> RasterLabels:
        """Open the file as a raster."""
        return RasterLabels(source, _IdCoding.of)

    def example(self, folder: Path, shown: Shown) -> Example:
        """Write a raster of class ids, 255 where nothing is labelled."""
        ids = shown.mapped(np.array([c.id for c in shown.classes], np.uint8), NODATA_ID)
        return Example(write_example(folder / "labels.tif", ids[np.newaxis], shown.grid), LabelRules())


CLASS_IDS = ClassIds()


class _IdCoding:
    """Coding by class ids."""

    bands = (1,)

    def __init__(self, source: LabelSource, table: _IdTable, names: Mapping[int, str], *, leaves_out_255: bool):
        self._classes, self._rules, self._table, self._names = source.classes, source.rules, table, names
        self.unlabelled = table.unlabelled
        self.leaves_out_255 = leaves_out_255

    @classmethod
    def of(cls, source: LabelSource, file: RasterFile) -> Self:
        """The coding of an open raster.

        Raises:
            LabelError: if it is not one band of numbers.
        """
        count, dtype = source.header.count, np.dtype(source.header.dtype)
        if count > 2 or (count == 2 and not file.is_masked) or dtype.kind not in "iuf":
            raise LabelError(
                f"{source.path} has {source.header}: labels are one band of whole-number class ids, "
                "or colours named in data.label_values of a training config"
            )
        names = file.legend.names
        table = _id_table(source.classes, source.rules, file.nodata, names)
        is_named = any(str(key) == str(NODATA_ID) for key, _ in source.rules.values)
        by_custom = table.index_of[NODATA_ID] == IGNORE and file.nodata != NODATA_ID and not is_named
        return cls(source, table, names, leaves_out_255=by_custom)

    def values(self, bands: Codes) -> Codes:
        """The ids themselves; whole numbers of floating-point types as integers, NOT_FINITE where they are not finite.

        Raises:
            ValueError: if a value has a fraction.
        """
        return as_integers(bands[0], self._table.nodata)

    def indexes(self, values: Codes) -> NDArray[np.uint8]:
        """Class indexes (h, w) of ids, through a table of all ids that may occur."""
        return indexes_of(values, self._table.index_of, self._table.other)

    def complaint(self, values: Codes) -> str:
        """Name the unknown ids, and say what to do."""
        found = ", ".join(map(self._shown, np.unique(values)[:5].tolist()))
        if self._rules.values:
            return left_out(self._rules, found)
        return (
            f"class id {found} is unknown; the classes are {class_list(self._classes)}: add it to `classes` or "
            "data.label_values, or set those pixels to 255 (not labelled)"
        )

    def _shown(self, value: int) -> str:
        """A value, with its name in the file if it has one."""
        return f"{value} ({self._names[value]})" if value in self._names else str(value)


@dataclass(frozen=True)
class _IdTable:
    """Which class each value of a file stands for."""

    index_of: Mapping[int, int]
    """Class index by value, IGNORE for values that are not labelled."""
    other: int
    """Class index of all other values."""
    unlabelled: tuple[int, ...]
    """Values that are not labelled by the file or by custom, and that no rule names."""
    nodata: int | None
    """The nodata value of the file."""


def _id_table(
    classes: Sequence[ClassSpec], rules: LabelRules, nodata: int | None, names: Mapping[int, str]
) -> _IdTable:
    """The class of each value: by the rules, else by the names that the file gives to its values, else by number.

    255 and nodata are not labelled unless rules name them. A class whose name the file gives to another value than the
    class's own is that other value.
    """
    values_of = _values_by_name(names)
    if rules.values:
        resolved = resolve_rules(classes, rules)
        texts = [(str(key), index) for key, index in resolved.items()]
        by_name = {v: index for text, index in texts for v in values_of.get(text.casefold(), ())}
        known = by_name | {int(text): index for text, index in texts if re.fullmatch(r"-?[0-9]+", text)}
        other = resolved.get(OTHER, UNKNOWN)
    else:
        by_name = {v: index for index, c in enumerate(classes) for v in values_of.get(c.name.casefold(), ())}
        by_number = {
            c.label_value: index
            for index, c in enumerate(classes)
            if index not in by_name.values() and not c.label_value == nodata == NODATA_ID
        }
        known, other = by_number | by_name, UNKNOWN
    usual = {NODATA_ID, NOT_FINITE} if nodata is None else {NODATA_ID, NOT_FINITE, nodata}
    unlabelled = tuple(value for value in usual if value not in known and abs(value) <= -NOT_FINITE)
    return _IdTable(dict.fromkeys(usual, IGNORE) | known, other, unlabelled, nodata)


def _values_by_name(names: Mapping[int, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for value, name in names.items():
        found.setdefault(name.casefold(), []).append(value)
    return found
