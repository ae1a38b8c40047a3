"""A label file before it is opened: its path, the image that it belongs to, and the header of a raster."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rasterio.errors import RasterioError

from geoseg.core.errors import LabelError
from geoseg.core.files import one_line
from geoseg.data.labels.rules import LabelRules
from geoseg.geo.georef import PixelGrid
from geoseg.raster.reading import open_dataset
from geoseg.spec import ClassSpec

TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".ods")
"""Extensions of files that may hold coordinates of points."""


@dataclass(frozen=True)
class RasterHeader:
    """Number and type of a raster's bands."""

    count: int
    """Bands."""
    dtype: str
    """Type of the first band, as numpy names it."""

    @property
    def is_picture(self) -> bool:
        """Whether it has bytes for red, green, blue, and perhaps alpha."""
        return self.count in (3, 4) and self.dtype == "uint8"

    def __str__(self) -> str:
        return f"{self.count} band(s) of {self.dtype}"


@dataclass(frozen=True)
class LabelSource:
    """A label file, and how it is to be read."""

    path: Path
    """The file."""
    grid: PixelGrid
    """The grid of its image."""
    classes: tuple[ClassSpec, ...]
    """The classes, in the order of the logits."""
    image: Path
    """The image, named in errors."""
    rules: LabelRules = field(default_factory=LabelRules)
    """Which value of the file stands for which class."""

    @cached_property
    def header(self) -> RasterHeader:
        """The header of a raster.

        Raises:
            LabelError: if the file cannot be read as one.
        """
        with self.open_raster() as dataset:
            return RasterHeader(dataset.count, dataset.dtypes[0])

    def open_raster(self) -> Any:
        """Open the file as a raster.

        Raises:
            LabelError: if it cannot be read as one.
        """
        try:
            return open_dataset(self.path)
        except (RasterioError, ValueError, OSError) as error:
            if self.path.suffix.lower() in TABLES and self.path.exists():
                raise LabelError(_table(self.path)) from None
            raise LabelError(f"cannot read labels {self.path}: {one_line(error)}") from None


def _table(path: Path) -> str:
    """The error text for a table of coordinates, which does not say what they mean."""
    return (
        f"labels {path} are a table, which does not say in which coordinate system its points lie: write them as "
        f"{path.stem}.gpkg, in QGIS (Add Delimited Text Layer, then Export) or with ogr2ogr -oo X_POSSIBLE_NAMES=x "
        "-oo Y_POSSIBLE_NAMES=y -a_srs EPSG:..."
    )
