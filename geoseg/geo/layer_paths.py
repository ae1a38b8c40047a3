"""How a layer of a vector file is named: FILE|layername=NAME."""

from __future__ import annotations

import os
from pathlib import Path

LAYER = "|layername="
"""What stands between a file and the name of one of its layers, as QGIS writes it."""


def split_layer(aoi: Path) -> tuple[Path, str | None]:
    """A file, and the layer that is named behind it."""
    path, found, layer = str(aoi).partition(LAYER)
    return (Path(path), layer) if found and not os.path.exists(aoi) else (aoi, None)
