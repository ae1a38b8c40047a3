"""Pixels, shares and areas of the classes of a finished class raster.

In: pixel counts by row and class, and the raster. Out: a `ClassShare` for each class. The raster is read once more only
where pixels of a row differ in area, as those of a wide scene in UTM do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.geodesy import BlockAreas, block_areas, row_areas_m2
from geoseg.inference.assemble import Assembled
from geoseg.raster.class_raster import open_classes, read_strips
from geoseg.raster.scene_info import SceneInfo
from geoseg.raster.strips import Strip
from geoseg.spec import ClassSpec


@dataclass(frozen=True)
class ClassShare:
    """Pixels, share and area of one class in a scene."""

    id: int
    """Class id in the raster."""
    name: str
    """Class name."""
    pixels: int
    """Pixels of the scene."""
    share: float
    """Part of the pixels with data, 0 to 1."""
    area_m2: float | None
    """Area on the earth in square metres; None where the size of the scene's pixels in metres is unknown."""


def class_shares(assembled: Assembled, info: SceneInfo, classes: tuple[ClassSpec, ...]) -> tuple[ClassShare, ...]:
    """Pixels, share and area of each class; areas are exact to 5e-6 of themselves."""
    pixels = assembled.counts.sum(axis=0, dtype=np.int64)
    areas = _areas_m2(assembled.rasters["landcover"], assembled.counts, info, [c.id for c in classes])
    total = max(1, int(pixels.sum()))
    return tuple(
        ClassShare(c.id, c.name, int(count), int(count) / total, None if areas is None else float(areas[index]))
        for index, (c, count) in enumerate(zip(classes, pixels, strict=True))
    )


def _areas_m2(raster: Path, counts: NDArray[np.int32], info: SceneInfo, ids: list[int]) -> NDArray[np.float64] | None:
    """Area of each class (K,), given the pixels by row and class (H, K)."""
    place = info.crs, info.transform, info.height, info.width
    blocks = block_areas(*place)
    if blocks is not None:
        with open_classes(raster) as opened:
            return areas_by_id(read_strips(opened, None), blocks)[ids]
    row_areas = row_areas_m2(*place)
    return None if row_areas is None else np.asarray(row_areas @ counts)


def areas_by_id(strips: Iterable[Strip], blocks: BlockAreas) -> NDArray[np.float64]:
    """Area in square metres (256,) of the pixels of each class id, from the strips of a raster."""
    from geoseg.inference.area_loop import add_areas  # imports the compiler

    areas = np.zeros(256)
    for strip in strips:
        for start in range(strip.row // blocks.side * blocks.side, strip.stop, blocks.side):
            top, stop = max(start, strip.row), min(start + blocks.side, strip.stop)
            ids = strip.ids[top - strip.row : stop - strip.row]
            add_areas(ids, blocks.columns, blocks.along_columns(top, stop - top), areas)
    return areas
