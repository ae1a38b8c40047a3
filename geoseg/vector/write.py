"""Writing of a polygon layer to a vector file, in the format that its extension names.

In: polygons, batch by batch. Out: one file (a Shapefile: a handful) that appears under its name only when it is
complete, and replaces an older one. Knows nothing of rasters and classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from geoseg.core.errors import OutputError
from geoseg.core.files import one_line, sync, workspace
from geoseg.core.naming import layer_name
from geoseg.core.safe_paths import plain_folder
from geoseg.vector.formats import VectorFormat, format_of
from geoseg.vector.layer import PolygonLayer

MOST_VERTICES = 60_000_000
"""Most vertices of a polygon, of 16 bytes each: SQLite, and so a GeoPackage, takes values of up to a gigabyte."""

_DRAFT = "draft"
"""Stem of unfinished files: libraries may misread that of the finished ones."""


def write_polygons(
    polygons: PolygonLayer,
    path: str | os.PathLike[str],
    name: str | None = None,
    finish: Callable[[Path], None] = lambda draft: None,
) -> None:
    """Write polygons in the format of the path's extension, replacing what is there.

    A layer without polygons gives an empty one with the same fields. Nothing is left behind when writing fails or is
    interrupted.

    Args:
        polygons: What to write.
        path: The file; its folder is made if it is missing.
        name: Name of the layer in formats that have names, made to fit; by default the file's.
        finish: Called with the path of the finished file before it is moved; files put beside it are moved along.

    Raises:
        OutputError: The extension names no known format, or the file cannot be written.
    """
    path = Path(path)
    vector_format = format_of(path)
    if polygons.largest > MOST_VERTICES:
        raise OutputError(
            f"one polygon has {polygons.largest:,} vertices, which is more than GeoPackages and others hold: leave out "
            "dissolve, or simplify"
        )
    try:
        with workspace(path) as folder:
            draft = folder / f"{_DRAFT}{path.suffix}"
            with plain_folder(folder) as reached:
                vector_format.write(polygons, reached / draft.name, layer_name(name or path.stem))
            finish(draft)
            _move_parts(vector_format, draft, path)
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error


def _move_parts(vector_format: VectorFormat, draft: Path, path: Path) -> None:
    """Move a finished file and its parts to their place, the file that the path names last."""
    for leftover in vector_format.parts(path):
        leftover.unlink(missing_ok=True)
    for part in sorted(draft.parent.iterdir(), key=lambda part: part == draft):
        sync(part)
        os.replace(part, path.with_name(path.stem + part.name.removeprefix(_DRAFT)))
