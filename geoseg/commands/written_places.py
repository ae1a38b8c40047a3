"""Chosen windows of scenes written as places, with the polygons of the classes in them.

In: classified scenes, and which of their windows are chosen. Out: a GeoPackage in the coordinate system of the scenes,
or in longitude and latitude if they have several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from pyproj import CRS

from geoseg.commands.suggest_scenes import ScannedScene
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.naming import shown_names
from geoseg.geo.aoi import Area
from geoseg.geo.crs import map_crs, same_horizontal_crs
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.geo.reproject import projection_of
from geoseg.outputs.places import WrittenPlace, write_places
from geoseg.raster.class_raster import open_classes
from geoseg.raster.legend import Legend
from geoseg.spec import ClassSpec, VectorSpec
from geoseg.spec.suggest import PlacesSpec
from geoseg.vector.layer import PolygonLayer
from geoseg.vector.polygonize import Polygonizer

DEGREES = CRS.from_epsg(4326)
"""The system of files whose scenes have several."""
_FEW = 0.005
"""Share of a place below which a class is not named in its list of classes."""


@dataclass(frozen=True)
class ChosenPlace:
    """A window of a classified scene."""

    scene: ScannedScene
    """The scene."""
    index: int
    """Index of the window in the scene's statistics."""

    @property
    def window(self) -> Window:
        """The window, in pixels of the scene, or of its part in the area of interest."""
        return self.scene.statistics.window(self.index)

    @property
    def uncertainty(self) -> float:
        """Mean uncertainty of its pixels, 0 to 1."""
        return float(self.scene.statistics.uncertainty[self.index])

    @property
    def valid_share(self) -> float:
        """Share of its pixels with data, 0 to 1."""
        return int(self.scene.statistics.valid[self.index]) / self.window.pixels

    def class_shares(self, classes: Sequence[ClassSpec]) -> dict[str, float]:
        """Share of each class in its pixels with data, 0 to 1, by name."""
        shares = self.scene.statistics.class_shares[self.index]
        return {c.name: float(share) for c, share in zip(classes, shares, strict=True)}


@dataclass(frozen=True)
class PlacesInScenes:
    """Chosen places, and the scenes that they are in."""

    scenes: tuple[ScannedScene, ...]
    """The scenes."""
    chosen: tuple[ChosenPlace, ...]
    """The places, the best one first."""
    classes: tuple[ClassSpec, ...]
    """The classes of the model."""
    spec: PlacesSpec
    """How the labels are outlined."""

    @cached_property
    def crs(self) -> CRS:
        """The coordinate system of the file."""
        systems = [one.info.crs for one in self.scenes]
        found = map_crs(systems[0])
        is_one = all(same_horizontal_crs(system, systems[0]) for system in systems)
        return found if is_one and found is not None else DEGREES

    def names(self) -> dict[str, str]:
        """Names of the scenes by their paths, as training finds its images by them."""
        paths = [one.path for one in self.scenes]
        return dict(zip(paths, shown_names([Path(path) for path in paths]), strict=True))

    def write(self, path: Path, reporter: Reporter = SILENT) -> int:
        """Write the places and the polygons in them; return how many polygons there are.

        Raises:
            GeosegError: if they cannot be outlined or written.
        """
        if self.crs is DEGREES:
            reporter.notice(f"scenes have several coordinate systems: {path} is in longitude and latitude")
        names = self.names()
        places = [self._written(place, names[place.scene.path]) for place in self.chosen]
        return write_places(places, self._labels(reporter), self.classes, self.crs, path)

    def _written(self, place: ChosenPlace, name: str) -> WrittenPlace:
        shares = sorted(place.class_shares(self.classes).items(), key=lambda one: -one[1])
        words = ", ".join(f"{name} {share:.0%}" for name, share in shares if share > _FEW)
        return WrittenPlace(name, place.uncertainty, words, place.valid_share, self._shape(place))

    def _shape(self, place: ChosenPlace) -> Any:
        """The outline of a place in the coordinate system of the file."""
        info = place.scene.info
        part = PixelGrid(info.height, info.width, info.transform, info.crs).part(place.window)
        corners = [(0, 0), (0, part.height), (part.width, part.height), (part.width, 0)]
        outline = np.array([part.xy(*corner) for corner in corners])
        if self.crs is not DEGREES:
            return shapely.Polygon(outline)
        projection = projection_of(map_crs(info.crs), self.crs, outline)
        moved = np.array([shapely.Polygon(projection.reproject(outline))], object)
        return (projection.split(moved) if projection.crosses_180 else moved)[0]

    def _labels(self, reporter: Reporter) -> Iterator[pa.Table]:
        """The polygons of each place."""
        stage = Stage(reporter, "polygons", len(self.chosen))
        for place in self.chosen:
            yield pa.Table.from_batches(self._layer(place).batches())
            stage.advance(1)

    def _layer(self, place: ChosenPlace) -> PolygonLayer:
        """The polygons of a place: those of the class raster within it alone, so that its outline cuts them."""
        info, legend = place.scene.info, Legend.of(self.classes)
        spec = VectorSpec(min_area=self.spec.min_area, simplify=self.spec.simplify)
        with open_classes(place.scene.landcover) as raster:
            grid = PixelGrid(info.height, info.width, info.transform, info.crs)
            layer = Polygonizer(raster, None, grid, legend, spec, Area(place.window)).run()
        return replace(layer, target=self.crs if self.crs is DEGREES else None)
