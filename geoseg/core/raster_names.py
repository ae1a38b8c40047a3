"""Names of raster files: which end as a scene does, and which geoseg has written.

In: paths and URLs. Out: whether they are meant.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

RASTERS = frozenset({".tif", ".tiff", ".vrt", ".jp2", ".j2k", ".img", ".ecw", ".sid", ".pix", ".kea", ".bil", ".bsq"})
"""Endings of files that are scenes. Pictures (.png, .jpg) lie beside scenes as previews more often than as scenes."""
RESULTS = ("_landcover", "_confidence", "_uncertainty", "_scores")
"""Ends of the stems of rasters that geoseg itself writes."""


def suffix(path: str) -> str:
    """File suffix of a path or URL in lower case, with its dot; empty if it has none."""
    return PurePosixPath(path_of(path)).suffix.lower()


def path_of(url: str) -> str:
    """The path of a URL, or a path unchanged; the URL's host may be invalid."""
    return "/" + re.split("[?#]", url.partition("://")[2])[0].partition("/")[2] if "://" in url else url


def is_raster(path: str) -> bool:
    """Whether the suffix is that of a scene."""
    return suffix(path) in RASTERS


def is_result(path: str) -> bool:
    """Whether the name is that of a result of geoseg."""
    return os.path.splitext(os.path.basename(path))[0].endswith(RESULTS)
