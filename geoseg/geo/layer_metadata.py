"""Metadata of the layers of vector files. In: a file and a layer. Out: texts by key."""

from __future__ import annotations

from pathlib import Path

import pyogrio

from geoseg.core.files import one_line
from geoseg.core.safe_paths import plain_path
from geoseg.geo.vector_files import VectorError


def layer_metadata(path: Path, layer: str) -> dict[str, str]:
    """Metadata of a layer, by key; empty without any.

    Raises:
        VectorError: if the file cannot be read.
    """
    try:
        with plain_path(path) as plain:
            return dict(pyogrio.read_info(plain, layer=layer).get("layer_metadata") or {})
    except (RuntimeError, OSError, ValueError) as error:
        raise VectorError(one_line(error)) from None
