"""Logits as they leave a network: class by class. In: a network's logits, in any layout. Out: float32."""

from __future__ import annotations

import torch
from torch import Tensor

_CACHED = 2**18
"""Logits that fit into the cache of one core."""


def class_by_class(logits: Tensor) -> Tensor:
    """Logits (B, K, H, W) as float32, laid out class by class."""
    if logits.device.type != "cpu" or logits.is_contiguous():
        return logits.to(torch.float32, memory_format=torch.contiguous_format)
    laid = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    _, classes, height, width = logits.shape
    rows = max(1, _CACHED * torch.get_num_threads() // (classes * width))
    for first in range(0, height, rows):  # all classes of some rows while these are in the processor's cache
        laid[:, :, first : first + rows] = logits[:, :, first : first + rows]
    return laid
