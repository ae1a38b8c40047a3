"""Coordinate systems compared by what matters to a plane, and named in a few words.

In: coordinate systems as rasterio, pyproj or a text has them. Out: what differs, short names. The same plane may be
told with heights or without, with a datum shift of zero, as EPSG code, PROJ string or ESRI's WKT.
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
"""Letters of a name at most: what follows says no more to people."""
SAMPLES = np.stack(np.meshgrid(np.arange(-179.0, 180, 14), np.arange(-88.0, 89, 11)), axis=-1).reshape(-1, 2)
"""Longitudes and latitudes (V, 2) at which projections are compared."""
SAME_M = 1e-3
"""Projections are the same if no place differs by more: parameters are rounded where texts are written."""
ROUNDED = 5e-12
"""Relative difference that counts as rounding: the shorter axes of GRS 80 and WGS 84 differ by more."""
UNIT_ROUNDED = 1e-7
"""The same of units: the US survey foot is longer than the foot by 2e-6."""
CURTAILED = 1e-8
"""The same of ellipsoids of one name, whose flattening some programs write with three decimals."""
EARTH_CENTRED = ("WGS 84", "GRS 1980", "GRS 80")
"""Ellipsoids whose datums lie within metres of WGS 84: any shift to it means another datum."""


def flat(crs: CRS) -> CRS:
    """Without datum shift, height system and third dimension."""
    if crs.is_bound and crs.source_crs is not None:
        return flat(crs.source_crs)
    if crs.is_compound:
        return flat(crs.sub_crs_list[0])
    return crs.to_2d()


def same_plane(one: Any, other: Any) -> bool:
    """Whether coordinates mean the same places in two systems, whatever heights are; None is only like None."""
    return plane_difference(one, other) is None


def plane_difference(one: Any, other: Any) -> str | None:
    """What makes coordinates of two systems mean other places, in a few words; None if nothing does."""
    if not one or not other:
        return None if not one and not other else "one has no coordinate system"
    texts = _text(one), _text(other)
    return None if texts[0] == texts[1] else _difference(*texts)


def is_way(source: Any, target: Any) -> bool:
    """Whether coordinates of one system have a place in another: both are of maps, or the same."""
    return same_plane(source, target) or (_is_map(_text(source)) and _is_map(_text(target)))


@lru_cache(maxsize=256)
def _is_map(text: str) -> bool:
    try:
        plane = flat(CRS.from_user_input(text))
    except ProjError:
        return False
    return bool(plane.is_projected or plane.is_geographic)


def plane_number(crs: Any, planes: list[Any]) -> int:
    """Number of a coordinate system among those of different planes; a new one is added to them."""
    for number, known in enumerate(planes):
        if same_plane(known, crs):
            return number
    planes.append(crs)
    return len(planes) - 1


def crs_name(crs: Any) -> str:
    """Code or name of a coordinate system, never its whole definition."""
    return "no CRS" if not crs else _name(_text(crs))


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
    operation = flat(crs).coordinate_operation
    return f"an unnamed system ({crs.type_name if operation is None else operation.method_name})"


@lru_cache(maxsize=1024)
def _difference(one: str, other: str) -> str | None:
    try:
        a, b = flat(CRS.from_user_input(one)), flat(CRS.from_user_input(other))
        if a.equals(b, ignore_axis_order=True):
            return None
        if _kind(a) != _kind(b):
            return f"{_kind(a)} against {_kind(b)}"
        if _kind(a) == _LOCAL:
            return _told("unit", _unit(a), _unit(b)) or "local systems of two kinds"
        return _datum_difference(a, b) or _projection_difference(a, b)
    except ProjError:
        return "one makes no sense to PROJ"


_LOCAL = "a local system"


def _kind(crs: CRS) -> str:
    if crs.is_projected:
        return "a projection"
    return "longitude and latitude" if crs.is_geographic else _LOCAL


def _told(what: str, one: str, other: str) -> str | None:
    """A difference of names, if they differ."""
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
        return ellipsoids if any(map(_is_unnamed, names)) else _told("datum", *names) or ellipsoids
    if _greenwich(one.prime_meridian) != _greenwich(other.prime_meridian):
        return f"prime meridian {_name_of(one.prime_meridian)} against {_name_of(other.prime_meridian)}"
    return None if _may_be_the_same(names, _name_of(one.ellipsoid)) else _told("datum", *names)


def _name_of(thing: Any) -> str:
    return "unknown" if thing is None else str(thing.name)


def _same_ellipsoid(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    tolerance = CURTAILED if one.name == other.name else ROUNDED
    ratios = one.semi_major_metre / other.semi_major_metre, one.semi_minor_metre / other.semi_minor_metre
    return all(abs(ratio - 1) <= tolerance for ratio in ratios)


def _greenwich(meridian: Any) -> float:
    """Degrees from Greenwich, without what is rounded."""
    degrees = 0.0 if meridian is None else np.degrees(meridian.longitude * meridian.unit_conversion_factor)
    return round(float(degrees), 9)


def _datum_name(crs: CRS) -> str:
    """Name of a datum without what only some programs add to it."""
    name = "unknown" if crs.datum is None else str(crs.datum.name)
    return name.removesuffix(" ensemble").removeprefix("D_").replace("_", " ")


def _may_be_the_same(names: tuple[str, str], ellipsoid: str) -> bool:
    """Whether one datum is not named, and its shift to WGS 84 does not tell that it is another one."""
    unnamed = [name for name in names if _is_unnamed(name)]
    return bool(unnamed) and not (ellipsoid in EARTH_CENTRED and any(map(_is_shifted, unnamed)))


def _is_unnamed(datum: str) -> bool:
    return re.match(r"unknown|not specified|unnamed", datum, re.IGNORECASE) is not None


def _is_shifted(datum: str) -> bool:
    """Whether PROJ's name for a datum of no name tells of a shift to WGS 84 other than 0."""
    numbers = datum.partition("towgs84=")[2]
    return any(float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", numbers))


def _projection_difference(a: CRS, b: CRS) -> str | None:
    """What differs in the way from longitude and latitude, each on its own datum, to x and y."""
    factors = [crs.axis_info[0].unit_conversion_factor for crs in (a, b)]
    if abs(factors[0] / factors[1] - 1) > UNIT_ROUNDED:
        return _told("unit", _unit(a), _unit(b)) or "units of two lengths"
    if a.is_geographic:
        return None
    one, other = _projected(a), _projected(b)
    both = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if both.any() and (np.abs(one[both] - other[both]) * factors[0] <= SAME_M).all():
        return None
    return _told("projection", _projection(a), _projection(b)) or "projections with other parameters"


def _projected(crs: CRS) -> NDArray[np.float64]:
    """x and y (V, 2) of the samples, infinite where the way there does not lead back."""
    geographic = crs.geodetic_crs
    assert geographic is not None  # a projection starts from one
    transformer = Transformer.from_crs(geographic, crs, always_xy=True)
    places = np.radians(SAMPLES) / geographic.axis_info[0].unit_conversion_factor
    x, y = transformer.transform(*places.T)
    back = np.stack(transformer.transform(x, y, direction="INVERSE"), axis=1)
    with np.errstate(invalid="ignore"):
        is_lost = ~(np.abs(back - places) < 1e-6).all(axis=1)
    return np.where(is_lost[:, None], np.inf, np.stack([x, y], axis=1))


def _projection(crs: CRS) -> str:
    name = crs.coordinate_operation.name if crs.coordinate_operation is not None else ""
    return crs_name(crs) if name.lower() in ("", "unknown", "unnamed") else name
