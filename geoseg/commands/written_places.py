"""Chosen windows of scenes written as places, with the polygons of the classes in them.

In: classified scenes, and which of their windows are chosen. Out: a GeoPackage in the coordinate system of the scenes,
or in longitude and latitude if they have several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyproj import CRS

from geoseg.commands.suggest_scenes import ScannedScene
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.naming import shown_names
from geoseg.geo.aoi import Area
from geoseg.geo.grid import Window
from geoseg.geo.outlines import DEGREES, common_crs, outline
from geoseg.outputs.places import SuggestedPlaces, write_places
from geoseg.raster.class_raster import open_classes
from geoseg.raster.legend import Legend
from geoseg.spec import ClassSpec, VectorSpec
from geoseg.spec.suggest import PlacesSpec
from geoseg.vector.layer import PolygonLayer
from geoseg.vector.polygonize import Polygonizer

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
        return common_crs([one.info.crs for one in self.scenes])

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
        places = SuggestedPlaces(
            scenes=[names[place.scene.path] for place in self.chosen],
            uncertainty=[place.uncertainty for place in self.chosen],
            classes=[self._words(place) for place in self.chosen],
            valid_shares=[place.valid_share for place in self.chosen],
            shapes=[outline(place.scene.info.grid, place.window, self.crs) for place in self.chosen],
        )
        return write_places(places.table(), self._labels(reporter), self.classes, self.crs, path)

    def _words(self, place: ChosenPlace) -> str:
        """The predicted classes of a place with their shares."""
        shares = sorted(place.class_shares(self.classes).items(), key=lambda one: -one[1])
        return ", ".join(f"{name} {share:.0%}" for name, share in shares if share > _FEW)

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
            layer = Polygonizer(raster, None, info.grid, legend, spec, Area(place.window)).run()
        return replace(layer, target=self.crs if self.crs is DEGREES else None)
