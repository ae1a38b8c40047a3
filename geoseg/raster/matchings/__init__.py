"""Ways to bring the values of one raster to those of another, band by band.

A new way is a file here, and a line in `MATCHINGS` below; one of another package is an entry point of the group
`geoseg.matchings`.
"""

from __future__ import annotations

from geoseg.core.registry import Registry
from geoseg.raster.matchings.matching import Matching

MATCHINGS: Registry[Matching] = Registry(
    "way to match values",
    "geoseg.matchings",
    {
        "moments": "geoseg.raster.matchings.moments:MOMENTS",
        "histogram": "geoseg.raster.matchings.histogram:HISTOGRAM",
    },
)
"""Every way by name."""
