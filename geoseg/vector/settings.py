"""Polygon settings resolved for one raster: metres as pixels, class names as ids, a target CRS that fits."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.core.errors import SpecError
from geoseg.geo.geodesy import EVEN, pixel_size_m, row_areas_m2, x_period
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.legend import Legend
from geoseg.spec.vector import PX, GeneralizeSpec, Measure, VectorSpec
from geoseg.vector.generalize.rules import MergeRules

_BYTES = range(256)
_NUMBER = re.compile(r"-?[0-9]{1,19}")


def check_settings(spec: VectorSpec, grid: PixelGrid, legend: Legend, name: str) -> None:
    """Check settings against a raster before anything is read or classified.

    Raises:
        SpecError: if one makes no sense with it.
    """
    target_crs(spec, grid, name)
    simplify_px(spec, grid)
    kept_ids(spec, legend)
    instance_ids(spec, legend)
    if spec.min_area is not None or spec.fill_holes is not None:
        merge_rules(spec, grid)


def _in_px(measure: Measure) -> float | None:
    """A length or area given in pixels; None for one in metres."""
    return float(measure.removesuffix(PX)) if isinstance(measure, str) and measure.endswith(PX) else None


def merge_rules(spec: GeneralizeSpec, grid: PixelGrid) -> tuple[NDArray[np.float64], MergeRules]:
    """Area of a pixel in each row (H,), and the areas below which regions and holes are merged, all in one unit.

    The unit is the pixel where all settings are in pixels, else the square metre.

    Raises:
        SpecError: if an area is in square metres and the pixels have no size in metres.
    """
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
    if np.ptp(row_area) <= EVEN * middle:  # regions of as many pixels are equally large wherever they lie
        row_area = np.full_like(row_area, middle)
    sizes = {name: in_px[name] * middle if name in in_px else float(measure) for name, measure in wanted.items()}
    return row_area, MergeRules(**sizes)


def simplify_px(spec: VectorSpec, grid: PixelGrid) -> float | None:
    """Tolerance of simplification in pixel sides; None for no simplification.

    Raises:
        SpecError: if it is in metres and the pixels have no size in metres.
    """
    if spec.simplify is None:
        return None
    if (pixels := _in_px(spec.simplify)) is not None:
        return pixels
    size = pixel_size_m(grid.crs, grid.transform, grid.height, grid.width)
    if size is None:
        raise SpecError(f"simplify = {spec.simplify}: the raster has no size on the ground: give pixels, e.g. 1px")
    return float(spec.simplify) / math.sqrt(size[0] * size[1])


def kept_ids(spec: VectorSpec, legend: Legend, most: range = _BYTES) -> frozenset[int] | None:
    """Ids of the classes that become polygons; None for all. Those without a name are among the values of `most`.

    Raises:
        SpecError: if a name is not in the legend.
    """
    return None if spec.classes is None else _ids_of("classes", spec.classes, legend, most)


def instance_ids(spec: VectorSpec, legend: Legend, most: range = _BYTES) -> frozenset[int] | None:
    """Ids of the classes whose regions are instances; None for none. Those without a name are among `most`.

    Raises:
        SpecError: if a name is not in the legend, or the class becomes no polygons.
    """
    if spec.instances is None:
        return None
    found, kept = _ids_of("instances", spec.instances, legend, most), kept_ids(spec, legend, most)
    left_out = sorted(found - kept) if kept is not None else []
    if left_out:
        name = legend.name(left_out[0])
        raise SpecError(f"instances = {name!r}: it is not among the classes that become polygons: name it there, too")
    return found


def _ids_of(setting: str, names: tuple[str, ...], legend: Legend, most: range) -> frozenset[int]:
    """Ids of classes by name or number."""
    named = set(legend.names.values())
    unknown = [name for name in names if name not in named and not (_NUMBER.fullmatch(name) and int(name) in most)]
    if unknown:
        known = ", ".join(legend.names.values())
        remedy = f"there are {known}" if known else "the raster names none: give their ids, e.g. 1,2"
        raise SpecError(f"{setting} = {unknown[0]!r}: no such class; {remedy}")
    by_number = {int(name) for name in names if name not in named}
    return frozenset(by_number | {k for k, name in legend.names.items() if name in names})


def target_crs(spec: VectorSpec, grid: PixelGrid, name: str) -> CRS | None:
    """The coordinate system to which polygons are reprojected; None for the raster's own.

    Raises:
        SpecError: if it is unknown, or the raster cannot be transformed to it.
    """
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
    if not _survives_round_trip(grid, target):
        raise SpecError(f"to_crs = {spec.to_crs!r}: {name} reaches beyond what {target.name} can show: give another")
    return target


def _survives_round_trip(grid: PixelGrid, target: CRS) -> bool:
    """Whether points all over a raster come back to a pixel when transformed to a system and back again."""
    columns, rows = np.meshgrid(np.linspace(0, grid.width, 9), np.linspace(0, grid.height, 9))
    t = grid.transform
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    try:
        source = CRS.from_user_input(grid.crs)
        there = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
        back = Transformer.from_crs(target, source, always_xy=True).transform(*there)
    except ProjError:  # there is no transformation from a local system
        return False
    if not np.isfinite(np.stack([*there, *back])).all() or _is_torn(there, target):
        return False
    period = x_period(source, grid.box(Window(0, 0, grid.height, grid.width)))
    off = back[0] - x if period is None else np.remainder(back[0] - x + period / 2, period) - period / 2
    return bool(np.hypot(off, back[1] - y).max() < grid.step)


def _is_torn(points: tuple[NDArray[np.float64], NDArray[np.float64]], target: CRS) -> bool:
    """Whether neighbours among points (9, 9) lie at both ends of a world map; only longitudes are unwrapped later."""
    x, y = points
    period = None if target.is_geographic else x_period(target, Box(x.min(), y.min(), x.max(), y.max()))
    return period is not None and max(np.abs(np.diff(x, axis=axis)).max() for axis in (0, 1)) > period / 2
