"""What training minimises. In: logits (B, K, H, W) and class indexes (B, H, W). Out: one number.

Pixels with the index `IGNORE` count nowhere; a batch without a valid pixel costs 0 and has the gradient 0, not NaN.
The losses themselves take the logarithms of the class probabilities, float32, which all of them share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor, nn
from torch.nn import functional

from geoseg.spec import IGNORE, LossSpec

_TINY = 1e-6
"""Least area, in pixels, and least missing probability that is divided by or raised to a power."""

Term = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class SegmentationLoss(nn.Module):
    """Weighted sum of losses."""

    class_weights: Tensor | None

    def __init__(self, spec: LossSpec, class_counts: Sequence[float]):
        """Prepare the losses.

        Args:
            spec: which losses, with which weights.
            class_counts: pixels of each class in the training ground, in the order of the logits.
        """
        super().__init__()
        weights = None if spec.class_weights == "none" else class_weights(class_counts, spec.class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.spec = spec

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (B, K, H, W) of any float type against class indexes (B, H, W), int64."""
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if not (labels != IGNORE).any():
                return logits.sum() * 0
            logs = logits.log_softmax(dim=1)
            losses = [weight * term(logs, labels, self.class_weights) for weight, term in _terms(self.spec)]
            return torch.stack(losses).sum()


def _terms(spec: LossSpec) -> list[tuple[float, Term]]:
    """Weight and function of each loss that counts."""
    terms: list[tuple[float, Term]] = [
        (spec.cross_entropy, lambda logs, labels, by: cross_entropy(logs, labels, by, spec.label_smoothing)),
        (spec.ohem, lambda logs, labels, by: ohem(logs, labels, by, spec.ohem_threshold, spec.ohem_share)),
        (spec.focal, lambda logs, labels, by: focal(logs, labels, by, spec.focal_gamma)),
        (spec.dice, lambda logs, labels, by: tversky(logs, labels, 0.5, 0.5)),
        (spec.jaccard, lambda logs, labels, by: tversky(logs, labels, 1.0, 1.0)),
        (spec.tversky, lambda logs, labels, by: tversky(logs, labels, spec.tversky_alpha, spec.tversky_beta)),
        (spec.lovasz, lambda logs, labels, by: lovasz(logs, labels)),
    ]
    return [(weight, term) for weight, term in terms if weight]


def class_weights(counts: Sequence[float], how: str | Sequence[float]) -> Tensor:
    """Weight of each class, (K,) float32: as given, or by the share of the pixels that it has.

    `inverse` is 1 / share and `sqrt_inverse` its root, scaled to the mean 1 over the classes that occur.
    `median_frequency` is the median share / share (Eigen & Fergus 2015, section 6.3.2), so that a class of middling
    frequency weighs 1. The paper counts a class only over the images that show it; over the whole ground, as here, it
    has the proportions of `inverse`, and in a weighted mean its effect. Classes without a pixel weigh 0, not infinity.
    """
    if not isinstance(how, str):
        return torch.tensor(how, dtype=torch.float32)
    pixels = torch.tensor(counts, dtype=torch.float64)
    occurs = pixels > 0
    shares = pixels[occurs] / pixels.sum()
    rare = {"inverse": 1 / shares, "sqrt_inverse": shares.rsqrt(), "median_frequency": _median(shares) / shares}[how]
    weights = torch.zeros_like(pixels)
    weights[occurs] = rare if how == "median_frequency" else rare / rare.mean()
    return weights.float()


def _median(values: Tensor) -> Tensor:
    """Median; of an even number of values the mean of the middle two, which torch.median does not give."""
    return values.quantile(0.5) if len(values) else values.sum()


def cross_entropy(logs: Tensor, labels: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the valid pixels, each weighing what its class weighs."""
    costs = _costs(logs, labels)
    if label_smoothing:
        costs = (1 - label_smoothing) * costs - label_smoothing * logs.mean(dim=1)
    return _weighted_mean(costs, _pixel_weights(labels, weights))


def ohem(logs: Tensor, labels: Tensor, weights: Tensor | None, threshold: float, share: float) -> Tensor:
    """Mean cross-entropy of the hard pixels: online hard example mining (Shrivastava et al. 2016), pixel by pixel.

    Hard are pixels whose true class has less than the probability `threshold`; at least the worst `share` of the valid
    ones is kept. What a class weighs does not make its pixels hard.
    """
    costs, counted = _costs(logs, labels), _pixel_weights(labels, weights)
    with torch.no_grad():
        valid = labels != IGNORE
        hard = valid & (costs > -math.log(threshold))
        least = math.ceil(share * int(valid.sum()))
        if least > int(hard.sum()):
            hard = valid & (costs >= costs[valid].topk(least).values[-1])
    return _weighted_mean(costs, counted * hard)


def focal(logs: Tensor, labels: Tensor, weights: Tensor | None, gamma: float) -> Tensor:
    """Mean of (1 - p) ** gamma times the cross-entropy, p being the true class's softmax (Lin et al. 2017, eq. 4)."""
    costs = _costs(logs, labels)
    # 1 - p without cancellation, kept off 0, where its power has no derivative for gamma < 1.
    missing = (-torch.expm1(-costs)).clamp(min=_TINY)
    return _weighted_mean(missing**gamma * costs, _pixel_weights(labels, weights))


def tversky(logs: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """One minus TP / (TP + alpha FP + beta FN), averaged over the classes in the labels (Salehi et al. 2017, eq. 3).

    The batch counts as a whole. Half and half is the Dice overlap, one and one the Jaccard overlap. Classes that are
    not in the labels are left out: smp's DiceLoss averages over them too, which dilutes rare ones in small batches.
    """
    shares, valid = logs.exp(), (labels != IGNORE).unsqueeze(1)
    classes = torch.arange(logs.shape[1], device=labels.device).view(1, -1, 1, 1)
    truth = labels.unsqueeze(1) == classes  # (B, K, H, W); IGNORE is no class
    hits, given, pixels = (part.sum(dim=(0, 2, 3)) for part in (shares * truth, shares * valid, truth))
    wrong, missed = given - hits, pixels - hits
    overlaps = hits / (hits + alpha * wrong + beta * missed).clamp(min=_TINY)
    present = pixels > 0
    return ((1 - overlaps) * present).sum() / present.sum().clamp(min=1)


def lovasz(logs: Tensor, labels: Tensor) -> Tensor:
    """Lovász-softmax over the batch as a whole, averaged over the classes in the labels (Berman et al. 2018)."""
    if not (labels != IGNORE).any():
        return logs.sum() * 0  # smp's gives an empty tensor
    loss: Tensor = LovaszLoss(mode="multiclass", ignore_index=IGNORE)(logs, labels)
    return loss


def _costs(logs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per pixel (B, H, W), 0 where there is no label."""
    return functional.nll_loss(logs, labels, ignore_index=IGNORE, reduction="none")


def _pixel_weights(labels: Tensor, weights: Tensor | None) -> Tensor:
    """What each pixel weighs (B, H, W): as much as its class, nothing where there is no label."""
    valid = labels != IGNORE
    return valid.float() if weights is None else weights[labels.where(valid, 0)] * valid


def _weighted_mean(costs: Tensor, weights: Tensor) -> Tensor:
    """Mean of the costs; 0 where nothing weighs anything."""
    return (costs * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
