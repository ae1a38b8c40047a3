"""What a scene says of itself, without its pixels: size, bands, type, scaling, place.

In: an open dataset, and what is said of its bands elsewhere. Out: a SceneInfo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from geoseg.core.redaction import public_form
from geoseg.geo.geodesy import pixel_size_m
from geoseg.geo.georef import usable_transform
from geoseg.raster.bands.names import ALPHA
from geoseg.raster.bands.tags import BandTag, or_told, tags_of
from geoseg.raster.reading.dataset import Dataset
from geoseg.raster.scaling import file_scaling
from geoseg.raster.validity import mask_kind
from geoseg.spec import ScalingSpec


@dataclass(frozen=True)
class SceneInfo:
    """What geoseg sees in a scene before reading it."""

    path: str
    """As it was given."""
    name: str
    """Name of the scene, with which the names of its results begin."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    dtypes: tuple[str, ...]
    """Type of the values, per band."""
    colors: tuple[str, ...]
    """Colour interpretation per band: red, green, blue, alpha, gray, undefined, ..."""
    descriptions: tuple[str, ...]
    """Description per band, empty where there is none."""
    nodata: tuple[float | None, ...]
    """Value that marks missing data, per band."""
    scales: tuple[float, ...]
    """What values are multiplied with to get what they stand for, per band; 1 where the file does not say."""
    offsets: tuple[float, ...]
    """What is added then, per band; 0 where the file does not say."""
    mask: str
    """Where validity comes from: 'none', 'nodata', 'mask' (a mask band), or 'alpha'."""
    crs: Any
    """rasterio CRS, or None."""
    transform: Any
    """Affine transform from pixel to CRS coordinates; the identity where there is none."""
    gcps: tuple[list[Any], Any]
    """Ground control points and their CRS; kept, never applied. None where there is a transform, which goes first."""
    rpcs: Any
    """Rational polynomial coefficients, or None; kept, never applied."""

    def dtype_of(self, bands: Sequence[int]) -> str:
        """Type of the values of some bands (from 1); the widest where they differ."""
        return str(np.result_type(*(numpy_dtype(self.dtypes[i - 1]) for i in bands)))

    def scaling_of(self, bands: Sequence[int]) -> ScalingSpec | None:
        """What the values of some bands (from 1) stand for; None where the file does not say."""
        return file_scaling([self.scales[i - 1] for i in bands], [self.offsets[i - 1] for i in bands])

    @property
    def public_path(self) -> str:
        """The path as others may see it, without passwords, keys and signatures."""
        return public_form(self.path)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def pixel_size_m(self) -> tuple[float, float] | None:
        """Width and height of a pixel on the ground in metres, or None where that is unknown."""
        return pixel_size_m(self.crs, self.transform, self.height, self.width)

    @property
    def resolution_m(self) -> float | None:
        """Side in metres of a square pixel of the same area."""
        size = self.pixel_size_m
        return math.sqrt(size[0] * size[1]) if size else None


def plain_number(value: float | None) -> float | str | None:
    """Write NaN and infinity as text: JSON has no such numbers."""
    return value if value is None or math.isfinite(value) else str(value)


def describe_dataset(dataset: Dataset, path: str, name: str, alpha: int | None) -> SceneInfo:
    """What an open file says of itself, given the number of its alpha band."""
    return SceneInfo(
        path=path,
        name=name,
        height=dataset.height,
        width=dataset.width,
        dtypes=tuple(dataset.dtypes),
        colors=tuple(_color(i, color, alpha) for i, color in enumerate(dataset.colorinterp, 1)),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(map(float, dataset.scales)),
        offsets=tuple(map(float, dataset.offsets)),
        mask=mask_kind(dataset, alpha),
        crs=dataset.crs,
        transform=usable_transform(dataset.transform),
        gcps=dataset.gcps if usable_transform(dataset.transform).is_identity else ([], None),
        rpcs=dataset.rpcs,
    )


def with_tags(info: SceneInfo, tags: Sequence[BandTag]) -> SceneInfo:
    """A scene with what is said of its bands elsewhere, where its file says nothing."""
    told = tags_of(tags, len(info.colors))
    nodata = or_told(info.nodata, None, [tag.nodata for tag in told])
    scales, offsets = [tag.scale for tag in told], [tag.offset for tag in told]
    if any(scale != 1 for scale in info.scales) or any(offset != 0 for offset in info.offsets):
        scales, offsets = list(info.scales), list(info.offsets)
    return replace(
        info,
        descriptions=or_told(info.descriptions, "", [tag.name for tag in told]),
        nodata=nodata,
        scales=or_told(info.scales, 1.0, scales),
        offsets=or_told(info.offsets, 0.0, offsets),
        mask="nodata" if info.mask == "none" and any(value is not None for value in nodata) else info.mask,
    )


def _color(index: int, color: ColorInterp, alpha: int | None) -> str:
    if index == alpha:
        return ALPHA
    return "undefined" if color == ColorInterp.alpha else str(color.name)


def numpy_dtype(name: str) -> str:
    """NumPy's name of a type, given GDAL's."""
    return "int8" if name == "sbyte" else name
