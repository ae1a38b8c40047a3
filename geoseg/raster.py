"""Finished blocks become a GeoTIFF: first a plain scratch raster that takes them in any order, then a COG.

In: blocks of pixels with their windows. Out: cloud-optimised GeoTIFFs on the scene's grid. Knows no network.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import OutputError
from geoseg.grid import Window
from geoseg.scene import SceneInfo
from geoseg.spec import ClassSpec

BLOCK = 512
"""Side of a file block in pixels."""


@dataclass(frozen=True)
class RasterFormat:
    """What a result raster holds."""

    dtype: str
    """uint8 or float32."""
    nodata: float
    """Value of pixels without data."""
    bands: tuple[str, ...]
    """Description of each band."""
    overviews: str = "nearest"
    """How overviews are made: nearest, mode, or average."""
    colors: Mapping[int, str] = field(default_factory=dict)
    """Colour table of an 8-bit raster: #rrggbb per value."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the file."""

    def bytes_per_pixel(self) -> int:
        """Size of a pixel without compression."""
        return len(self.bands) * np.dtype(self.dtype).itemsize


class ScratchRaster:
    """An uncompressed raster on the scene's grid that takes blocks in any order; what is never written is nodata."""

    def __init__(self, path: Path, info: SceneInfo, layout: RasterFormat):
        self.path, self.layout = path, layout
        with write_errors(path), quiet_georeferencing():
            self._dataset = rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=info.height,
                width=info.width,
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
            _georeference(self._dataset, info)
            _describe(self._dataset, layout)

    def write(self, window: Window, block: NDArray[Any]) -> None:
        """Write a block (h, w) or (bands, h, w)."""
        if not window.pixels:
            return
        where = RasterioWindow(window.col, window.row, window.width, window.height)
        with write_errors(self.path):
            self._dataset.write(block if block.ndim == 3 else block[None], window=where)

    def close(self) -> None:
        """Finish the scratch raster; it can be read from now on."""
        with write_errors(self.path):
            self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_cog(scratch: ScratchRaster, path: Path) -> None:
    """Write a closed scratch raster as a cloud-optimised GeoTIFF with overviews."""
    with write_errors(path), quiet_georeferencing():
        copy_raster(
            str(scratch.path),
            str(path),
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES" if scratch.layout.dtype == "float32" else "NO",
            BLOCKSIZE=str(BLOCK),
            OVERVIEW_RESAMPLING=scratch.layout.overviews.upper(),
            BIGTIFF="IF_SAFER",
            SPARSE_OK="YES",
            NUM_THREADS="ALL_CPUS",
        )


def class_tags(classes: Sequence[ClassSpec]) -> dict[str, str]:
    """Tags that name the classes: one for people, class by class, one for programs."""
    return {f"CLASS_{c.id}": c.name for c in classes} | {
        "GEOSEG_CLASSES": json.dumps([c.model_dump() for c in classes])
    }


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A folder for unfinished files beside the results; it goes whatever happens."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=".geoseg-", dir=folder))
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror}: choose another folder with --output"
        ) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(finished: Path, path: Path) -> None:
    """Give a finished file its final name, with GDAL's sidecar if it has one; nobody ever sees half of it."""
    try:
        os.replace(finished, path)
        if sidecar(finished).exists():
            os.replace(sidecar(finished), sidecar(path))
        else:
            sidecar(path).unlink(missing_ok=True)  # one that described what was here before
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


def sidecar(path: Path) -> Path:
    """Where GDAL keeps what the format has no room for, such as a CRS that GeoTIFF cannot express."""
    return path.with_name(path.name + ".aux.xml")


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn a failing write into an OutputError."""
    try:
        yield
    except (RasterioError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise OutputError(f"cannot write {path.name}: {reason}: check the free space") from None


@contextmanager
def quiet_georeferencing() -> Iterator[None]:
    """Silence rasterio about scenes without coordinates: geoseg gives its own notice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _georeference(dataset: Any, info: SceneInfo) -> None:
    """Carry over what places the scene, as it is: transform and CRS, control points, or polynomials."""
    points, points_crs = info.gcps
    if points:
        dataset.gcps = points, points_crs
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
