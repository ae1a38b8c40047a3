"""Places where context changed the class rightly, and places where it changed it wrongly.

In: class maps without and with context, and labels. Out: a picture with a row for each place: its surroundings with the
place framed, the image, the labels, and the classes without and with context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.geo.grid import Window
from geoseg.spec import IGNORE

from .maps import ClassMaps
from .study import Study

BLOCK_PX = 256
"""Side of a place, in pixels."""
AROUND = 5
"""Side of the surroundings that are shown, in places."""
GAP_PX = 6
Place = tuple[int, int, int]
"""Number of the raster, first row, first column."""


def write_pictures(study: Study, count: int = 3) -> list[Path]:
    """Write `right.jpg` and `wrong.jpg` with the places that changed most, by the first seed."""
    places, (without,), with_context = study.places(), study.load("local"), study.load("context")[0]
    gains = []
    for truth, counted, before, after in zip(places.truth, places.counted, without, with_context, strict=True):
        used = counted & (truth != IGNORE)
        gains.append(_sums((used & (after == truth)).astype(int) - (used & (before == truth)).astype(int)))
    placed = (one for which, of in enumerate(gains) for one in _placed(which, of))
    ranked = sorted(((gain, place) for place, gain in placed), reverse=True)
    found = []
    for name, some in (("right", ranked), ("wrong", ranked[::-1])):
        rows = [_row(study, place, (places.truth, without, with_context)) for place in _apart(some, count)]
        path = study.folder / f"{name}.jpg"
        stack(rows, axis=0).save(path, quality=88)
        found.append(path)
    return found


def _sums(values: NDArray[np.int_]) -> NDArray[np.int_]:
    rows, cols = (side // BLOCK_PX for side in values.shape)
    cut = values[: rows * BLOCK_PX, : cols * BLOCK_PX]
    return cut.reshape(rows, BLOCK_PX, cols, BLOCK_PX).sum(axis=(1, 3))


def _placed(which: int, gains: NDArray[np.int_]) -> Iterator[tuple[Place, int]]:
    for (i, j), gain in np.ndenumerate(gains):
        yield (which, i * BLOCK_PX, j * BLOCK_PX), int(gain)


def _apart(ranked: Sequence[tuple[int, Place]], count: int) -> list[Place]:
    """The first places that lie in different surroundings."""
    found: list[Place] = []
    for _, place in ranked:
        if len(found) < count and not any(_is_near(place, other) for other in found):
            found.append(place)
    return found


def _is_near(place: Place, other: Place) -> bool:
    distance = max(abs(place[1] - other[1]), abs(place[2] - other[2]))
    return place[0] == other[0] and distance < AROUND * BLOCK_PX


def _row(study: Study, place: Place, maps: Sequence[ClassMaps]) -> Image.Image:
    which, row, col = place
    raster = study.side.rasters[which]
    window = Window(row, col, BLOCK_PX, BLOCK_PX)
    margin = (AROUND - 1) // 2 * BLOCK_PX
    wide = Window(row - margin, col - margin, AROUND * BLOCK_PX, AROUND * BLOCK_PX)
    inside = wide.clip(raster.height, raster.width)
    around = np.zeros((wide.height, wide.width, 3), np.uint8)
    around[inside.shift(-wide.row, -wide.col).slices] = _rgb(raster, inside)
    picture = Image.fromarray(around).resize((BLOCK_PX, BLOCK_PX), Image.Resampling.BOX)
    side = BLOCK_PX // AROUND
    start = (BLOCK_PX - side) // 2
    ImageDraw.Draw(picture).rectangle((start, start, start + side, start + side), outline="#ffffff", width=2)
    colours = np.full((256, 3), 255, np.uint8)
    for index, of_class in enumerate(study.ground.base["classes"]):
        colours[index] = np.frombuffer(bytes.fromhex(of_class["color"].lstrip("#")), np.uint8)
    drawn = [Image.fromarray(colours[maps_of[which][window.slices]]) for maps_of in maps]
    return stack([picture, Image.fromarray(_rgb(raster, window)), *drawn], axis=1)


def _rgb(raster, window: Window) -> NDArray[np.uint8]:
    values, _ = raster.read(window)
    return np.moveaxis(values[:3], 0, -1).clip(0, 255).astype(np.uint8)


def stack(pictures: Sequence[Image.Image], axis: int) -> Image.Image:
    """Pictures of one size, below (axis 0) or beside each other."""
    gap_shape = list(np.asarray(pictures[0]).shape)
    gap_shape[axis] = GAP_PX
    gap = np.full(gap_shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (np.asarray(picture), gap)][:-1]
    return Image.fromarray(np.concatenate(parts, axis=axis))
