"""Points and lines of label files that lie on none of their images, and mark nothing.

In: label files, each with the grid of its image. Out: notices that count them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.naming import shown_name
from geoseg.core.wording import number_of
from geoseg.data.labels.marks import around
from geoseg.data.labels.placed_polygons import boxes_near, parts_near, single_parts
from geoseg.data.labels.polygons import chosen_layer
from geoseg.data.labels.source import LabelSource
from geoseg.geo.antimeridian import Shapes
from geoseg.geo.georef import PixelGrid
from geoseg.geo.vector_files import VectorError, layer_extent, may_hold_marks, read_polygons


def notices_of_outside(sources: Sequence[LabelSource]) -> list[str]:
    """A notice for each vector file of whose points and lines some lie on none of its images."""
    of_file: dict[tuple[Path, str | None], list[LabelSource]] = defaultdict(list)
    for source in sources:
        of_file[source.path, source.rules.layer].append(source)
    return [line for some in of_file.values() for line in _notice(some)]


def _notice(sources: Sequence[LabelSource]) -> list[str]:
    """The notice for one file, given what its images make of it."""
    path = sources[0].path
    try:
        if not may_hold_marks(path):
            return []
        layer = chosen_layer(path, sources[0].rules)
        found, extent = read_polygons(path, layer, None, None), layer_extent(path, layer)
    except VectorError as error:  # in a feature far from all images, which is not read for these
        return [f"points and lines of {shown_name(path)} beyond the images are not counted: {error}"]
    tree, on_image = shapely.STRtree(found.marks), np.zeros(len(found.marks), bool)
    for source in sources:
        boxes = boxes_near(source.grid, found.crs, extent, source.rules.buffer_px)
        near = np.arange(len(found.marks))
        if boxes is not None:
            near = np.unique(tree.query([shapely.box(*box) for box in boxes])[1])
        on_image[near[_on(source.grid, found.marks[near], found.crs, source.rules.buffer_px)]] = True
    lost = int((~on_image).sum())
    if not lost:
        return []
    images = shown_name(sources[0].image) if len(sources) == 1 else f"its {number_of(len(sources), 'image')}"
    return [
        f"{lost:,} of {len(on_image):,} points and lines of {shown_name(path)} lie outside of {images}, and label "
        "nothing: if that is not meant, check their coordinates and coordinate system"
    ]


def _on(grid: PixelGrid, marks: Shapes, crs: Any, radius_px: float) -> NDArray[np.intp]:
    """Indexes of the points and lines (P,) that mark a place on an image."""
    parts, of_mark = single_parts(marks)
    near, of_part = parts_near(parts, crs, grid, radius_px)
    corners = (0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)
    image = shapely.Polygon([grid.xy(*corner) for corner in corners])
    hits = shapely.intersects(around(near, grid, radius_px), image)
    return np.unique(of_mark[of_part[hits]])
