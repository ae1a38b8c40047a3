"""Comparison of horizontal coordinate systems, and short names for them.

In: coordinate systems of rasterio or pyproj, or as text. Out: whether they are equal, what differs, names. The same
horizontal system may be given with or without heights, with a datum shift of zero, as EPSG code, PROJ string or WKT of
ESRI.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

NAME_LETTERS = 60
"""Most characters of a name; longer ones are cut."""
SAMPLE_POINTS = np.stack(np.meshgrid(np.arange(-179.0, 180, 14), np.arange(-88.0, 89, 11)), axis=-1).reshape(-1, 2)
"""Longitudes and latitudes (V, 2), in degrees, at which projections are compared."""
SAME_M = 1e-3
"""Projections are equal if no sample differs by more metres: parameters are rounded when they are written as text."""
AXES_ROUNDED = 5e-12
"""Relative difference of axes that counts as rounding: the semi-minor axes of GRS 80 and WGS 84 differ by more."""
UNIT_ROUNDED = 1e-7
"""Relative difference of units that counts as rounding: the US survey foot is longer than the foot by 2e-6."""
FLATTENING_ROUNDED = 1e-8
"""The same for axes of ellipsoids of one name, whose flattening some programs write with three decimals."""
EARTH_CENTRED = ("WGS 84", "GRS 1980", "GRS 80")
"""Ellipsoids whose datums lie within metres of WGS 84: any shift to it means another datum."""


def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a coordinate system: without datum shift, vertical system and third dimension."""
    if crs.is_bound and crs.source_crs is not None:
        return horizontal(crs.source_crs)
    if crs.is_compound:
        return horizontal(crs.sub_crs_list[0])
    return crs.to_2d()


def map_crs(crs: Any) -> CRS | None:
    """The system in which the map of a raster lies, without heights: that of flat geometry.

    Of a compound or three-dimensional system it is the horizontal part, with the code by which most programs know it: a
    code in the file stands for PROJ's definition, whose parts have codes, unless the file defines something else under
    it. None if there is no system, or it makes no sense to PROJ.
    """
    try:
        found = CRS.from_user_input(crs) if crs else None
        if found is None or not (found.is_compound or len(found.axis_info) > 2):
            return found
        known = _by_code(crs)
        if known is not None and _same_ellipsoid(known.ellipsoid, found.ellipsoid):
            one, other = horizontal(known), horizontal(found)
            if _kind(one) == _kind(other) and _projection_difference(one, other) is None:
                return one
        return horizontal(found)
    except (ProjError, ValueError):
        return None


def crs_code(crs: Any) -> str | None:
    """Code of a system, as in EPSG:32617; of a compound one also if PROJ defines its parts otherwise than the file.

    Raises:
        ProjError: if it makes no sense to PROJ.
    """
    found = CRS.from_user_input(crs)
    code = _authority(crs) if found.is_compound else found.to_authority()
    return None if code is None else ":".join(code)


def _by_code(crs: Any) -> CRS | None:
    """The system under the code that rasterio or pyproj finds in a file's."""
    code = _authority(crs)
    return None if code is None else CRS.from_authority(*code)


def _authority(crs: Any) -> tuple[str, str] | None:
    system = crs if hasattr(crs, "to_authority") else CRS.from_user_input(crs)
    found: tuple[str, str] | None = system.to_authority()
    return found


def same_horizontal_crs(one: Any, other: Any) -> bool:
    """Whether two systems give the same coordinates to a point, heights aside; None equals only None."""
    return horizontal_difference(one, other) is None


def horizontal_difference(one: Any, other: Any) -> str | None:
    """In which way two horizontal systems differ, in a few words; None if they are equal."""
    if not one or not other:
        return None if not one and not other else "one has no coordinate system"
    texts = _text(one), _text(other)
    return None if texts[0] == texts[1] else _difference(*texts)


def can_transform(source: Any, target: Any) -> bool:
    """Whether coordinates can be transformed between two systems: both projected or geographic, or equal."""
    return same_horizontal_crs(source, target) or (is_map_crs(source) and is_map_crs(target))


def is_map_crs(crs: Any) -> bool:
    """Whether a coordinate system is known and lies on the earth: projected or geographic, not local."""
    return bool(crs) and _is_map(_text(crs))


@lru_cache(maxsize=256)
def _is_map(text: str) -> bool:
    try:
        plane = horizontal(CRS.from_user_input(text))
    except ProjError:
        return False
    return bool(plane.is_projected or plane.is_geographic)


def crs_number(crs: Any, known: list[Any]) -> int:
    """Index of a coordinate system in a list of different ones, to which it is added if it is not there."""
    for number, one in enumerate(known):
        if same_horizontal_crs(one, crs):
            return number
    known.append(crs)
    return len(known) - 1


def crs_name(crs: Any) -> str:
    """Code or name of a coordinate system, in a few words."""
    return "no CRS" if not crs else _name(_text(crs))


def crs_title(crs: Any) -> str:
    """Code and name of a coordinate system: EPSG:32617, WGS 84 / UTM zone 17N."""
    code = crs_name(crs)
    try:
        name = CRS.from_user_input(_text(crs)).name if crs else ""
    except ProjError:
        name = ""
    return code if not name or name in code or ":" not in code else f"{code}, {name}"


def _text(crs: Any) -> str:
    return str(crs if isinstance(crs, str) else crs.to_wkt())


@lru_cache(maxsize=256)
def _name(text: str) -> str:
    try:
        crs = CRS.from_user_input(text)
    except ProjError:
        return "an unreadable CRS"
    if (authority := crs.to_authority(min_confidence=100)) is not None:
        return ":".join(authority)
    if crs.name.lower() not in ("unknown", "unnamed", "undefined", ""):
        return crs.name if len(crs.name) <= NAME_LETTERS else f"{crs.name[: NAME_LETTERS - 3]}..."
    operation = horizontal(crs).coordinate_operation
    return f"an unnamed system ({crs.type_name if operation is None else operation.method_name})"


@lru_cache(maxsize=1024)
def _difference(one: str, other: str) -> str | None:
    try:
        a, b = horizontal(CRS.from_user_input(one)), horizontal(CRS.from_user_input(other))
        if a.equals(b, ignore_axis_order=True):
            return None
        if _kind(a) != _kind(b):
            return f"{_kind(a)} against {_kind(b)}"
        if _kind(a) == _LOCAL:
            return _contrast("unit", _unit(a), _unit(b)) or "local systems of two kinds"
        return _datum_difference(a, b) or _projection_difference(a, b)
    except ProjError:
        return "one makes no sense to PROJ"


_LOCAL = "a local system"


def _kind(crs: CRS) -> str:
    if crs.is_projected:
        return "a projection"
    return "longitude and latitude" if crs.is_geographic else _LOCAL


def _contrast(what: str, one: str, other: str) -> str | None:
    """Two names in words, if they differ."""
    return None if one == other else f"{what} {one} against {other}"


def _unit(crs: CRS) -> str:
    return str(crs.axis_info[0].unit_name) if crs.axis_info else "unknown"


def _datum_difference(a: CRS, b: CRS) -> str | None:
    one, other = a.geodetic_crs, b.geodetic_crs
    if one is None or other is None or one.equals(other, ignore_axis_order=True):
        return None
    names = _datum_name(one), _datum_name(other)
    if not _same_ellipsoid(one.ellipsoid, other.ellipsoid):
        ellipsoids = f"ellipsoid {_name_of(one.ellipsoid)} against {_name_of(other.ellipsoid)}"
        return ellipsoids if any(map(_is_unnamed, names)) else _contrast("datum", *names) or ellipsoids
    if _greenwich(one.prime_meridian) != _greenwich(other.prime_meridian):
        return f"prime meridian {_name_of(one.prime_meridian)} against {_name_of(other.prime_meridian)}"
    return None if _may_be_the_same(names, _name_of(one.ellipsoid)) else _contrast("datum", *names)


def _name_of(thing: Any) -> str:
    return "unknown" if thing is None else str(thing.name)


def _same_ellipsoid(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    tolerance = FLATTENING_ROUNDED if one.name == other.name else AXES_ROUNDED
    ratios = one.semi_major_metre / other.semi_major_metre, one.semi_minor_metre / other.semi_minor_metre
    return all(abs(ratio - 1) <= tolerance for ratio in ratios)


def _greenwich(meridian: Any) -> float:
    """Longitude of a prime meridian from Greenwich in degrees, rounded."""
    degrees = 0.0 if meridian is None else np.degrees(meridian.longitude * meridian.unit_conversion_factor)
    return round(float(degrees), 9)


def _datum_name(crs: CRS) -> str:
    """Name of a datum without the parts that only some programs write."""
    name = "unknown" if crs.datum is None else str(crs.datum.name)
    return name.removesuffix(" ensemble").removeprefix("D_").replace("_", " ")


def _may_be_the_same(names: tuple[str, str], ellipsoid: str) -> bool:
    """Whether one of two datums has no name, and no shift to WGS 84 that makes it another one."""
    unnamed = [name for name in names if _is_unnamed(name)]
    return bool(unnamed) and not (ellipsoid in EARTH_CENTRED and any(map(_is_shifted, unnamed)))


def _is_unnamed(datum: str) -> bool:
    return re.match(r"unknown|not specified|unnamed", datum, re.IGNORECASE) is not None


def _is_shifted(datum: str) -> bool:
    """Whether PROJ's name for an unnamed datum has a shift to WGS 84 other than 0."""
    numbers = datum.partition("towgs84=")[2]
    return any(float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", numbers))


def _projection_difference(a: CRS, b: CRS) -> str | None:
    """In which way two projections differ, each from longitude and latitude on its own datum."""
    factors = [crs.axis_info[0].unit_conversion_factor for crs in (a, b)]
    if abs(factors[0] / factors[1] - 1) > UNIT_ROUNDED:
        return _contrast("unit", _unit(a), _unit(b)) or "units of two lengths"
    if a.is_geographic:
        return None
    one, other = _projected(a), _projected(b)
    both = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if both.any() and (np.abs(one[both] - other[both]) * factors[0] <= SAME_M).all():
        return None
    return _contrast("projection", _projection(a), _projection(b)) or "projections with other parameters"


def _projected(crs: CRS) -> NDArray[np.float64]:
    """x and y (V, 2) of the samples, infinite where the inverse projection does not lead back to them."""
    geographic = crs.geodetic_crs
    assert geographic is not None  # a projected system has one
    transformer = Transformer.from_crs(geographic, crs, always_xy=True)
    samples = np.radians(SAMPLE_POINTS) / geographic.axis_info[0].unit_conversion_factor
    x, y = transformer.transform(*samples.T)
    back = np.stack(transformer.transform(x, y, direction="INVERSE"), axis=1)
    with np.errstate(invalid="ignore"):
        is_lost = ~(np.abs(back - samples) < 1e-6).all(axis=1)
    return np.where(is_lost[:, None], np.inf, np.stack([x, y], axis=1))


def _projection(crs: CRS) -> str:
    name = crs.coordinate_operation.name if crs.coordinate_operation is not None else ""
    return crs_name(crs) if name.lower() in ("", "unknown", "unnamed") else name
