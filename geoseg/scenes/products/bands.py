"""What products have in common: a band's file with its name, scale, offset and nodata value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from geoseg.raster.bands.files import BandFile
from geoseg.raster.bands.names import role_of_number
from geoseg.raster.bands.tags import BandTag


def parse_time(text: str) -> datetime | None:
    """A time as metadata give it, 2024-05-01T10:05:59.0246810Z, without parts of a second; None for anything else."""
    try:
        return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


@dataclass(frozen=True)
class ProductBand:
    """A band of a product."""

    sensor: str
    """Its sensor, as `geoseg.raster.bands.names` calls it."""
    number: str
    """Its number: 4, 04 or 8A."""
    label: str
    """Its name in the product: B04, SR_B4."""
    address: str
    """Name by which GDAL opens its file."""
    scale: float = 1.0
    """Scale: value * scale + offset is the physical quantity."""
    offset: float = 0.0
    """Offset."""

    @property
    def role(self) -> str | None:
        """What it measures: red, nir, ...; None if that is unknown."""
        return role_of_number(self.sensor, self.number)

    def as_file(self, taken: datetime | None) -> BandFile:
        """Its file, acquired at some time; 0 is no data, and a panchromatic band does not decide the scene's grid."""
        name = f"{self.label} {self.role}" if self.role else self.label
        tag = BandTag(name, self.scale, self.offset, 0.0)
        return BandFile(self.address, (tag,), name, taken, shapes_grid=self.role != "pan")
