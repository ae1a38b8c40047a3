"""Whether a network takes windows of a size, and gives logits for each of their pixels.

Tested by forwarding a window: some encoders take one size alone, some heads give fewer pixels than they get.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.core.system_errors import lacks_memory

MOST_REASON = 300
"""Most characters of the network's own message in the error."""


def check_window(network: nn.Module, bands: int, side: int) -> None:
    """Forward a window (1, bands, side, side) of zeros.

    Raises:
        ModelError: if the network does not take windows of that size.
    """
    first = next(network.parameters(), torch.zeros(()))
    image = torch.zeros(1, bands, side, side, device=first.device)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            logits: Tensor = network(image)
    except Exception as error:
        if lacks_memory(error):
            raise
        raise misfit(image, error) from None
    finally:
        network.train(was_training)
    check_size(logits, image)


def check_size(logits: Tensor, image: Tensor) -> None:
    """Check that logits are (B, K, H, W) for windows (B, C, H, W).

    Raises:
        ModelError: if not.
    """
    if logits.ndim != 4 or len(logits) != len(image) or logits.shape[-2:] != image.shape[-2:]:
        raise misfit(image, ValueError(f"it gives logits of {tuple(logits.shape)}"))


def misfit(image: Tensor, error: Exception) -> ModelError:
    """The error for a network that fails on windows (B, C, H, W)."""
    height, width = image.shape[-2:]
    reason = shown(one_line(error), MOST_REASON, quoted=False)
    return ModelError(
        f"the network does not take windows of {height} x {width} pixels: {reason}: check network.multiple and "
        "network.arguments (img_size, upsampling), and the size of windows (--tile; window and tile in a config)"
    )
