"""Finished blocks become a raster: first uncompressed parts, written in any order, then their mosaic.

In: blocks of pixels with their windows. Out: a VRT on the scene's grid, of which `cog` makes a file. Knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.shutil import copy as copy_raster

from geoseg.core.files import quiet_georeferencing, write_errors
from geoseg.geo.grid import Window
from geoseg.raster.reading import to_rasterio
from geoseg.raster.scene_info import SceneInfo

BLOCK = 512
"""Side of a file block in pixels."""


@dataclass(frozen=True)
class RasterFormat:
    """Format of a result raster: type, bands, nodata, colours and tags."""

    dtype: str
    """uint8, int16, uint32 or float32."""
    nodata: float
    """Value of pixels without data."""
    bands: tuple[str, ...]
    """Description of each band."""
    overviews: str = "nearest"
    """Resampling of overviews: nearest, mode, or average."""
    colors: Mapping[int, str] = field(default_factory=dict)
    """Colour table of an 8-bit raster: #rrggbb per value."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the file."""

    def with_tags(self, tags: Mapping[str, str]) -> RasterFormat:
        """The format with further tags."""
        return replace(self, tags={**self.tags, **tags})

    def blanked(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Values (h, w) or (bands, h, w) of the raster's type, nodata where pixels hold no data (h, w)."""
        return np.where(valid, values, values.dtype.type(self.nodata))

    def bytes_per_pixel(self) -> int:
        """Bytes of a pixel without compression."""
        return len(self.bands) * np.dtype(self.dtype).itemsize


INSTANCES_FORMAT = RasterFormat("uint32", 0, ("number of the instance",))
"""Format of numbers of instances, 0 where there is none."""
COUNT_TAG = "GEOSEG_INSTANCES"
"""Tag of rasters of instances: how many there are."""


class PartRaster:
    """An uncompressed raster of some rows, written block by block in any order; the rest is nodata.

    It holds pixels only; `write_mosaic` adds georeferencing and tags. It lies in a folder of its own; errors name that
    folder's parent.
    """

    def __init__(self, path: Path, size: tuple[int, int], layout: RasterFormat):
        """Create a raster of a size (rows, columns)."""
        self.path, self.layout = path, layout
        height, width = size
        with write_errors(path.parent.parent), quiet_georeferencing():
            self._dataset = rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=height,
                width=width,
                count=len(layout.bands),
                dtype=layout.dtype,
                nodata=layout.nodata,
                tiled=True,
                blockxsize=BLOCK,
                blockysize=BLOCK,
                interleave="band",
                SPARSE_OK=True,
                BIGTIFF="IF_SAFER",
            )

    def write(self, window: Window, block: NDArray[Any]) -> None:
        """Write a block (h, w) or (bands, h, w)."""
        if not window.pixels:
            return
        where = to_rasterio(window)
        with write_errors(self.path.parent.parent):
            self._dataset.write(block if block.ndim == 3 else block[None], window=where)

    def close(self) -> None:
        """Close the raster; it can be read from then on."""
        with write_errors(self.path.parent.parent):
            self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Part:
    """A raster of some rows of a scene."""

    path: Path
    """Its file."""
    row: int
    """The first of the rows."""
    height: int
    """Number of rows."""


def write_mosaic(path: Path, info: SceneInfo, layout: RasterFormat, parts: Sequence[Part]) -> None:
    """Write a VRT on the scene's grid that shows the parts beside it; where parts overlap, the last one.

    GDAL itself writes georeferencing and tags, to a raster without pixels from which they are copied.
    """
    frame = path.with_suffix(".frame.tif")
    with PartRaster(frame, (info.height, info.width), layout) as raster:
        _georeference(raster._dataset, info)
        _describe(raster._dataset, layout)
    with write_errors(path.parent.parent), quiet_georeferencing():
        copy_raster(str(frame), str(path), driver="VRT")
        tree = ElementTree.parse(path)
        for number, band in enumerate(tree.iter("VRTRasterBand"), 1):
            for source in [child for child in band if child.tag.endswith("Source")]:
                band.remove(source)
            band.extend(_vrt_source(part, number, info.width, layout) for part in parts)
        tree.write(path)
        frame.unlink()


def _vrt_source(part: Part, number: int, width: int, layout: RasterFormat) -> ElementTree.Element:
    """Band `number` of a part as a source of a VRT; its properties let GDAL open the file only when needed."""
    source = ElementTree.Element("SimpleSource")
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="1").text = part.path.name
    ElementTree.SubElement(source, "SourceBand").text = str(number)
    kind = {"uint8": "Byte", "int16": "Int16", "uint32": "UInt32", "float32": "Float32"}[layout.dtype]
    ElementTree.SubElement(
        source, "SourceProperties", RasterXSize=str(width), RasterYSize=str(part.height), DataType=kind,
        BlockXSize=str(BLOCK), BlockYSize=str(BLOCK),
    )  # fmt: skip
    for tag, row in (("SrcRect", 0), ("DstRect", part.row)):
        rectangle = {"xOff": "0", "yOff": str(row), "xSize": str(width), "ySize": str(part.height)}
        ElementTree.SubElement(source, tag, rectangle)
    return source


def _georeference(dataset: Any, info: SceneInfo) -> None:
    """Copy the scene's georeferencing unchanged: transform and CRS, control points, or RPCs."""
    points, points_crs = info.gcps
    if points:
        dataset.gcps = points, points_crs or CRS()
    else:
        if info.crs is not None:
            dataset.crs = info.crs
        if not info.transform.is_identity:
            dataset.transform = info.transform
    if info.rpcs is not None:
        dataset.rpcs = info.rpcs


def _describe(dataset: Any, layout: RasterFormat) -> None:
    for index, name in enumerate(layout.bands, 1):
        dataset.set_band_description(index, name)
    if layout.colors:
        dataset.write_colormap(1, {value: _rgba(color) for value, color in layout.colors.items()})
    dataset.update_tags(**layout.tags)


def _rgba(color: str) -> tuple[int, int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255
