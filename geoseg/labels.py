"""Label rasters: class ids per pixel, on exactly the grid of their image.

In: a path, the image's grid, the classes. Out: the index of each pixel's class, uint8, 255 where nothing is labelled.
Knows no tensors and no scenes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.errors import LabelError
from geoseg.spec import IGNORE, NODATA_ID, ClassSpec


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of a raster lie."""

    height: int
    """Rows."""
    width: int
    """Columns."""
    transform: Affine
    """Pixel corner (column, row) -> CRS coordinates."""
    crs: CRS | None
    """Coordinate system, if any."""

    def same_as(self, other: PixelGrid) -> bool:
        """Whether the pixels coincide, to a hundredth of a pixel."""
        if (self.height, self.width) != (other.height, other.width) or (self.crs != other.crs):
            return False
        corners = (0, 0), (self.width, 0), (0, self.height)
        return all(math.dist(self.xy(*corner), other.xy(*corner)) < 0.01 * self.step for corner in corners)

    @property
    def step(self) -> float:
        """Length of a pixel's upper side, in CRS units."""
        return math.hypot(self.transform.a, self.transform.d)

    def xy(self, column: float, row: float) -> tuple[float, float]:
        """CRS coordinates of a place counted in pixels from the upper left corner."""
        t = self.transform
        return t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f

    def __str__(self) -> str:
        return (
            f"{self.width} × {self.height} pixels of {self.step:g} "
            f"from {self.transform.c:.10g}, {self.transform.f:.10g} "
            f"in {self.crs.to_string() if self.crs else 'no CRS'}"
        )


def grid_of(dataset: rasterio.DatasetReader) -> PixelGrid:
    """Grid of an open raster."""
    return PixelGrid(dataset.height, dataset.width, dataset.transform, dataset.crs)


def read_labels(path: Path, grid: PixelGrid, classes: Sequence[ClassSpec], *, image: Path) -> NDArray[np.uint8]:
    """Read class indexes (H, W): a pixel's place in `classes`, or IGNORE.

    Args:
        path: one band of class ids; 255 and the file's nodata value mean: not labelled.
        grid: the image's grid.
        classes: in the order of the logits.
        image: named when the grids differ.

    Raises:
        LabelError: if the file cannot be read, lies on another grid, or holds an unknown id.
    """
    try:
        with rasterio.open(path) as dataset:
            ids, nodata = _ids_on_grid(dataset, grid, path, image), dataset.nodata
    except rasterio.RasterioIOError as error:
        raise LabelError(f"cannot read labels {path}: {error}") from None
    return class_indexes(ids, classes, nodata=nodata, source=str(path))


def class_indexes(
    ids: NDArray[np.integer], classes: Sequence[ClassSpec], *, nodata: float | None = None, source: str = "labels"
) -> NDArray[np.uint8]:
    """Turn class ids into places in `classes`, and 255 and nodata into IGNORE.

    Raises:
        LabelError: if an id is not among the classes.
    """
    values, places = np.unique(ids, return_inverse=True)
    index_of = {c.id: index for index, c in enumerate(classes)} | {NODATA_ID: IGNORE}
    if nodata is not None and math.isfinite(nodata):
        index_of.setdefault(int(nodata), IGNORE)
    unknown = [int(value) for value in values if int(value) not in index_of]
    if unknown:
        known = ", ".join(f"{c.id} {c.name}" for c in classes)
        raise LabelError(
            f"{source}: class id {', '.join(map(str, unknown[:5]))} is unknown; the classes are {known}: "
            "add it to `classes`, or set those pixels to 255 (not labelled)"
        )
    table = np.array([index_of[int(value)] for value in values], dtype=np.uint8)
    return table[places].reshape(ids.shape)


def _ids_on_grid(dataset: rasterio.DatasetReader, grid: PixelGrid, path: Path, image: Path) -> NDArray[np.integer]:
    if dataset.count != 1 or not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
        raise LabelError(
            f"{path} has {dataset.count} band(s) of {dataset.dtypes[0]}: labels are one band of whole-number class ids"
        )
    own = grid_of(dataset)
    if not own.same_as(grid):
        raise LabelError(
            f"{path} is not on the grid of its image {image}: {own} against {grid}: "
            "warp the labels onto the image's grid (gdalwarp -r near)"
        )
    ids: NDArray[np.integer] = dataset.read(1)
    return ids
