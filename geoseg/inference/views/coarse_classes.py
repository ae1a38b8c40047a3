"""Class probabilities of a coarser view, and the windows of the finer one that a network classifies with them.

In: probabilities of the coarser view, and batches of windows. Out: logits, on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.geo.grid import Window
from geoseg.inference.batches import Batch, Sample
from geoseg.inference.views.refined_windows import ByteProbabilities, RefinedWindows
from geoseg.models.runner import Runner
from geoseg.models.surroundings import Context
from geoseg.raster.level_grid import ViewBox
from geoseg.raster.validity import Values
from geoseg.raster.window_store import WindowStore

SPARE_PX = 2
"""Spare pixels of the coarser view beyond a window, for interpolation."""


@dataclass(frozen=True)
class CoarseClasses:
    """Probabilities of the next coarser view, and which windows of the finer one are forwarded."""

    map: WindowStore
    """The probabilities (K, H, W), in 255ths."""
    ratio: int
    """Side of a pixel of the coarser view, in pixels of the finer raster."""
    level: int
    """Index of the coarser view among the model's levels, finest first."""
    refined: RefinedWindows
    """The windows that are forwarded."""

    def of_windows(self, windows: Sequence[Window]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (B, K, h, w) that cover B windows of one size, and the windows' boxes in these (B, 4)."""
        parts = [self._part(window) for window in windows]
        maps = np.stack([self._read(part) for part in parts])
        boxes = [self._box(*pair) for pair in zip(windows, parts, strict=True)]
        return (maps / 255).astype(np.float32), np.stack(boxes).astype(np.float32)

    def _part(self, window: Window) -> Window:
        """The coarser pixels from which a window is interpolated; as many for all windows of one size."""
        height, width = (-(-side // self.ratio) + 2 * SPARE_PX for side in (window.height, window.width))
        return Window(window.row // self.ratio - 1, window.col // self.ratio - 1, height, width)

    def _read(self, part: Window) -> ByteProbabilities:
        """Read a part, padded beyond the map's edge by the edge's values."""
        inside = part.clip(self.map.height, self.map.width)
        rows, cols = (
            (first - start, start + side - first - length)
            for first, start, side, length in (
                (inside.row, part.row, part.height, inside.height),
                (inside.col, part.col, part.width, inside.width),
            )
        )
        return np.pad(self.map.read(inside), ((0, 0), rows, cols), mode="edge")

    def _box(self, window: Window, part: Window) -> ViewBox:
        top, bottom = ((y / self.ratio - part.row) / part.height for y in (window.row, window.row + window.height))
        left, right = ((x / self.ratio - part.col) / part.width for x in (window.col, window.col + window.width))
        return ViewBox(left, top, right, bottom)


@dataclass(frozen=True)
class Refined:
    """Classifies windows given the class probabilities of a coarser view; see `view.Surroundings`."""

    runner: Runner
    """The network."""
    coarse: CoarseClasses
    """The coarser view."""

    def classify(self, batch: Batch) -> Tensor:
        """Logits of the forwarded parts of a batch (B, K, h, w)."""
        maps, boxes = (torch.from_numpy(part) for part in self.coarse.of_windows(batch.windows))
        context = Context((maps,), (boxes,), self.coarse.level).to(self.runner.device)
        places = (sample.place for sample in batch.samples)
        weights = [self.coarse.refined.weights(*pair) for pair in zip(places, batch.windows, strict=True)]
        return refine(self.runner, batch.image, context, np.stack(weights))

    def forwarded_px(self, sample: Sample) -> int:
        """All pixels of the forwarded part, or 0 for a skipped window."""
        return 0 if (sample.place.i, sample.place.j) in self.coarse.refined.skipped else sample.part.pixels


@torch.inference_mode()
def refine(runner: Runner, image: Values, context: Context, weights: NDArray[np.float32]) -> Tensor:
    """Logits (B, K, h, w) of windows, of probabilities mixed from the network's and the coarser view's.

    Args:
        runner: a network that refines.
        image: the windows (B, C, h, w).
        context: the coarser view's probabilities that cover them.
        weights: of the network's probabilities in each pixel (B, h, w), 0 to 1; the coarser view has the rest.
    """
    if weights.min() == 1:
        return runner(image, context)
    found = runner.upsampled(context, (image.shape[-2], image.shape[-1]))
    numbers = np.flatnonzero(weights.max(axis=(1, 2))).tolist()
    if numbers:
        share = torch.from_numpy(weights[numbers])[:, None].to(found.device)
        refined = runner(image[numbers], context.part(numbers)).log_softmax(dim=1)
        found[numbers] = torch.logaddexp(refined + share.log(), found[numbers] + (1 - share).log())
    return found
