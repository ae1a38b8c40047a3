"""Rasters of class ids: one band of whole numbers, with or without a mask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError
from geoseg.data.labels.example import Example, Shown, write_example
from geoseg.data.labels.raster_labels import UNKNOWN, Codes, RasterFile, RasterLabels
from geoseg.data.labels.rules import OTHER, LabelRules, class_list, resolve_rules
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

    def __init__(self, classes: Sequence[ClassSpec], index_of: Mapping[int, int], other: int, *, leaves_out_255: bool):
        self._classes, self._index_of, self._other = classes, index_of, other
        self.leaves_out_255 = leaves_out_255

    @classmethod
    def of(cls, source: LabelSource, file: RasterFile) -> Self:
        """The coding of an open raster.

        Raises:
            LabelError: if it is not one band of whole numbers.
        """
        count, dtype = source.header.count, source.header.dtype
        if count > 2 or (count == 2 and not file.is_masked) or not np.issubdtype(np.dtype(dtype), np.integer):
            raise LabelError(
                f"{source.path} has {source.header}: labels are one band of whole-number class ids, "
                "or colours named in data.label_values of a training config"
            )
        index_of, other = _id_table(source.classes, source.rules, file.nodata)
        is_named = any(str(key) == str(NODATA_ID) for key, _ in source.rules.values)
        by_custom = index_of[NODATA_ID] == IGNORE and file.nodata != NODATA_ID and not is_named
        return cls(source.classes, index_of, other, leaves_out_255=by_custom)

    def values(self, bands: Codes) -> Codes:
        """The ids themselves."""
        ids: Codes = bands[0]
        return ids

    def indexes(self, values: Codes) -> NDArray[np.uint8]:
        """Class indexes (h, w) of ids, through a table of all ids that may occur."""
        first, last = int(values.min()), int(values.max())
        if last - first < 2**16:
            keys, places = np.arange(first, last + 1), values.astype(np.int64) - first
        else:
            keys, places = np.unique(values, return_inverse=True)
        table = np.array([self._index_of.get(int(key), self._other) for key in keys], np.uint8)
        found: NDArray[np.uint8] = table[places].reshape(values.shape)
        return found

    def complaint(self, values: Codes) -> str:
        """Name the unknown ids, and say what to do."""
        return (
            f"class id {', '.join(map(str, np.unique(values)[:5]))} is unknown; the classes are "
            f"{class_list(self._classes)}: add it to `classes` or data.label_values, or set those pixels to 255 "
            "(not labelled)"
        )


def _id_table(classes: Sequence[ClassSpec], rules: LabelRules, nodata: int | None) -> tuple[dict[int, int], int]:
    """Class index by id, and the index of all other ids; 255 and nodata are not labelled unless rules name them."""
    if rules.values:
        resolved = resolve_rules(classes, rules)
        index_of = {int(key): index for key, index in resolved.items() if re.fullmatch(r"-?[0-9]+", str(key))}
    else:
        resolved = {}
        index_of = {c.id: index for index, c in enumerate(classes) if not c.id == nodata == NODATA_ID}
    unlabelled = {NODATA_ID: IGNORE} if nodata is None else {NODATA_ID: IGNORE, nodata: IGNORE}
    return unlabelled | index_of, resolved.get(OTHER, UNKNOWN)
