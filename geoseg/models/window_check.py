"""Whether a network takes windows of some size, and gives logits for each of their pixels.

Only forwarding a window shows what an encoder or a head makes of a size: some accept one size, some give fewer pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.core.system_errors import lacks_memory

MOST_REASON = 300
"""Characters of a network's own message that are passed on."""


def check_window(network: nn.Module, bands: int, side: int) -> None:
    """Show a network one window.

    Raises:
        ModelError: if it does not take windows of that size.
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
    """Make sure that there are logits (B, K, H, W) for each pixel of windows (B, C, H, W).

    Raises:
        ModelError: if not.
    """
    if logits.ndim != 4 or len(logits) != len(image) or logits.shape[-2:] != image.shape[-2:]:
        raise misfit(image, ValueError(f"it gives logits of {tuple(logits.shape)}"))


def misfit(image: Tensor, error: Exception) -> ModelError:
    """What to say when a network fails on windows (B, C, H, W)."""
    height, width = image.shape[-2:]
    reason = shown(one_line(error).rstrip("."), MOST_REASON, quoted=False)
    return ModelError(
        f"the network does not take windows of {height} x {width} pixels: {reason}: check network.multiple and "
        "network.arguments (img_size, upsampling), and the size of windows (--tile; window and tile in a config)"
    )
