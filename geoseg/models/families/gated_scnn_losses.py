"""The losses of Gated-SCNN (Takikawa et al. 2019, section 3.3): of boundaries, and between them and classes.

In: logits of classes and of boundaries, and class indexes. Out: scalars.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.spec import IGNORE

THRESHOLD = 0.8
"""Probability above which a pixel is a predicted boundary in `boundary_loss`."""
TEMPERATURE = 1.0
"""Temperature of the Gumbel softmax in `dual_task_loss`."""
SIGMA_PX = 1.0
"""Standard deviation of the Gaussian with which class maps are smoothed before their gradient is taken, in pixels."""
REACH_PX = 2
"""Radius of that Gaussian's kernel, in pixels."""


def boundary_map(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether pixels of labels (B, H, W) lie at a boundary of classes, and whether they have a label; bool (B, H, W).

    It lies there if one of the 3 × 3 pixels around it has another class. Pixels without a label are no class.
    """
    known = labels != IGNORE
    highest = _largest(labels.where(known, -1))
    lowest = -_largest((-labels).where(known, -IGNORE))
    return known & (highest != lowest), known


def edge_loss(logits: Tensor, edges: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of logits of boundaries (B, H, W), part of equation 3; 0 where nothing is known.

    The paper leaves the balance of the two to a coefficient: boundaries and other pixels weigh as much as the share of
    the other kind, as in Xie and Tu, "Holistically-Nested Edge Detection", ICCV 2015, equation 2.
    """
    count = known.sum().clamp(min=1)
    share = (edges & known).sum() / count
    weights = torch.where(edges, 1 - share, share) * known
    losses = functional.binary_cross_entropy_with_logits(logits, edges.to(logits.dtype), weights, reduction="sum")
    return losses / count


def dual_task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Equation 5: mean difference between the boundary strengths of predicted and of labelled classes.

    Where one of the two is not 0. The predicted classes are those of the largest logits (B, K, H, W), whose gradient is
    that of a softmax with Gumbel noise.
    """
    known = labels != IGNORE
    noise = -torch.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / TEMPERATURE).softmax(dim=1)
    hard = functional.one_hot(logits.argmax(dim=1), logits.shape[1]).permute(0, 3, 1, 2)
    predicted = boundary_strength((hard + soft - soft.detach()).to(logits.dtype))
    labelled = functional.one_hot(labels.where(known, 0), logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    wanted = boundary_strength(labelled)
    far = REACH_PX + 1
    is_far_from_unknown = functional.max_pool2d((~known).float()[:, None], 2 * far + 1, 1, far)[:, 0] == 0
    counted = is_far_from_unknown & ((predicted.detach() > _LEAST) | (wanted > _LEAST))
    return ((predicted - wanted).abs() * counted).sum() / counted.sum().clamp(min=1)


def boundary_loss(logits: Tensor, labels: Tensor, edges: Tensor) -> Tensor:
    """Equation 6: cross-entropy of logits (B, K, H, W) where logits of boundaries (B, H, W) predict one; a mean."""
    at_edges = labels.where(edges.detach().sigmoid() > THRESHOLD, IGNORE)
    losses = functional.cross_entropy(logits, at_edges, ignore_index=IGNORE, reduction="sum")
    return losses / (at_edges != IGNORE).sum().clamp(min=1)


def boundary_strength(classes: Tensor) -> Tensor:
    """Equation 4: the length of the gradient of smoothed class maps (B, K, H, W), over √2; (B, H, W).

    Where one class ends another begins: two of the maps change by the same amount.
    """
    smooth = _smoothed(classes)
    padded = functional.pad(smooth, (1, 1, 1, 1), mode="replicate")
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return ((down.square() + across.square()).sum(dim=1) + _TINY).sqrt() / math.sqrt(2)


_TINY = 1e-12
"""Keeps the square root's gradient finite."""
_LEAST = 1e-4
"""Strength above which a pixel lies at a boundary."""


def _smoothed(maps: Tensor) -> Tensor:
    """Maps (B, K, H, W), convolved with a Gaussian; values are replicated beyond the edges."""
    offsets = torch.arange(-REACH_PX, REACH_PX + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA_PX**2))
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, -1)
    padded = functional.pad(maps, (REACH_PX,) * 4, mode="replicate")
    down = functional.conv2d(padded, kernel[:, :, :, None], groups=maps.shape[1])
    return functional.conv2d(down, kernel[:, :, None, :], groups=maps.shape[1])


def _largest(labels: Tensor) -> Tensor:
    """Largest of the 3 × 3 labels around each (B, H, W)."""
    return functional.max_pool2d(labels.float()[:, None], kernel_size=3, stride=1, padding=1)[:, 0]
