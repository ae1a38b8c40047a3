"""Band metadata of a STAC asset: names, scale and offset, nodata.

In: an Item and one of its assets, as JSON. Out: a tag per band. Reads `bands` of STAC 1.1, and `raster:bands` and
`eo:bands` of the older extensions; invalid values are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from geoseg.raster.bands.tags import BandTag

_MOST_BANDS = 1024
_NAME_FIELDS = "eo:common_name", "common_name", "name", "description"
_APPLIED = "earthsearch:boa_offset_applied"
"""Property of Sentinel-2 Items that declare an offset although their values already include it."""


def asset_bands(item: Mapping[str, Any], asset: Mapping[str, Any]) -> tuple[BandTag, ...]:
    """Tags of the bands of an asset; none if it does not list its bands."""
    lists = [_listed(asset.get(field)) for field in ("bands", "raster:bands", "eo:bands")]
    count = max(map(len, lists))
    if any(len(bands) not in (0, count) for bands in lists):
        return ()
    properties = item.get("properties")
    is_applied = isinstance(properties, dict) and properties.get(_APPLIED) is True
    bands = [[bands[i] for bands in lists if bands] for i in range(count)]
    return tuple(_tag([*given, asset], is_applied=is_applied) for given in bands)


def _listed(bands: Any) -> list[dict[str, Any]]:
    if not isinstance(bands, list) or len(bands) > _MOST_BANDS:
        return []
    return [band if isinstance(band, dict) else {} for band in bands]


def _tag(given: list[Mapping[str, Any]], *, is_applied: bool) -> BandTag:
    """The tag of a band, given its metadata in order of precedence, that of the whole asset last."""
    names = (band.get(field) for field in _NAME_FIELDS for band in given[:-1])
    return BandTag(
        name=next((name for name in names if isinstance(name, str) and name), ""),
        scale=_number(given, 1.0, "raster:scale", "scale"),
        offset=0.0 if is_applied else _number(given, 0.0, "raster:offset", "offset"),
        nodata=_nodata(given),
    )


def _number(given: list[Mapping[str, Any]], silent: float, *fields: str) -> float:
    values = (band.get(field) for band in given for field in fields)
    return next((float(value) for value in values if _is_number(value)), silent)


def _nodata(given: list[Mapping[str, Any]]) -> float | None:
    values = (band.get("nodata") for band in given)
    numbers = (math.nan if value == "nan" else float(value) for value in values if value == "nan" or _is_number(value))
    return next(numbers, None)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
