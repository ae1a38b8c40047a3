"""What products have in common: a band's file with its name, scale, offset and nodata value."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.raster.bands.files import BandFile
from geoseg.raster.bands.names import role_of_number
from geoseg.raster.bands.tags import BandTag


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

    def as_file(self) -> BandFile:
        """Its file; 0 is no data. The panchromatic band does not decide the size of the scene's pixels."""
        name = f"{self.label} {self.role}" if self.role else self.label
        tag = BandTag(name, self.scale, self.offset, 0.0)
        return BandFile(self.address, (tag,), name, shapes_grid=self.role != "pan")
