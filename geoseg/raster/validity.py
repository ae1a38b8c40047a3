"""Which pixels of a raster hold data: how its marks of missing data are read and combined into one mask.

Others find the marks, or apply the mask: `scene_bands` chooses the marks that count for a scene, `fill` finds fill that
no tag declares, `geo.aoi` rasterises areas; whoever reads pixels gets them with the mask that is made here.

In: values, and the marks of missing data: nodata values, a mask or alpha band, NaN, an area of interest, fill. Out:
masks, true where a pixel holds data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterioWindow

from geoseg.core.errors import SpecError
from geoseg.geo.aoi import Area
from geoseg.geo.grid import Window
from geoseg.raster.bands.matching import looks_like_alpha
from geoseg.raster.bands.names import ALPHA, agreed_roles
from geoseg.raster.fill import FillMap
from geoseg.raster.reading import to_rasterio
from geoseg.raster.reading.dataset import Dataset
from geoseg.raster.reading.protocol import OpenRaster

Values = NDArray[Any]
Mask = NDArray[np.bool_]


class Marks(Protocol):
    """A raster that may have a mask or an alpha band."""

    def read(self, bands: int | list[int], window: Window) -> Values:
        """Read one band (h, w) or several (C, h, w)."""
        ...

    def read_mask(self, band: int, window: Window) -> Mask:
        """Read a band's mask (h, w), true where there is data."""
        ...

    def in_file(self, window: Window) -> Window:
        """Convert a window of the raster to one of its file."""
        ...


@dataclass(frozen=True)
class Validity:
    """The marks of missing data that count for some bands of a raster."""

    nodata: tuple[float | None, ...]
    """Value that marks missing data, per band."""
    alpha: int | None = None
    """Number of the alpha band, unless it is one of the bands themselves."""
    masked: int | None = None
    """Number of a band whose mask counts; None for none."""
    area: Area | None = None
    """The area of interest, outside of which no pixel counts."""
    fill: FillMap | None = None
    """Fill that no tag declares."""

    def by_marks(self, image: Values, window: Window, raster: Marks) -> Mask:
        """Mask (h, w) of valid pixels by their values (C, h, w) and by the raster's mask and alpha band."""
        valid = find_valid(image, self.nodata)
        if self.alpha is not None:
            valid &= raster.read(self.alpha, window) > 0
        if self.masked is not None:
            valid &= raster.read_mask(self.masked, window)
        return valid

    def by_place(self, valid: Mask, image: Values, window: Window, raster: Marks) -> Mask:
        """Mask (h, w) of the pixels of `valid` (h, w) that lie in the area of interest and are not fill."""
        if self.area is not None:
            valid &= self.area.mask(raster.in_file(window))
        if self.fill is not None:
            valid &= ~self.fill.mask(window, image)
        return valid


def find_valid(image: Values, nodata: Sequence[float | None]) -> Mask:
    """Mask (h, w) of the pixels of an image (C, h, w) that hold data, by their values.

    In 8-bit imagery 0 or 255 is also a dark or bright value, so a pixel is missing only where *all* bands say so; wider
    types, and bytes with a sign, whose -128 has no counterpart, have room for a value that nothing else takes, so *any*
    band is enough. NaN and infinity are always missing.
    """
    valid = np.ones(image.shape[1:], dtype=bool)
    if image.dtype.kind == "f":
        valid &= np.isfinite(image).all(axis=0)
    marked = [band == value for band, value in zip(image, nodata, strict=True) if value is not None and value == value]
    if marked and (image.dtype != np.uint8 or len(marked) == len(image)):
        combine = np.logical_and if image.dtype == np.uint8 else np.logical_or
        valid &= ~combine.reduce(marked)
    return valid


def is_nodata(values: Values, nodata: float | None) -> Mask:
    """Mask of the values of a class raster that are its nodata value."""
    return np.zeros(values.shape, bool) if nodata is None else np.asarray(values == nodata)


def has_mask(dataset: Dataset, band: int = 1) -> bool:
    """Whether a class raster has a mask or an alpha band."""
    return bool({MaskFlags.per_dataset, MaskFlags.alpha} & set(dataset.mask_flags(band)))


def has_mask_of_all_bands(dataset: Dataset) -> bool:
    """Whether the file has one mask for all bands."""
    return MaskFlags.per_dataset in dataset.mask_flags(1)


def read_mask(dataset: OpenRaster, band: int, window: RasterioWindow) -> Mask:
    """A file's own mask of a window (h, w), from its mask or alpha band: true where pixels hold data."""
    return np.asarray(dataset.read_masks(band, window=window) > 0)


def check_nodata(value: float | str | None, dtype: str) -> None:
    """Refuse a nodata value that is out of the range of a type.

    Raises:
        SpecError: with the range.
    """
    if value is None or isinstance(value, str) or np.dtype(dtype).kind == "f":
        return
    limits = np.iinfo(dtype)
    if not (math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max):
        raise SpecError(
            f"nodata {value:g}: no {dtype} value can be that: give a whole number from {limits.min} to {limits.max}"
        )


def mask_kind(dataset: Dataset, alpha: int | None) -> str:
    """Source of a file's mask of valid pixels: 'none', 'nodata', 'mask', or 'alpha'."""
    if alpha is not None:
        return "alpha"
    flags = dataset.mask_flags(1)
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        return "mask"
    return "nodata" if any(value is not None for value in dataset.nodatavals) else "none"


def alpha_band(dataset: Dataset) -> int | None:
    """Number of the alpha band, or None: by its name, else by its colour interpretation.

    A fourth band that is only marked as alpha is infrared more often than not.
    """
    roles = agreed_roles([text or "" for text in dataset.descriptions])
    for index, (color, role) in enumerate(zip(dataset.colorinterp[:16], roles, strict=False), 1):
        if (color.name if role is None else role) == ALPHA:
            windows = spread_windows(dataset.height, dataset.width)
            values = np.concatenate([dataset.read(index, window=to_rasterio(w)).ravel() for w in windows])
            return index if looks_like_alpha(values, dataset.dtypes[index - 1]) else None
    return None


def spread_windows(height: int, width: int, side: int = 64, count: int = 4) -> list[Window]:
    """Windows of at most side × side pixels, count × count of them, evenly spread and each once."""
    rows = sorted({(2 * i + 1) * height // (2 * count) for i in range(count)})
    cols = sorted({(2 * i + 1) * width // (2 * count) for i in range(count)})
    return [Window(row, col, side, side).clip(height, width) for row in rows for col in cols]
