"""Training on a handful of windows, which any network must be able to learn by heart."""

from __future__ import annotations

import torch
from torch.nn import functional

from geoseg.models.families.building import build_body
from geoseg.spec import NetworkSpec

SIDE_PX = 64
"""Side of a window."""


def check_overfitting(network: NetworkSpec, *, below: float, steps: int, rate: float = 3e-3, cell: int = 8) -> None:
    """Check that the cross-entropy of four windows of 3 bands and 3 classes, log 3 at first, falls below a bound.

    A pixel's class depends on the values of its cell of so many pixels: bright, dark or in between.

    Raises:
        AssertionError: if it does not within so many steps.
    """
    torch.manual_seed(0)
    body = build_body(network, 3, 3).train()
    few = SIDE_PX // cell
    image = functional.interpolate(torch.randn(4, 3, few, few), scale_factor=float(cell))
    labels = (image.sum(dim=1) / 1.5).round().long().clamp(-1, 1) + 1
    image = image + 0.1 * torch.randn_like(image)
    optimizer = torch.optim.AdamW(body.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(body(image), labels)
        losses.append(float(loss.detach()))
        if losses[-1] < below:
            return
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
        optimizer.step()
    raise AssertionError(f"the loss fell from {losses[0]:.3f} to {min(losses):.3f} within {steps} steps")
