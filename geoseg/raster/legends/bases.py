"""What legend sources have in common: those that stand in a raster, and those that are files beside one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from geoseg.raster.legend import Legend
from geoseg.raster.legends.place import LegendPlace, open_place


class InRaster(ABC):
    """A legend that stands in a raster, or in a file that GDAL reads with it."""

    names_all = False
    suffixes: tuple[str, ...] = ()

    @abstractmethod
    def find(self, place: LegendPlace) -> Legend:
        """The legend in a raster."""

    def read(self, path: Path) -> Legend:
        """The legend in the raster at a path."""
        with open_place(path) as place:
            return self.find(place)


class BesideRaster(ABC):
    """A legend in a file beside a raster, with its name and the source's first ending."""

    names_all = False
    suffixes: tuple[str, ...]

    def find(self, place: LegendPlace) -> Legend:
        """The legend of the file beside a raster; that with the raster's whole name comes first."""
        legend = Legend()
        for path in place.beside(self.suffixes[0]):
            legend = legend.completed_by(self.read(path))
        return legend

    @abstractmethod
    def read(self, path: Path) -> Legend:
        """The legend of a file."""
