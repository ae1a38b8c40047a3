"""Description of a scene without its pixels: size, bands, types, scaling, georeferencing.

In: an open dataset, and band metadata from elsewhere. Out: a SceneInfo.
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
from geoseg.geo.georef import PixelGrid, usable_transform
from geoseg.raster.bands.names import ALPHA
from geoseg.raster.bands.tags import BandTag, own_or_tagged, tags_of
from geoseg.raster.reading.dataset import Dataset
from geoseg.raster.scaling import file_scaling
from geoseg.raster.validity import mask_kind
from geoseg.spec import ScalingSpec


@dataclass(frozen=True)
class SceneInfo:
    """Size, bands, types, scaling and georeferencing of a scene."""

    path: str
    """Path or URL as given."""
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
    """Scale per band: value * scale + offset is the physical quantity; 1 where the file has none."""
    offsets: tuple[float, ...]
    """Offset per band; 0 where the file has none."""
    mask: str
    """Source of the mask of valid pixels: 'none', 'nodata', 'mask' (a mask band), or 'alpha'."""
    crs: Any
    """rasterio CRS, or None."""
    transform: Any
    """Affine transform from pixel to CRS coordinates; the identity where there is none."""
    gcps: tuple[list[Any], Any]
    """Ground control points and their CRS; kept, never applied. None where a transform has precedence."""
    rpcs: Any
    """Rational polynomial coefficients, or None; kept, never applied."""

    def dtype_of(self, bands: Sequence[int]) -> str:
        """Type of the values of some bands (from 1); the widest where they differ."""
        return str(np.result_type(*(numpy_dtype(self.dtypes[i - 1]) for i in bands)))

    def scaling_of(self, bands: Sequence[int]) -> ScalingSpec | None:
        """Scale and offset of some bands (from 1); None where the file has none."""
        return file_scaling([self.scales[i - 1] for i in bands], [self.offsets[i - 1] for i in bands])

    @property
    def public_path(self) -> str:
        """The path without passwords, keys and signatures."""
        return public_form(self.path)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def grid(self) -> PixelGrid:
        """Its pixel grid."""
        return PixelGrid(self.height, self.width, self.transform, self.crs)

    @property
    def pixel_size_m(self) -> tuple[float, float] | None:
        """Width and height of a pixel on the ground, in metres; None where unknown."""
        return pixel_size_m(self.crs, self.transform, self.height, self.width)

    @property
    def resolution_m(self) -> float | None:
        """Side of a square pixel of the same area on the ground, in metres; None where unknown."""
        size = self.pixel_size_m
        return math.sqrt(size[0] * size[1]) if size else None


def plain_number(value: float | None) -> float | str | None:
    """Write NaN and infinity as text: JSON has no such numbers."""
    return value if value is None or math.isfinite(value) else str(value)


def describe_dataset(dataset: Dataset, path: str, name: str, alpha: int | None) -> SceneInfo:
    """Description of an open file, given the number of its alpha band."""
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
    """A description with band metadata from elsewhere, where the file has none."""
    every = tags_of(tags, len(info.colors))
    nodata = own_or_tagged(info.nodata, None, [tag.nodata for tag in every])
    scales, offsets = [tag.scale for tag in every], [tag.offset for tag in every]
    if any(scale != 1 for scale in info.scales) or any(offset != 0 for offset in info.offsets):
        scales, offsets = list(info.scales), list(info.offsets)
    return replace(
        info,
        descriptions=own_or_tagged(info.descriptions, "", [tag.name for tag in every]),
        nodata=nodata,
        scales=own_or_tagged(info.scales, 1.0, scales),
        offsets=own_or_tagged(info.offsets, 0.0, offsets),
        mask="nodata" if info.mask == "none" and any(value is not None for value in nodata) else info.mask,
    )


def _color(index: int, color: ColorInterp, alpha: int | None) -> str:
    if index == alpha:
        return ALPHA
    return "undefined" if color == ColorInterp.alpha else str(color.name)


def numpy_dtype(name: str) -> str:
    """NumPy's name of a type, given rasterio's."""
    return "int8" if name == "sbyte" else name
