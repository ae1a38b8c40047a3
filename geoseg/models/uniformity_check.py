"""Whether a network's logits depend on the position of a pixel in its window. In: a network. Out: yes or no.

Tested on a constant window: a network whose logits vary over it draws the borders of windows into open water.
"""

from __future__ import annotations

import torch

from geoseg.models.segmentation import SegmentationNetwork

PROBE_PX = 128
"""Least side of the constant window, in pixels."""
TOLERANCE = 5e-3
"""Largest difference of logits that counts as rounding, also in 16-bit arithmetic, as a share of the largest logit."""


def keeps_uniform(network: SegmentationNetwork, multiple: int) -> bool:
    """Whether all pixels of a constant window get the same logits; True if the network does not take the window.

    A pattern that repeats with the network's stride (`multiple`, in pixels) is allowed: it is the same in all windows.
    """
    steps = max(4, -(-PROBE_PX // multiple))
    side, middle = steps * multiple, steps // 2 * multiple
    colour = network.normalize.mean + network.normalize.std
    try:
        with torch.inference_mode():
            logits = network.eval()(colour.expand(1, -1, side, side))
    except Exception:  # e.g. a network of one input size: an error on real windows will say so
        return True
    if logits.shape[-2:] != (side, side):
        return True
    block = logits[:, :, middle : middle + multiple, middle : middle + multiple]
    uneven = (logits - block.repeat(1, 1, steps, steps)).abs().max()
    return not bool(uneven > TOLERANCE * logits.abs().max())
