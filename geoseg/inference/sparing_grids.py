"""Windows that forward fewer pixels than a model's own, by what seams between its windows do to its classes.

Pixels in overlaps are forwarded twice, so that larger windows and smaller overlaps save work; a seam changes classes
beside it, the more the smaller the overlap is and the farther the network sees. A model's bundle says how many pixels
each pixel of a seam changes (`SeamsSpec`). Of the grids whose seams change few pixels of a raster in all, or no more
than those of the model's own windows, the best is the one that forwards the fewest.

A CPU takes longer for each pixel of larger windows, whose values leave its caches: that counts as well.

In: the model's own grid, its spec, settings. Out: better grids. Knows no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from geoseg.geo.grid import Grid
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.spec.seams import MOST_CHANGED, SeamsSpec

_SIDES = 1.0, 1.5, 2.0
"""Sides of windows over the model's own."""
_SLOWING = 0.02
"""Share by which a pixel takes longer for each 1024 x 1024 pixels that a window is larger, on CPUs."""
_MOST_WORK = 1.1
"""Pixels forwarded over those of the model's own windows, at most, where its overlap is too small."""


def slowing(device: str) -> float:
    """Share by which a pixel takes longer for each 1024 x 1024 pixels that a window is larger, on cpu, cuda or mps."""
    return _SLOWING if device == "cpu" else 0.0


def sparing_grids(own: Grid, model: ModelSpec, spec: ClassifySpec, largest: int, slower: float = 0) -> list[Grid]:
    """Grids over the same raster, the best first; none if the model does not know what seams do, or sees more than its
    windows.

    Args:
        own: the grid of the model's own windows.
        model: the model.
        spec: the settings: an overlap that is given is kept.
        largest: largest side of a window, in pixels.
        slower: what `slowing` says.
    """
    seams = model.seams
    if seams is None or model.branch.kind != "plain":
        return []
    if spec.overlap is not None:
        found = list(_grids(own, model, (own.overlap,), largest))
    else:
        most_changed, most_px = max(MOST_CHANGED, changed_share(own, seams)), _MOST_WORK * own.forwarded_px
        found = [
            grid
            for grid in _grids(own, model, seams.overlaps, largest)
            if changed_share(grid, seams) <= most_changed and grid.forwarded_px <= most_px
        ]
    return sorted(found, key=lambda grid: (round(_work(grid, slower), 2), grid.tile))


def _work(grid: Grid, slower: float) -> float:
    """Time for a raster, over that for its pixels in windows of 1024 x 1024."""
    larger = max(0.0, grid.rows.size * grid.cols.size / 2**20 - 1)
    return grid.forwarded_px / (grid.height * grid.width) * (1 + slower * larger)


def changed_share(grid: Grid, seams: SeamsSpec) -> float:
    """Share of a raster's pixels to which the seams of a grid give another class than one pass over all would."""
    length = (grid.rows.count - 1) * grid.width + (grid.cols.count - 1) * grid.height
    return length * seams.changed_at(grid.overlap) / (grid.height * grid.width) if length else 0.0


def _grids(own: Grid, model: ModelSpec, overlaps: tuple[int, ...], largest: int) -> Iterator[Grid]:
    tiles = {int(model.tile * side) // own.multiple * own.multiple for side in _SIDES}
    for tile in sorted(tile for tile in tiles if tile <= max(largest, own.tile)):
        yield from (replace(own, tile=tile, overlap=overlap) for overlap in overlaps if 2 * overlap <= tile)
