"""Values of rasters of labels that nobody has described yet. In: a raster. Out: pixels by value or by colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError

from geoseg.core.errors import LabelError
from geoseg.core.files import one_line
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.legend import Legend
from geoseg.raster.legends import read_legend
from geoseg.raster.reading import open_dataset, to_rasterio


@dataclass(frozen=True)
class LabelValues:
    """An open raster of labels."""

    raster: Any
    """The raster, as `open_dataset` gives it."""

    @property
    def is_picture(self) -> bool:
        """Whether it has bytes for red, green, blue, and perhaps alpha."""
        return bool(self.raster.count in (3, 4) and self.raster.dtypes[0] == "uint8")

    def legend(self) -> Legend:
        """The names and colours in or beside it."""
        return read_legend(self.raster).legend

    def values(self) -> Counter[int]:
        """Pixels with data by value.

        Raises:
            LabelError: if values have fractions.
        """
        found: Counter[int] = Counter()
        for window in self._strips():
            values = self.raster.read(1, window=to_rasterio(window))
            known = values[self.raster.read_masks(1, window=to_rasterio(window)) > 0]
            if known.dtype.kind == "f" and (known % 1 != 0).any():
                raise LabelError(f"{self.raster.path} holds numbers with fractions: labels are whole numbers")
            found += _counted(known.astype(np.int64))
        return found

    def colors(self) -> Counter[int]:
        """Pixels by colour, 0xrrggbb, of a picture or of a raster with a palette.

        Raises:
            LabelError: if it has neither.
        """
        if not self.is_picture:
            return self._palette_colors()
        found: Counter[int] = Counter()
        for window in self._strips():
            red, green, blue = self.raster.read([1, 2, 3], window=to_rasterio(window)).astype(np.int64)
            found += _counted(red << 16 | green << 8 | blue)
        return found

    def _palette_colors(self) -> Counter[int]:
        try:
            palette = self.raster.colormap(1)
        except ValueError:
            raise LabelError(
                f"{self.raster.path} holds numbers, other labels are pictures in colours: write two configs, for one "
                "kind each"
            ) from None
        found: Counter[int] = Counter()
        for value, count in self.values().items():
            red, green, blue, *_ = palette[value]
            found[red << 16 | green << 8 | blue] += count
        return found

    def _strips(self) -> Iterator[Window]:
        return strip_windows(Window(0, 0, *self.raster.shape), max(256, self.raster.block_shapes[0][0]))


def _counted(values: Any) -> Counter[int]:
    found, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


@contextmanager
def open_values(path: Path) -> Iterator[LabelValues]:
    """Open a raster of labels.

    Raises:
        LabelError: if it cannot be read.
    """
    try:
        with open_dataset(path) as raster:
            yield LabelValues(raster)
    except (RasterioError, OSError, ValueError) as error:
        raise LabelError(f"cannot read labels {path}: {one_line(error)}") from None
