"""A dense CRF over a whole raster, block by block: probabilities become those of pixels that know their surroundings.

In: a raster of band values, and the logits of its pixels. Out: their logits after mean field inference, in blocks.

Blocks lie on a fixed grid from the raster's first pixel, and each is read with a halo as wide as messages travel. So
the logits depend neither on the blocks nor on the tile rows, nor on the process that found those of the windows. Blocks
are worked on by several threads; reading and what becomes of the result stay in the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.inference.mean_field import Floats, Kernels, mean_field
from geoseg.raster.resample import Bands
from geoseg.raster.validity import Mask, Values
from geoseg.spec import ModelSpec
from geoseg.spec.crf import CrfSpec

BLOCK_PX = 512
"""Side of a block, in pixels."""
_MEMORY_BYTES = 2**30
"""Memory for the kernels of all blocks that are worked on at once."""
_SLAB_PX, _SLAB_PX_MOST = 2**20, 2**24
"""Pixels read at once; more where a file's blocks are whole rows, which are decoded for any of their pixels."""

ReadLogits = Callable[[Window], Floats]
"""Reads the logits (K, h, w) of a window of the raster; NaN where there are none."""


@dataclass(frozen=True)
class CrfBlock:
    """A finished block."""

    window: Window
    """Its window of the raster."""
    logits: Floats
    """Logits (K, h, w), float32."""
    valid: Mask
    """Which pixels have logits (h, w)."""


@dataclass(frozen=True)
class _Read:
    """A block as it is read: with its halo, which lies outside of the raster at its edges."""

    window: Window
    """The window of the block itself."""
    logits: Floats
    """Logits with the halo (K, h + 2 halo, w + 2 halo)."""
    image: Values
    """Band values with the halo (C, ...)."""
    valid: Mask
    """Which of these pixels have both (...)."""


@dataclass(frozen=True)
class Crf:
    """A dense CRF for the pixels of a model."""

    spec: CrfSpec
    """Settings."""
    std: tuple[float, ...]
    """Standard deviation of each band in the training data, in the model's values."""
    temperature: float
    """By which logits are divided before they become probabilities."""

    @classmethod
    def of(cls, spec: CrfSpec, model: ModelSpec) -> Crf | None:
        """The CRF of some settings for a model; None if they change nothing."""
        return cls(spec, model.normalization.std, model.temperature) if spec.changes_pixels else None

    @property
    def memory_bytes(self) -> int:
        """Memory of a block that is worked on."""
        side = BLOCK_PX + 2 * self.spec.crf_halo
        return 4 * side**2 * len(Kernels.of(self.spec).down)

    def blocks(self, raster: Bands, read_logits: ReadLogits) -> Iterator[CrfBlock]:
        """Yield all blocks of a raster, from left to right and from top to bottom."""
        threads = max(1, min(torch.get_num_threads(), _MEMORY_BYTES // self.memory_bytes))
        with ThreadPoolExecutor(threads) as pool:
            waiting = deque[Future[CrfBlock]]()
            try:
                for read in self._reads(raster, read_logits):
                    waiting.append(pool.submit(self._finish, read))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()

    def _finish(self, read: _Read) -> CrfBlock:
        scale = np.float32(1 / self.spec.crf_appearance_values) / np.array(self.std, np.float32)
        image = read.image * scale[:, None, None]
        logits = mean_field(read.logits, image, read.valid, self.spec, self.temperature)
        halo = self.spec.crf_halo
        inside = slice(halo, halo + read.window.height), slice(halo, halo + read.window.width)
        return CrfBlock(read.window, logits, read.valid[inside])

    def _reads(self, raster: Bands, read_logits: ReadLogits) -> Iterator[_Read]:
        """Read all blocks, several neighbouring ones at once."""
        halo = self.spec.crf_halo
        most = _SLAB_PX_MOST if raster.has_wide_blocks else _SLAB_PX
        width = max(1, most // (BLOCK_PX * (BLOCK_PX + 2 * halo))) * BLOCK_PX
        for row in range(0, raster.height, BLOCK_PX):
            for col in range(0, raster.width, width):
                slab = Window(row, col, BLOCK_PX, width).clip(raster.height, raster.width)
                around = Window(row - halo, col - halo, slab.height + 2 * halo, slab.width + 2 * halo)
                held = around.clip(raster.height, raster.width)
                image, valid = raster.read(held)
                if not valid[slab.shift(-held.row, -held.col).slices].any():
                    continue
                logits = read_logits(held)
                valid &= ~np.isnan(logits[0])
                padded = [_padded(values, held, around) for values in (logits, image, valid)]
                yield from _cut(slab, halo, padded)


def _padded(values: NDArray[Any], held: Window, around: Window) -> NDArray[Any]:
    """Values (..., h, w) of a window in a larger one, zeros elsewhere."""
    top, left = held.row - around.row, held.col - around.col
    below, right = around.height - held.height - top, around.width - held.width - left
    return np.pad(values, ((0, 0),) * (values.ndim - 2) + ((top, below), (left, right)))


def _cut(slab: Window, halo: int, padded: list[NDArray[Any]]) -> Iterator[_Read]:
    """Cut a slab, given with its halo, into blocks with theirs; those without data are left out."""
    for col in range(0, slab.width, BLOCK_PX):
        width = min(BLOCK_PX, slab.width - col)
        logits, image, valid = (values[..., col : col + width + 2 * halo] for values in padded)
        if valid[halo : halo + slab.height, halo : halo + width].any():
            yield _Read(Window(slab.row, slab.col + col, slab.height, width), logits, image, valid)
