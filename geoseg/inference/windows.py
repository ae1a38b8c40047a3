"""The grid of windows in which a model sees a raster, and the batch size that a device holds.

In: a raster's size, a model, settings, a device. Out: a grid of windows, and a batch size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from geoseg.core.errors import SpecError
from geoseg.geo.grid import Grid
from geoseg.inference.sparing_grids import slowing, sparing_grids
from geoseg.models.memory import activation_bytes, free_bytes
from geoseg.models.model import Model
from geoseg.models.quantization.choice import fits_int8
from geoseg.models.runner import choose_for
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.spec.branch import PLAIN, BranchSpec

BY_MODEL = ClassifySpec()
"""The model's own settings."""
BORDER = 32
"""Pixels by which a scene is reflected on each side, so that its edge is never the network's edge."""
_CPU_BATCH_PX, _GPU_BATCH_PX = 2**20, 2**23
"""Most pixels forwarded at once: larger batches are no faster."""
_MEMORY_SHARE = 0.6
"""Part of the free memory that a batch may take; estimates are rough, and allocators fragment memory."""
_SPARE_SHARE = 0.125
"""Part of the free memory that larger windows than the model's may take: other processes may want as much."""
_SMALLEST_TILE = 256
_MOST_SCENE_SIDE = 8192
"""Pixels of the scene along the side of a window, if the model is to choose: masks and classes of a few windows are
held at the scene's resolution."""


@dataclass(frozen=True)
class Target:
    """The device on which a network runs, and its arithmetic."""

    device: torch.device
    """The device."""
    precision: str
    """Arithmetic: fp32, bf16, fp16 or int8."""

    @classmethod
    def choose(cls, device: str, spec: ClassifySpec, model: Model) -> Target:
        """Resolve the device and arithmetic of the settings for a model on this machine.

        Raises:
            SpecError: if this machine, or the model, lacks them.
        """
        chosen, precision = choose_for(model.module, device, spec.precision)
        is_free = spec.precision == "auto" and not spec.compile and spec.adapt is None
        return cls(chosen, "int8" if is_free and fits_int8(model, chosen) else precision)

    def fitting_grid(self, size: tuple[int, int], model: Model, spec: ClassifySpec, ratio: float = 1) -> Grid:
        """The grid over a raster of a size (rows, columns), with windows of the requested size.

        If none is requested they forward the fewest pixels with which seams change few classes, where the model knows
        what seams do and the device has much free memory; else they are the model's, halved until it holds a window.
        """
        slower = slowing(self.device.type)
        *sparing, own = wanted_grids(size, model.spec, spec, ratio, slower)
        for grid in sparing:
            if self._windows_in_memory(grid, model, _SPARE_SHARE):
                return grid
        bound = replace(model, spec=bounded(model.spec, ratio))
        return own if spec.tile is not None else self._halved(own, size, bound, spec)

    def _halved(self, grid: Grid, size: tuple[int, int], model: Model, spec: ClassifySpec) -> Grid:
        while not self._windows_in_memory(grid, model) and grid.tile >= 2 * _SMALLEST_TILE:
            smaller = make_grid(*size, model.spec, spec.model_copy(update={"tile": grid.tile // 2}))
            if smaller.tile >= grid.tile:  # it is the network's stride
                return grid
            grid = smaller
        return grid

    def fitting_batch(self, grid: Grid, model: Model) -> int:
        """Number of windows forwarded at once."""
        most = _CPU_BATCH_PX if self.device.type == "cpu" else _GPU_BATCH_PX
        wanted = max(1, min(32, most // (grid.rows.size * grid.cols.size)))
        return max(1, min(wanted, self._windows_in_memory(grid, model)))

    def _windows_in_memory(self, grid: Grid, model: Model, share: float = _MEMORY_SHARE) -> int:
        """Number of windows that a share of the device's free memory holds."""
        free = free_bytes(self.device)
        window_px = grid.rows.size * grid.cols.size
        each = activation_bytes(model.module, len(model.spec.bands), window_px, 4 if self.precision == "fp32" else 2)
        return int(share * free / each) if free is not None and each else 32


def branch_of(model: ModelSpec, spec: ClassifySpec) -> BranchSpec:
    """The model's branch under some settings: what it sees besides its windows, nothing if `context` is off."""
    return model.branch if spec.context else PLAIN


def bounded(model: ModelSpec, ratio: float) -> ModelSpec:
    """The model with smaller windows, if the side of each of its pixels is `ratio` > 1 pixels of the scene."""
    largest = _largest_tile(ratio)
    return model if ratio <= 1 or largest >= model.tile else model.model_copy(update={"tile": largest})


def wanted_grids(
    size: tuple[int, int], model: ModelSpec, spec: ClassifySpec, ratio: float = 1, slower: float = 0
) -> list[Grid]:
    """Grids over a raster of a size (rows, columns), the best first if memory is no matter; the last one has windows of
    the requested size, or the model's.

    Args:
        size: rows and columns.
        model: the model.
        spec: the settings.
        ratio: side of the raster's pixels in pixels of the scene, if these are smaller.
        slower: what `slowing` says.
    """
    own = make_grid(*size, bounded(model, ratio), spec)
    sparing = [] if spec.tile is not None else sparing_grids(own, model, spec, _largest_tile(ratio), slower)
    return [*sparing, own]


def _largest_tile(ratio: float) -> int:
    """Largest side of a window that is not asked for, if the side of each of its pixels is `ratio` of the scene's."""
    return max(_SMALLEST_TILE, int(_MOST_SCENE_SIDE / max(ratio, 1)))


def make_grid(height: int, width: int, model: ModelSpec, spec: ClassifySpec = BY_MODEL) -> Grid:
    """The grid of windows over a raster of height × width pixels.

    Raises:
        SpecError: if the overlap is more than half of the tile.
    """
    multiple = model.network.multiple
    tile = max(1, (spec.tile or model.tile) // multiple) * multiple
    overlap = spec.overlap
    if overlap is None:
        overlap = model.overlap if 2 * model.overlap <= tile else tile // 4
    if 2 * overlap > tile:
        raise SpecError(f"overlap {overlap} is more than half of tile {tile}: lower it or raise the tile")
    try:
        branch_of(model, spec).check_tile(tile, "tile")
    except ValueError as error:
        raise SpecError(str(error)) from None
    return Grid(height, width, tile, overlap, multiple, border=BORDER)
