"""Windows become batches of arrays, in the order in which they are forwarded.

In: a source and its grid. Out: batches in the grid's order, without the windows that hold no data. Padding and the
filling of pixels without data happen here, for all windows in the same way.

Several neighbouring windows are read at once, as a *slab*, so that a file's blocks are decoded once and side by side.
The batches of a tile row depend on that row alone, so every process that forwards it forwards the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Grid, Place, Window
from geoseg.outputs.thumbnail import ThumbnailPatch
from geoseg.raster.readable import Readable
from geoseg.raster.resample import Source
from geoseg.raster.validity import Mask, Values

_SLAB_PX = 2**21
"""Pixels read at once: enough blocks to decode side by side."""
_SLAB_PX_MOST = 2**25
"""Pixels read at once where a file's blocks are whole rows, all of which must be decoded for any of their pixels."""


@dataclass(frozen=True)
class Sample:
    """One window to be forwarded."""

    place: Place
    """Its place in the grid."""
    part: Window
    """The part that is forwarded, relative to the window's corner: all of it, or less where little holds data."""
    image: Values
    """Band values (C, T, T), uint8 or float32, without holes."""
    valid: Mask
    """Which pixels hold data (T, T)."""
    scene_valid: Mask
    """Which of the scene's own pixels in the window's core hold data."""
    shown: tuple[ThumbnailPatch, ...] = ()
    """The scene's own pixels there, shrunk for the preview."""


@dataclass(frozen=True)
class Batch:
    """Windows whose forwarded parts have one shape."""

    samples: tuple[Sample, ...]
    """The windows."""
    image: Values
    """Band values of the forwarded parts (B, C, h, w)."""

    @property
    def windows(self) -> list[Window]:
        """The forwarded parts as windows of the source."""
        return [sample.part.shift(sample.place.window.row, sample.place.window.col) for sample in self.samples]


Shrink = Callable[[Window, Values, Mask], ThumbnailPatch | None]
"""Shrinks values (C, h, w) with their mask (h, w) of a window of the scene for the preview."""


def not_shown(_window: Window, _image: Values, _valid: Mask) -> None:
    """Shrink nothing: there is no preview."""


def tile_row_batches(
    source: Source, grid: Grid, i: int, fill: Sequence[float], batch_size: int, shrink: Shrink = not_shown
) -> Iterator[Batch]:
    """Yield the windows of a tile row in batches, without windows whose core holds no data.

    Args:
        source: raster to read.
        grid: its windows.
        i: tile row, a row of the grid.
        fill: value per band that replaces pixels without data.
        batch_size: most windows in a batch; the windows of a tile row are divided evenly.
        shrink: makes the preview's part of each core.
    """
    held: list[Sample] = []
    even = -(-grid.cols.count // -(-grid.cols.count // batch_size))
    for sample in _samples(source, grid, i, fill, shrink):
        if held and (len(held) == even or _shape(sample) != _shape(held[0])):
            yield _stack(held)
            held = []
        held.append(sample)
    if held:
        yield _stack(held)


def _samples(source: Source, grid: Grid, i: int, fill: Sequence[float], shrink: Shrink) -> Iterator[Sample]:
    per_slab = _windows_per_slab(source, grid)
    for _, group in groupby(grid.tile_row(i), key=lambda place: place.j // per_slab):
        places = list(group)
        slab = places[0].window.until(places[-1].window).clip(source.height, source.width)
        if not slab.pixels:  # all of it is padding
            continue
        image, valid = _read_filled(source, slab, fill)
        if valid.any():
            cut = (_cut(image, valid, slab, place, grid, source, shrink) for place in places)
            yield from (sample for sample in cut if sample)


def _windows_per_slab(source: Source, grid: Grid) -> int:
    """Number of windows that are read at once."""
    most = _SLAB_PX_MOST if source.has_wide_blocks else _SLAB_PX
    return max(1, most // (grid.rows.size * grid.cols.size))


def _cut(
    image: Values, valid: Mask, slab: Window, place: Place, grid: Grid, source: Source, shrink: Shrink
) -> Sample | None:
    """One window of a slab, reflected beyond the scene's edge; None if its core holds no data."""
    window = place.window
    inside = window.clip(source.height, source.width)
    if not inside.pixels:  # all of it is padding
        return None
    where = inside.shift(-slab.row, -slab.col).slices
    image, valid = _reflect(image[:, *where], valid[where], window, inside)
    decided = grid.inside(place)
    if not valid[decided].any():
        return None
    core = place.core.shift(-window.row, -window.col).slices
    part = part_with_data(valid, decided, grid.border, grid.multiple)
    scene_valid, shown = [], []
    for band, values, held in source.scene_pixels(place.core, image[:, *core], valid[core]):
        scene_valid.append(held)
        shown.append(shrink(band, values, held))
    patches = tuple(patch for patch in shown if patch is not None)
    return Sample(place, part, image, valid, np.concatenate(scene_valid), patches)


def read_padded(source: Readable, window: Window, fill: Sequence[float]) -> tuple[Values, Mask]:
    """Read a window (C, h, w) as networks see it: reflected beyond the raster's edge, pixels without data filled.

    The second array (h, w), bool, is true where pixels hold data, reflected likewise.
    """
    inside = window.clip(source.height, source.width)
    image, valid = _read_filled(source, inside, fill)
    return _reflect(image, valid, window, inside)


def _read_filled(source: Readable, window: Window, fill: Sequence[float]) -> tuple[Values, Mask]:
    """Read a window inside the source; pixels without data get the fill value of each band."""
    image, valid = source.read(window)
    if not valid.all():
        stand_in = np.reshape(fill if image.dtype.kind == "f" else np.rint(fill), (-1, 1, 1)).astype(image.dtype)
        np.copyto(image, stand_in, where=~valid)  # image[:, ~valid] = takes twenty times as long where much is missing
    return image, valid


def _reflect(image: Values, valid: Mask, window: Window, inside: Window) -> tuple[Values, Mask]:
    """Pad values read from `inside` to the whole window, by reflection."""
    top, left = inside.row - window.row, inside.col - window.col
    rows = top, window.height - inside.height - top
    cols = left, window.width - inside.width - left
    if any(rows + cols):
        image = np.pad(image, ((0, 0), rows, cols), mode="reflect")
        valid = np.pad(valid, (rows, cols), mode="reflect")
    return image, valid


def part_with_data(valid: Mask, decided: tuple[slice, slice], margin: int, multiple: int) -> Window:
    """The part of a window (T, T) that must be forwarded: the decided pixels that hold data, with a margin.

    It is the whole window unless a part saves at least a quarter of the pixels: fewer shapes make fuller batches.
    """
    height, width = valid.shape
    held = np.zeros_like(valid)
    held[decided] = valid[decided]
    top, bottom = _span_with_data(np.flatnonzero(held.any(axis=1)), height, margin, multiple)
    left, right = _span_with_data(np.flatnonzero(held.any(axis=0)), width, margin, multiple)
    part = Window(top, left, bottom - top, right - left)
    return part if 4 * part.pixels <= 3 * height * width else Window(0, 0, height, width)


def _span_with_data(held: NDArray[np.intp], length: int, margin: int, multiple: int) -> tuple[int, int]:
    """First and last-plus-one index of the span with data and its margin, both multiples of the network's stride."""
    first = max(0, int(held[0]) - margin) // multiple * multiple
    last = -(-min(length, int(held[-1]) + 1 + margin) // multiple) * multiple
    return first, min(length, last)


def _shape(sample: Sample) -> tuple[int, int]:
    return sample.part.height, sample.part.width


def _stack(held: list[Sample]) -> Batch:
    return Batch(tuple(held), np.stack([sample.image[:, *sample.part.slices] for sample in held]))
