"""A batch of windows through the network, with what is known around them.

In: a batch, and a model's context or the classes of a coarser view. Out: logits, or logarithms of probabilities, on the
device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.geo.grid import Window
from geoseg.inference.batches import Batch, Sample
from geoseg.inference.views.context import ContextCache
from geoseg.inference.views.probability_map import CoarseClasses
from geoseg.models.runner import Runner
from geoseg.models.segmentation import Context
from geoseg.raster.scene import Values

Around = ContextCache | CoarseClasses | None
"""What is known around windows."""


def classify(runner: Runner, batch: Batch, around: Around) -> Tensor:
    """Classify the forwarded parts of a batch (B, K, h, w)."""
    if around is None:
        return runner(batch.image)
    windows = forwarded_windows(batch)
    if isinstance(around, ContextCache):
        return runner(batch.image, around.context(windows))
    weights = [around.choice.weights(*pair) for pair in zip((s.place for s in batch.samples), windows, strict=True)]
    return refine(runner, batch.image, coarse_context(around, windows, runner.device), np.stack(weights))


def are_numbers(logits: Tensor) -> Tensor:
    """Whether all logits are numbers, on their device; minus infinity, the logarithm of 0, is one."""
    return logits.sum() < torch.inf  # no comparison with NaN holds


def check_numbers(are: Tensor) -> None:
    """Refuse logits that are no numbers: of those the first class would always be the most likely.

    Raises:
        ModelError: with the usual causes.
    """
    if not bool(are):
        raise ModelError(
            "the network gives NaN or infinity: take --precision fp32 if it runs in fp16 or bf16; if the scene holds "
            "values such as -3.4e38 where it has no data, pass them as --nodata; else the model is damaged"
        )


@torch.inference_mode()
def refine(runner: Runner, image: Values, context: Context, weights: NDArray[np.float32]) -> Tensor:
    """Refine windows (B, C, h, w), where weights (B, h, w) are above 0; below 1 the coarser view tells the rest."""
    if weights.min() == 1:
        return runner(image, context)
    told = runner.upsampled(context, (image.shape[-2], image.shape[-1]))
    numbers = np.flatnonzero(weights.max(axis=(1, 2))).tolist()
    if numbers:
        share = torch.from_numpy(weights[numbers])[:, None].to(told.device)
        refined = runner(image[numbers], context.part(numbers))
        told[numbers] = torch.logaddexp(refined + share.log(), told[numbers] + (1 - share).log())
    return told


def forwarded_px(sample: Sample, around: Around) -> int:
    """How many pixels of a window the network sees: none where a coarser view is sure enough."""
    is_skipped = isinstance(around, CoarseClasses) and (sample.place.i, sample.place.j) in around.choice.skipped
    return 0 if is_skipped else sample.part.pixels


def coarse_context(coarse: CoarseClasses, windows: Sequence[Window], device: torch.device) -> Context:
    """What a coarser view told around windows of one size, as the network takes it."""
    maps, boxes = coarse.around(windows)
    return Context((torch.from_numpy(maps),), (torch.from_numpy(boxes),)).to(device)


def forwarded_windows(batch: Batch) -> list[Window]:
    """Where the forwarded parts of a batch lie in the source."""
    return [sample.part.shift(sample.place.window.row, sample.place.window.col) for sample in batch.samples]


def whole_window(sample: Sample, part: Tensor) -> Tensor:
    """Put the logits (K, h, w) of the forwarded part where they belong in the window (K, T, T)."""
    if part.shape[1:] == sample.valid.shape:
        return part
    whole = part.new_zeros(part.shape[0], *sample.valid.shape)
    whole[:, *sample.part.slices] = part
    return whole
