"""What training minimises. In: logits (B, K, H, W) and class indexes (B, H, W). Out: one number.

Pixels with the index `IGNORE` count nowhere; a batch without a valid pixel costs 0 and has the gradient 0, not NaN.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from geoseg.spec import IGNORE, LossSpec


def total_loss(logits: Tensor, labels: Tensor, spec: LossSpec) -> Tensor:
    """Weighted sum of the losses."""
    logits = logits.float()
    if not (labels != IGNORE).any():
        return logits.sum() * 0
    loss = logits.new_zeros(())
    if spec.cross_entropy:
        loss = loss + spec.cross_entropy * cross_entropy(logits, labels, spec.label_smoothing)
    if spec.dice:
        loss = loss + spec.dice * dice(logits, labels)
    return loss


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the valid pixels."""
    valid = (labels != IGNORE).sum().clamp(min=1)
    total = functional.cross_entropy(
        logits, labels, ignore_index=IGNORE, label_smoothing=label_smoothing, reduction="sum"
    )
    return total / valid


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus 2 |P ∩ Y| / (|P| + |Y|), over the batch as a whole, averaged over the classes in its labels.

    smp's DiceLoss would do, but averages over absent classes too, which dilutes rare ones in small batches.
    """
    valid = (labels != IGNORE).unsqueeze(1)
    truth = functional.one_hot(labels.where(labels != IGNORE, 0), logits.shape[1]).permute(0, 3, 1, 2) * valid
    shares = logits.softmax(dim=1) * valid
    common, areas = (shares * truth).sum(dim=(0, 2, 3)), (shares + truth).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    losses = (1 - 2 * common / areas.clamp(min=1e-6)) * present
    return losses.sum() / present.sum().clamp(min=1)
