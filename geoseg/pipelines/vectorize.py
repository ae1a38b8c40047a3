"""`geoseg vectorize`: a class raster becomes a vector file of polygons.

What goes in: the path of any single-band raster of whole numbers. What comes out: a vector file and a result that
describes it. The raster is read in strips, so memory depends on its polygons and not on its size.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.aoi import Area, find_area
from geoseg.arcs import cut, join, simplify, smooth
from geoseg.crs import same_plane
from geoseg.errors import OutputError, SceneError, SpecError
from geoseg.files import one_line
from geoseg.formats import check_extension, write_polygons
from geoseg.generalize import MergeRules, count_regions, majority_filter, plan_merge, relabel
from geoseg.georef import PixelGrid
from geoseg.grid import Window
from geoseg.ground import pixel_size_m, row_areas_m2, whole_turn
from geoseg.naming import layer_name
from geoseg.pipelines.check import PolygonCheck, check_polygons
from geoseg.pipelines.class_raster import (
    count_ids,
    free_id,
    open_classes,
    open_raster,
    own_nodata,
    placement,
    read_legend,
    read_strips,
)
from geoseg.pipelines.gdal import gdal_settings
from geoseg.pipelines.outputs import check_names
from geoseg.polygons import Legend, PolygonLayer, by_class, by_touch
from geoseg.spec import NODATA_ID, VectorSpec, parse_spec
from geoseg.spec.vector import PX, Measure
from geoseg.styles import add_layer_style, shared_qml, style_paths, vector_qml, vector_sld, write_style_files
from geoseg.trace import Strip, trace

__all__ = ["VectorizeResult", "polygonize", "vectorize"]

Progress = Callable[[int, int], None]
"""(pixels done, pixels in all)."""

CACHE_MB = 64
"""GDAL's cache: strips are read one after another, so that a row of blocks is all that is read twice."""

RASTER_ENDS = (".tif", ".tiff")
"""Endings of class rasters whose styles go by the same names as those of polygons."""

Strips = Callable[[], Iterator[Strip]]
"""Reads a class raster from top to bottom, as often as it is called."""


@dataclass(frozen=True)
class VectorizeResult:
    """What `vectorize` made."""

    output: Path
    """The vector file."""
    polygons: int
    """How many polygons are in it."""
    class_shares: Mapping[str, float]
    """Share of each class in the area of the polygons, 0..1, by name in the order of class ids."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """What the user should know of: a sentence each."""
    check: PolygonCheck | None = None
    """What became of the raster, if that was asked for."""


def vectorize(
    raster: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    check: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> VectorizeResult:
    """Write the regions of a class raster as polygons, in the format of the output's extension.

    Args:
        raster: any raster with a single band of whole numbers.
        output: .gpkg, .shp, .geojson, .fgb or .parquet.
        overwrite: replace a file that exists.
        check: read the polygons back and hold them against the raster.
        progress: called with the pixels done and the pixels in all.
        settings: fields of VectorSpec.

    Raises:
        SceneError: The raster cannot be read, or is no class raster.
        SpecError: A setting makes no sense, or not with this raster.
        OutputError: The output exists, names no format, or cannot be written.
    """
    started = time.perf_counter()
    spec = parse_spec(VectorSpec, settings, source="settings")
    output = Path(output)
    check_output(output, overwrite)
    with open_classes(raster) as opened:
        legend, unread = read_legend(opened)
        grid, unplaced = _placed(opened)
        if check:
            _check_checkable(grid, spec, output)
        job = _Job(opened, None, grid, legend, spec)
        layer = job.run(progress)
        other = _owner_of_styles(output, overwrite)
        write_polygons(layer, output, finish=partial(_style, layer, output.stem, is_alone=other is None))
        found = _checked(output, job) if check else None
    unstyled = f"the styles of {output} were not written, because of {other}" if other else None
    unmarked = _told_of_unmarked(job.unmarked_px)
    nothing = None if len(layer) else "the raster shows no class here: the layer is empty"
    notices = tuple(notice for notice in (unplaced, unread, unstyled, unmarked, nothing) if notice)
    return VectorizeResult(output, len(layer), class_shares(layer), time.perf_counter() - started, notices, found)


def polygonize(
    classes: str | os.PathLike[str],
    confidence: str | os.PathLike[str] | None,
    legend: Legend,
    spec: VectorSpec = VectorSpec(),  # noqa: B008 (it is frozen)
    progress: Progress | None = None,
) -> PolygonLayer:
    """The polygons of a class raster where it lies.

    Args:
        classes: The class raster.
        confidence: A raster of the same size with the confidence of each pixel in percent (uint8), or None.
        legend: Names and colours of the classes.
        spec: How they are generalised.
        progress: Called with the pixels done and the pixels in all.

    Raises:
        SceneError: A raster cannot be read or is no class raster, or the two differ in size.
        SpecError: A setting makes no sense with this raster.
    """
    with open_classes(classes) as raster, ExitStack() as stack:
        weights = None if confidence is None else stack.enter_context(open_raster(confidence))
        if weights is not None and weights.shape != raster.shape:
            raise SceneError(f"{weights.name} is {weights.shape} pixels, {raster.name} is {raster.shape}")
        return _Job(raster, weights, _placed(raster)[0], legend, spec).run(progress)


def check_settings(spec: VectorSpec, grid: PixelGrid, legend: Legend, name: str) -> None:
    """Find out before anything is read or classified that settings make no sense with a raster.

    Raises:
        SpecError: which, and what to do.
    """
    _target_crs(spec, grid, name)
    _simplify_px(spec, grid)
    _kept_ids(spec, legend)
    if spec.min_area is not None or spec.fill_holes is not None:
        _merge_rules(spec, grid)


class _Job:
    """An open class raster and its settings, held against each other."""

    def __init__(self, raster: Any, confidence: Any | None, grid: PixelGrid, legend: Legend, spec: VectorSpec):
        area = find_area(grid, spec.aoi, spec.bbox, raster.name)
        self._area = area
        self.part = grid if area is None else grid.part(area.window)
        self._legend, self._spec = legend, spec
        self._target = _target_crs(spec, grid, raster.name)
        self._tolerance = _simplify_px(spec, self.part)
        self._kept = _kept_ids(spec, legend)
        self.nodata, self.unmarked_px = _find_nodata(raster, area)
        self._read = partial(read_strips, raster, confidence, area, self.nodata)

    @cached_property
    def strips(self) -> Strips:
        """The generalised raster."""
        with gdal_settings(CACHE_MB):
            strips = generalized(self._read, self.part, self.nodata, self._spec)
        if self._area is not None and self._spec.fill_holes is not None:
            strips = partial(within, strips, self._area, self.nodata)
        return strips if self._kept is None else partial(_keep, strips, self._kept, self.nodata)

    def run(self, progress: Progress | None) -> PolygonLayer:
        """Trace and simplify."""
        spec = self._spec
        with gdal_settings(CACHE_MB):
            regions = trace(_counted(self.strips(), self.part, progress), self.part.width, self.nodata)
        if self._tolerance is not None or spec.smooth:
            tolerance = self._tolerance or 0.0
            arcs, regions = cut(regions, self.part.height, self.part.width), regions.without_rings()
            arcs = simplify(arcs, tolerance) if tolerance else arcs
            regions = join(smooth(arcs, max(1.0, tolerance**2)) if spec.smooth else arcs, regions)
            del arcs
        features = None
        if spec.dissolve or spec.connectivity == 8:
            regions, features = by_class(regions) if spec.dissolve else by_touch(regions)
        return PolygonLayer(regions, self.part.transform, self.part.crs, self._legend, features, self._target)


def _find_nodata(raster: Any, area: Area | None) -> tuple[int, int]:
    """The class id that stands for nodata, and how many pixels have the value 255 where the raster names none."""
    if (own := own_nodata(raster)) is not None:
        return own, 0
    with gdal_settings(CACHE_MB):
        counts = count_ids(raster, area)
    return free_id(counts), int(counts[NODATA_ID])


def _told_of_unmarked(pixels: int) -> str | None:
    """Tell that 255, which is nodata in many rasters, is a class in one that does not say so."""
    if not pixels:
        return None
    return (
        f"the raster names no nodata value, so that 255 ({pixels:,} px) is a class: if it means nodata, say so with "
        "gdal_edit.py -a_nodata 255"
    )


def _checked(output: Path, job: _Job) -> PolygonCheck:
    try:
        return check_polygons(output, job.strips(), job.part, job.nodata)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{output} is written, but cannot be checked: {one_line(error)}") from None


def _placed(raster: Any) -> tuple[PixelGrid, str | None]:
    """Where the pixels of an open raster lie, and a notice if that isn't on the map."""
    transform, crs, unplaced = placement(raster)
    return PixelGrid(raster.height, raster.width, transform, crs), unplaced


def _check_checkable(grid: PixelGrid, spec: VectorSpec, output: Path) -> None:
    """Refuse to check what leaves the raster's coordinates."""
    leaves = output.suffix.lower() in (".geojson", ".json") and grid.crs is not None and not _is_geojson(grid)
    if spec.to_crs is not None or leaves:
        remedy = "leave out to_crs" if spec.to_crs is not None else "write another format than GeoJSON"
        raise SpecError(f"only polygons in the raster's CRS can be checked: {remedy}")


def _is_geojson(grid: PixelGrid) -> bool:
    """Whether a raster's coordinates are those that GeoJSON has: longitudes up to 180° on WGS 84."""
    left, _, right, _ = grid.box(Window(0, 0, grid.height, grid.width))
    return same_plane(grid.crs, "EPSG:4326") and left >= -180 and right <= 180


def _style(layer: PolygonLayer, name: str, draft: Path, *, is_alone: bool) -> None:
    """Style polygons that were written: inside of a GeoPackage, beside other files if no other has styles there."""
    classes = layer.legend.classes(np.unique(layer.regions.class_id).tolist())
    sld = vector_sld(classes, layer_name(name))
    if draft.suffix.lower() == ".gpkg":
        add_layer_style(draft, layer_name(name), vector_qml(classes), sld)
    elif is_alone:
        write_style_files(draft, shared_qml(classes), sld)


def _owner_of_styles(output: Path, overwrite: bool) -> Path | None:
    """What has the names that the styles of the polygons would have: a class raster, or files that may not go."""
    if output.suffix.lower() == ".gpkg":
        return None
    raster = next((path for end in RASTER_ENDS if (path := output.with_suffix(end)).exists()), None)
    existing = next((path for path in style_paths(output) if path.exists()), None)
    return raster or (None if overwrite else existing)


# ------------------------------------------------------------------------------------------------------------ stages


def generalized(strips: Strips, grid: PixelGrid, nodata: int, spec: VectorSpec) -> Strips:
    """The same raster with specks voted away, holes filled, and small regions merged.

    Raises:
        SpecError: Areas are given in square metres, but the raster has no size on the ground.
    """
    if spec.majority is not None:
        strips = partial(_filtered, strips, spec.majority, nodata)
    if spec.min_area is None and spec.fill_holes is None:
        return strips
    row_area, rules = _merge_rules(spec, grid)
    graph = count_regions(strips(), grid.width, grid.height, row_area)
    class_id = plan_merge(graph, rules, nodata)
    return partial(_relabelled, strips, grid.width, graph, class_id)


def within(strips: Strips, area: Area, nodata: int) -> Iterator[Strip]:
    """The same raster with nodata outside of an area of interest, whose holes must not be filled."""
    for row, ids, confidence in strips():
        window = Window(area.window.row + row, area.window.col, *ids.shape)
        yield row, np.where(area.mask(window), ids, np.uint8(nodata)), confidence


def _filtered(strips: Strips, side: int, nodata: int) -> Iterator[Strip]:
    return majority_filter(strips(), side, nodata)


def _relabelled(strips: Strips, width: int, graph: Any, class_id: NDArray[np.uint8]) -> Iterator[Strip]:
    return relabel(strips(), width, graph, class_id)


def _keep(strips: Strips, kept: frozenset[int], nodata: int) -> Iterator[Strip]:
    """Only some classes; the others become nodata."""
    table = np.array([k if k in kept else nodata for k in range(256)], np.uint8)
    return ((row, table[ids], confidence) for row, ids, confidence in strips())


def _counted(strips: Iterator[Strip], grid: PixelGrid, progress: Progress | None) -> Iterator[Strip]:
    for strip in strips:
        yield strip
        if progress is not None:
            progress((strip[0] + len(strip[1])) * grid.width, grid.height * grid.width)


def _in_px(measure: Measure) -> float | None:
    """A measure that was given in pixels; None for one in metres."""
    return float(measure.removesuffix(PX)) if isinstance(measure, str) and measure.endswith(PX) else None


def _merge_rules(spec: VectorSpec, grid: PixelGrid) -> tuple[NDArray[np.float64], MergeRules]:
    """Area of a pixel in each row, and what is too small, in the same unit: square metres, or pixels if all are."""
    given = {"fill_holes": spec.fill_holes, "min_area": spec.min_area}
    wanted = {name: measure for name, measure in given.items() if measure is not None}
    in_px = {name: pixels for name, measure in wanted.items() if (pixels := _in_px(measure)) is not None}
    if len(in_px) == len(wanted):
        return np.ones(grid.height), MergeRules(**in_px)
    row_area = row_areas_m2(grid.crs, grid.transform, grid.height, grid.width)
    if row_area is None:
        name = next(name for name in wanted if name not in in_px)
        raise SpecError(f"{name} = {wanted[name]}: the raster has no size on the ground: give pixels, e.g. 9px")
    middle = float(np.median(row_area))
    sizes = {name: in_px[name] * middle if name in in_px else float(measure) for name, measure in wanted.items()}
    return row_area, MergeRules(**sizes)


def _simplify_px(spec: VectorSpec, grid: PixelGrid) -> float | None:
    """Tolerance in sides of a pixel."""
    if spec.simplify is None:
        return None
    if (pixels := _in_px(spec.simplify)) is not None:
        return pixels
    size = pixel_size_m(grid.crs, grid.transform, grid.height, grid.width)
    if size is None:
        raise SpecError(f"simplify = {spec.simplify}: the raster has no size on the ground: give pixels, e.g. 1px")
    return float(spec.simplify) / math.sqrt(size[0] * size[1])


def _kept_ids(spec: VectorSpec, legend: Legend) -> frozenset[int] | None:
    """Ids of the classes that become polygons; None for all."""
    if spec.classes is None:
        return None
    by_name = {name: k for k, name in legend.names.items()}
    unknown = [name for name in spec.classes if name not in by_name and not (name.isdecimal() and int(name) < 256)]
    if unknown:
        known = ", ".join(legend.names.values())
        remedy = f"there are {known}" if known else "the raster names none: give their ids, e.g. 1,2"
        raise SpecError(f"classes = {unknown[0]!r}: no such class; {remedy}")
    return frozenset(by_name[name] if name in by_name else int(name) for name in spec.classes)


def _target_crs(spec: VectorSpec, grid: PixelGrid, name: str) -> CRS | None:
    """The coordinate system that polygons are brought into, if it isn't the raster's."""
    if spec.to_crs is None:
        return None
    if grid.crs is None:
        raise SpecError(f"to_crs = {spec.to_crs!r}: {name} has no CRS to start from: leave it out")
    try:
        target = CRS.from_user_input(spec.to_crs)
    except ProjError:
        raise SpecError(f"to_crs = {spec.to_crs!r}: no such coordinate system: give e.g. EPSG:4326") from None
    if not (target.is_geographic or target.is_projected):
        raise SpecError(f"to_crs = {spec.to_crs!r}: {target.name} is no system of maps: give e.g. EPSG:4326")
    if not _comes_back(grid, target):
        raise SpecError(f"to_crs = {spec.to_crs!r}: {name} reaches beyond what {target.name} can show: give another")
    return target


def _comes_back(grid: PixelGrid, target: CRS) -> bool:
    """Whether places all over a raster are where they were, to a pixel, after the way into a system and back."""
    columns, rows = np.meshgrid(np.linspace(0, grid.width, 9), np.linspace(0, grid.height, 9))
    t = grid.transform
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    try:
        source = CRS.from_user_input(grid.crs)
        there = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
        back = Transformer.from_crs(target, source, always_xy=True).transform(*there)
    except ProjError:  # a local system leads nowhere
        return False
    if not np.isfinite(np.stack([*there, *back])).all() or _is_torn(there, target):
        return False
    turn = whole_turn(source, grid.box(Window(0, 0, grid.height, grid.width)))
    off = back[0] - x if turn is None else np.remainder(back[0] - x + turn / 2, turn) - turn / 2
    return bool(np.hypot(off, back[1] - y).max() < grid.step)


def _is_torn(places: tuple[NDArray[np.float64], NDArray[np.float64]], target: CRS) -> bool:
    """Whether neighbours (9, 9) on a map of the world lie at its two ends; longitudes are led on, other x are not."""
    x, y = places
    turn = None if target.is_geographic else whole_turn(target, (x.min(), y.min(), x.max(), y.max()))
    return turn is not None and max(np.abs(np.diff(x, axis=axis)).max() for axis in (0, 1)) > turn / 2


# ------------------------------------------------------------------------------------------------------------ checks


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse what could not be written in the end, before any work is done.

    Raises:
        OutputError: The extension is unknown, or the file exists and may not be replaced.
    """
    check_extension(output)
    check_names([output])
    if output.is_dir():
        raise OutputError(f"{output} is a folder: choose another name")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists: choose another name or pass --overwrite")


def class_shares(layer: PolygonLayer) -> dict[str, float]:
    """Share of each class in the pixels of all regions, by name in the order of class ids."""
    pixels = np.bincount(layer.regions.class_id, weights=layer.regions.pixels)
    return {layer.legend.name(int(k)): float(pixels[k] / pixels.sum()) for k in np.flatnonzero(pixels)}
