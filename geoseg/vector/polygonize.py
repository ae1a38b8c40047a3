"""Polygons of a class raster: generalised strip by strip, traced, then simplified and smoothed arc by arc.

In: a class raster, and a VectorSpec. Out: a PolygonLayer. Writes nothing. What few rasters need is imported where it is
used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import SpecError
from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.geo.aoi import Area
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.class_codes import ClassCodes, find_codes
from geoseg.raster.class_raster import Percentages, open_classes, placement, read_strips
from geoseg.raster.class_values import possible_values
from geoseg.raster.confidence import open_confidence
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.legend import Legend
from geoseg.raster.strips import Strip
from geoseg.spec.vector import GeneralizeSpec, VectorSpec
from geoseg.vector.layer import PolygonLayer, by_class, by_touch
from geoseg.vector.settings import instance_ids, kept_ids, merge_rules, simplify_px, target_crs
from geoseg.vector.trace import Regions, trace

if TYPE_CHECKING:
    from geoseg.vector.instances import Instances

STRIP_CACHE_MB = 64
"""Size of GDAL's cache in megabytes: strips are read in their order, so only one row of blocks is read twice."""

Strips = Callable[[], Iterator[Strip]]
"""Reads a class raster from top to bottom, at each call anew."""


def polygonize(
    classes: str | os.PathLike[str],
    confidence: str | os.PathLike[str] | None,
    legend: Legend,
    spec: VectorSpec = VectorSpec(),  # noqa: B008 (it is frozen)
    reporter: Reporter = SILENT,
) -> PolygonLayer:
    """Make the polygons of a class raster, with its georeferencing.

    Args:
        classes: The class raster.
        confidence: A raster on the same grid with the confidence of each pixel, or None.
        legend: Names and colours of the classes.
        spec: How they are generalised.
        reporter: Gets the progress of `polygons`, in pixels.

    Raises:
        SceneError: A raster cannot be read or is no class raster, or the two differ in their pixels.
        SpecError: A setting makes no sense with this raster.
    """
    with (
        open_polygonizer(classes, confidence, legend, spec) as job,
        TemporaryDirectory() as folder,
        job.numbered(Path(folder)) as instances,
    ):
        return job.run(reporter, instances)


@contextmanager
def open_polygonizer(
    classes: str | os.PathLike[str], confidence: str | os.PathLike[str] | None, legend: Legend, spec: VectorSpec
) -> Iterator[Polygonizer]:
    """Open a class raster to make polygons of it; arguments and errors are those of `polygonize`."""
    with open_classes(classes) as raster:
        grid = grid_of_classes(raster)[0]
        with open_confidence(confidence, grid) as percentages:
            yield Polygonizer(raster, percentages, grid, legend, spec)


class Polygonizer:
    """Makes the polygons of an open class raster; its settings have been checked against the raster."""

    def __init__(
        self,
        raster: Any,
        confidence: Percentages | None,
        grid: PixelGrid,
        legend: Legend,
        spec: VectorSpec,
        area: Area | None = None,
    ):
        if spec.split_instances == "confidence" and confidence is None:
            raise SpecError("instances are split by confidence, and there is none: pass its raster, or take distance")
        self._area = area
        self.part = grid if area is None else grid.part(area.window)
        self._legend, self._spec = legend, spec
        self._target = target_crs(spec, grid, raster.name)
        self._tolerance = simplify_px(spec, self.part)
        possible = possible_values(raster)
        self._kept, self._as_instances = kept_ids(spec, legend, possible), instance_ids(spec, legend, possible)
        with gdal_settings(STRIP_CACHE_MB):
            found = find_codes(raster, area)
        self.codes, self.unmarked = found.codes, found.fill
        self._read = partial(read_strips, raster, confidence, area, found.codes)

    @cached_property
    def strips(self) -> Strips:
        """Reads the generalised raster."""
        with gdal_settings(STRIP_CACHE_MB):
            strips = generalized(self._read, self.part, self.codes.nodata, self._spec)
        if self._area is not None and self._spec.fill_holes is not None:
            strips = partial(within, strips, self._area, self.codes.nodata)
        return strips if self._kept is None else partial(_keep, strips, self._kept, self.codes)

    @contextmanager
    def numbered(self, folder: Path) -> Iterator[Instances | None]:
        """The instances of the generalised raster, kept in a folder until the context ends; None if none are wanted."""
        if self._as_instances is None:
            yield None
            return
        from geoseg.vector.instances import InstanceRules, numbered

        spec = self._spec
        codes = tuple(np.flatnonzero(np.isin(self.codes.values, list(self._as_instances))).tolist())
        rules = InstanceRules(codes, self.codes.nodata, spec.connectivity, spec.split_instances, spec.split_depth)
        with (
            gdal_settings(STRIP_CACHE_MB),
            numbered(self.strips, (self.part.height, self.part.width), rules, folder) as found,
        ):
            yield found

    def run(self, reporter: Reporter = SILENT, instances: Instances | None = None) -> PolygonLayer:
        """Trace, simplify and smooth; `reporter` gets the progress of `polygons`, in pixels."""
        spec, tolerance = self._spec, self._tolerance or 0.0
        regions = self._trace(reporter, instances)
        if tolerance or spec.smooth:
            from geoseg.vector.arcs import cut, join, simplify, smooth

            arcs, regions = cut(regions, self.part.height, self.part.width), regions.without_rings()
            arcs = simplify(arcs, tolerance) if tolerance else arcs
            regions = join(smooth(arcs, max(1.0, tolerance**2)) if spec.smooth else arcs, regions)
            del arcs
        features = None
        if spec.dissolve or spec.connectivity == 8:
            regions, features = by_class(regions) if spec.dissolve else by_touch(regions)
        return PolygonLayer(regions, self.part.transform, self.part.crs, self._legend, features, self._target)

    def _trace(self, reporter: Reporter, instances: Instances | None) -> Regions:
        """Trace the regions of classes, and those of instances apart from each other."""
        strips, numbers = self.strips, None
        if instances is not None:
            from geoseg.vector.instances import InstanceCodes

            numbers = InstanceCodes(instances, 1 + max(len(self.codes.values), self.codes.nodata))
            strips = partial(numbers.mark, strips)
        with gdal_settings(STRIP_CACHE_MB):
            regions = trace(_counted(strips(), self.part, reporter), self.part.width, self.codes.nodata)
        regions = regions if numbers is None else numbers.part(regions)
        return replace(regions, class_id=self.codes.decode(regions.class_id))


def grid_of_classes(raster: Any) -> tuple[PixelGrid, str | None]:
    """Grid of an open raster, and a notice if it is not georeferenced."""
    transform, crs, notice = placement(raster)
    return PixelGrid(raster.height, raster.width, transform, crs), notice


def generalized(strips: Strips, grid: PixelGrid, nodata: int, spec: GeneralizeSpec) -> Strips:
    """Generalise a class raster: majority filter, filling of holes, merging of small regions.

    Raises:
        SpecError: Areas are given in square metres, but the raster's pixels have no size in metres.
    """
    if spec.majority is not None:
        strips = partial(_filtered, strips, spec.majority, nodata)
    if spec.min_area is None and spec.fill_holes is None:
        return strips
    from geoseg.vector.generalize.merge import plan_merge
    from geoseg.vector.generalize.regions import count_regions

    row_area, rules = merge_rules(spec, grid)
    graph = count_regions(strips(), grid.width, grid.height, row_area)
    class_id = plan_merge(graph, rules, nodata)
    return partial(_relabelled, strips, grid.width, graph, class_id)


def within(strips: Strips, area: Area, nodata: int) -> Iterator[Strip]:
    """Yield the strips with nodata outside an area of interest, where holes must not be filled."""
    for strip in strips():
        window = Window(area.window.row + strip.row, area.window.col, *strip.ids.shape)
        yield replace(strip, ids=np.where(area.mask(window), strip.ids, strip.ids.dtype.type(nodata)))


def _filtered(strips: Strips, side: int, nodata: int) -> Iterator[Strip]:
    from geoseg.vector.generalize.majority import majority_filter

    return majority_filter(strips(), side, nodata)


def _relabelled(strips: Strips, width: int, graph: Any, class_id: NDArray[Any]) -> Iterator[Strip]:
    from geoseg.vector.generalize.regions import relabel

    return relabel(strips(), width, graph, class_id)


def _keep(strips: Strips, kept: frozenset[int], codes: ClassCodes) -> Iterator[Strip]:
    """Yield the strips with only some classes; the others become nodata."""
    for strip in strips():
        table = np.full(max(len(codes.values), codes.nodata) + 1, codes.nodata, strip.ids.dtype)
        codes_kept = np.flatnonzero(np.isin(codes.values, list(kept)))
        table[codes_kept] = codes_kept
        yield replace(strip, ids=table[strip.ids])


def _counted(strips: Iterator[Strip], grid: PixelGrid, reporter: Reporter) -> Iterator[Strip]:
    for strip in strips:
        yield strip
        reporter.progress(Progress("polygons", strip.stop * grid.width, grid.height * grid.width))
