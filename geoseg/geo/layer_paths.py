"""Paths that name a layer of a vector file: FILE|layername=NAME."""

from __future__ import annotations

import os
from pathlib import Path

LAYER = "|layername="
"""Separator of a file and the name of one of its layers, as QGIS writes it."""


def split_layer(aoi: Path) -> tuple[Path, str | None]:
    """Split a path into a file and the layer named behind it; None where no layer is named."""
    path, found, layer = str(aoi).partition(LAYER)
    return (Path(path), layer) if found and not os.path.exists(aoi) else (aoi, None)
