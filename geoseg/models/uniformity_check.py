"""Whether a network's answer depends on where in a window a pixel lies. In: a network. Out: yes or no.

Found by showing it a window of one colour: whoever answers that unevenly draws the borders of windows into open water.
"""

from __future__ import annotations

import torch

from geoseg.models.segmentation import SegmentationNetwork

PROBE_PX = 128
"""Least side of the window that is shown."""
TOLERANCE = 5e-3
"""By how much logits may differ, as a share of the largest one: roundings, also those of 16-bit arithmetic."""


def keeps_uniform(network: SegmentationNetwork, multiple: int) -> bool:
    """Whether a window of one colour gets the same logits all over; also if the network does not take such a window.

    The same but for a pattern that repeats with the network's stride, which windows share.
    """
    steps = max(4, -(-PROBE_PX // multiple))
    side, middle = steps * multiple, steps // 2 * multiple
    colour = network.normalize.mean + network.normalize.std
    try:
        with torch.inference_mode():
            logits = network.eval()(colour.expand(1, -1, side, side))
    except Exception:  # e.g. a network of one size; the windows that it is given later say what is wrong
        return True
    if logits.shape[-2:] != (side, side):
        return True
    block = logits[:, :, middle : middle + multiple, middle : middle + multiple]
    uneven = (logits - block.repeat(1, 1, steps, steps)).abs().max()
    return not bool(uneven > TOLERANCE * logits.abs().max())
