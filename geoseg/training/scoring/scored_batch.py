"""Windows in which a model is scored, and batches of them. In: arrays. Out: tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.data.labels import Indexes
from geoseg.models.surroundings import Views
from geoseg.raster.level_grid import ViewBox


class WindowSurroundings(NamedTuple):
    """The views of one window's surroundings, as arrays."""

    images: tuple[NDArray[np.float32], ...] = ()
    """Per level: the view (C + 1, n, n), or the probabilities of a coarser view (K, h, w)."""
    boxes: tuple[ViewBox, ...] = ()
    """Per level: the box of the window in it."""
    weights: tuple[NDArray[np.float32], ...] = ()
    """For refinement: weight of the network's own probabilities in each pixel (T, T), see `RefinedWindows`."""


NO_SURROUNDINGS = WindowSurroundings()
"""Surroundings of windows that are classified alone."""


@dataclass(frozen=True)
class ScoredWindow:
    """One window of a validation raster, read as for a prediction."""

    image: NDArray[np.float32]
    """Band values (C, T, T), reflected beyond the edge, filled where there is no data."""
    labels: Indexes
    """Class indexes (T, T)."""
    counted: NDArray[np.bool_]
    """Pixels (T, T) that are scored with this window; the others are scored with neighbouring windows."""
    valid: NDArray[np.bool_]
    """Pixels (T, T) that hold data."""
    surroundings: WindowSurroundings = NO_SURROUNDINGS
    """The views of its surroundings."""


class ScoredBatch(NamedTuple):
    """Scored windows of one shape."""

    image: Tensor
    """Band values (B, C, T, T)."""
    labels: Tensor
    """Class indexes (B, T, T)."""
    counted: Tensor
    """Which pixels count (B, T, T)."""
    views: Views
    """The views of their surroundings, see `WindowSurroundings`."""
    weights: tuple[Tensor, ...]
    """For refinement: weight of the network's own probabilities (B, T, T)."""
    valid: Tensor
    """Which pixels hold data (B, T, T)."""


def stack_scored(items: Sequence[ScoredWindow]) -> ScoredBatch:
    """Make a batch of scored windows."""
    images, labels, counted, surroundings = zip(
        *((item.image, item.labels, item.counted, item.surroundings) for item in items), strict=True
    )
    maps, boxes, weights = (
        tuple(_stack(level) for level in zip(*parts, strict=True)) for parts in zip(*surroundings, strict=True)
    )
    return ScoredBatch(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(labels)).long(),
        torch.from_numpy(np.stack(counted)),
        Views(maps, boxes),
        weights,
        torch.from_numpy(np.stack([item.valid for item in items])),
    )


def stack_uncounted(items: Sequence[ScoredWindow]) -> ScoredBatch:
    """Make a batch of windows of which no pixel is scored."""
    batch = stack_scored(items)
    return batch._replace(counted=torch.zeros_like(batch.counted))


def _stack(arrays: Sequence[NDArray[Any] | ViewBox]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).float()
