"""Semantic-aware normalisation and whitening of an encoder's early stages (SAN & SAW), for regions nobody has seen.

Peng, Lei, Hayat, Guo and Li, "Semantic-Aware Domain Generalized Segmentation", CVPR 2022. SAN (section 3.2) normalises
the features of each class by themselves, in the region where a classifier of the stage finds it; SAW (section 3.3)
takes correlations away between the channels that matter to the classes. What differs: all classes take part, each with
an attention of its own; regions are found by Otsu's threshold instead of 5-means; statistics are those of pixels with
data; covariances are centred, and none is that of a channel with itself.

In: features of a stage (B, C, h, w). Out: features of the same shape, which replace them for all later layers, and in
training the loss of the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.data_mask import ROUNDING, holds_data, mask_at, normalized_stand_ins
from geoseg.models.early_stages import early_stages
from geoseg.models.families.body import Body
from geoseg.spec import IGNORE, ModelSpec

KERNEL = 7
"""Side of the kernels of attention, in pixels of the map."""
EPSILON = 1e-5
"""Added to variances."""
WEIGHT = 0.1
"""Weight of each part of the loss, as in the paper."""


class Forwarded(NamedTuple):
    """What a stage has made of a batch in training."""

    features: Tensor
    """Its features (B, C, h, w) before."""
    scores: Tensor
    """Logits of its classifier (B, K, h, w)."""
    mask: Tensor
    """Pixels with data (B, 1, h, w)."""
    normalized: Tensor
    """Its features (B, C, h, w) after."""


class SemanticNormalization(nn.Module):
    """Normalises the features of one stage by class."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.classifier = nn.Conv2d(channels, classes, kernel_size=1)
        self.attention = nn.Conv2d(3 * classes, classes, KERNEL, padding=KERNEL // 2, groups=classes)
        self.weight = nn.Parameter(torch.ones(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, features: Tensor, mask: Tensor) -> Forwarded:
        """Normalise features (B, C, h, w), of which a mask (B, 1, h, w) says where they show data."""
        scores = self.classifier(features.detach())
        gates = self._gates(features, scores.softmax(dim=1), mask)
        return Forwarded(features, scores, mask, self.normalized(features, gates, mask))

    def normalized(self, features: Tensor, gates: Tensor, mask: Tensor) -> Tensor:
        """ReLU of the sum over classes of the instance norm of features times a gate (B, K, h, w).

        The features of all classes, K times as large as the map, are never made: their statistics are products of gates
        and features, and their weighted sum is one factor and one offset for each channel.
        """
        x, g, shown = (one.flatten(2) for one in (features, gates * mask, mask.to(gates.dtype)))
        count = shown.sum(dim=2, keepdim=True).clamp(min=1)  # (B, 1, 1)
        mean = g @ x.transpose(1, 2) / count  # (B, K, C)
        variance = (g.square() @ x.square().transpose(1, 2) / count - mean.square()).clamp(min=0)
        factor = self.weight * (variance + EPSILON).rsqrt()
        offset = (self.bias - factor * mean).sum(dim=1).unsqueeze(2)
        found: Tensor = x * (factor.transpose(1, 2) @ g) + offset
        return found.relu().view_as(features)

    def _gates(self, features: Tensor, shares: Tensor, mask: Tensor) -> Tensor:
        """Probability times attention in the region of each class, 0 elsewhere (B, K, h, w)."""
        mean, most = features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)
        seen = (torch.stack([mean * shares, most * shares, shares], dim=2) * mask.unsqueeze(1)).flatten(1, 2)
        gates = shares * self.attention(seen).sigmoid()
        with torch.no_grad():
            region = otsu_regions((gates * mean).flatten(2), mask.flatten(2).expand_as(gates.flatten(2)))
        found: Tensor = gates * region.view_as(gates)
        return found

    def loss(self, forwarded: Forwarded, labels: Tensor) -> Tensor:
        """Loss of the stage for the first windows of a batch, those of the labels (B, H, W): a scalar.

        The cross-entropy of its classifier, the distance of its features from those that true regions would give
        (guidance), and what is left of correlations.
        """
        features, scores, mask, normalized = (one[: len(labels)].float() for one in forwarded)
        coarse = functional.interpolate(labels.unsqueeze(1).float(), features.shape[-2:], mode="nearest-exact")
        coarse = coarse.squeeze(1).long()
        known = coarse < scores.shape[1]  # no set of classes, nor IGNORE
        truth = functional.one_hot(coarse.where(known, 0), scores.shape[1]).movedim(3, 1) * known.unsqueeze(1)
        with torch.no_grad():
            wanted = self.normalized(features, truth.to(features), mask)
        entropy = functional.cross_entropy(scores, coarse.where(known, IGNORE), ignore_index=IGNORE, reduction="sum")
        distance = functional.smooth_l1_loss(normalized, wanted, reduction="none").mean(dim=1)
        labelled = known.sum().clamp(min=1)
        guidance = (distance * known).sum() / labelled
        return WEIGHT * (entropy / labelled + guidance + self._correlation(normalized, mask))

    def _correlation(self, features: Tensor, mask: Tensor) -> Tensor:
        """SAW: correlations between the channels that are equally important, each to another class.

        Group j has the channel with the j-th largest weight in the classifier of every class. All covariances of a map
        are computed once, and gathered by group.
        """
        weight = self.classifier.weight.detach().flatten(1).abs().float()  # (K, C)
        order = weight.argsort(dim=1, descending=True).T  # (C, K): group, class
        scale = weight.T.gather(0, order).sigmoid()
        covariance = covariances(features, mask)[:, order.unsqueeze(2), order.unsqueeze(1)]  # (B, C, K, K)
        is_other = order.unsqueeze(2) != order.unsqueeze(1)  # a channel may matter to several classes
        covariance = covariance * scale.unsqueeze(2) * scale.unsqueeze(1) * is_other
        pairs = max(len(weight) * (len(weight) - 1) // 2, 1)
        outside = covariance.triu(1).abs().sum(dim=(2, 3))
        return ((outside - pairs // 2).clamp(min=0) / pairs).mean(dim=0).sum()


class SemanticStages(nn.Module):
    """Semantic-aware normalisation of the early stages of a body, by forward hooks; its weights are the body's."""

    without: Tensor

    def __init__(self, body: Body, spec: ModelSpec):
        """Hook the early stages of a body that is built for a spec.

        Raises:
            ModelError: if it has none.
        """
        super().__init__()
        found = early_stages(body, len(spec.bands))
        self.stages = nn.ModuleList(SemanticNormalization(one.channels, len(spec.classes)) for one in found.stages)
        mean, std = (torch.tensor(one) for one in (spec.normalization.mean, spec.normalization.std))
        self.register_buffer("without", normalized_stand_ins(mean, std), persistent=False)
        self._mask: Tensor | None = None
        self._waiting: set[int] = set()
        self._learnt: dict[int, Forwarded] = {}
        found.entry.register_forward_pre_hook(self._enter)
        for number, stage in enumerate(found.stages):
            stage.module.register_forward_hook(partial(self._leave, number))

    def loss(self, labels: Tensor) -> Tensor | None:
        """Loss of the batch that was forwarded last in training, a scalar; once per batch.

        Args:
            labels: class indexes (B, H, W) of its first windows, padded as the windows were.
        """
        learnt, self._learnt = self._learnt, {}
        if not learnt:
            return None
        stages = cast(Sequence[SemanticNormalization], self.stages)
        return torch.stack([stages[number].loss(one, labels) for number, one in learnt.items()]).sum()

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """See which pixels of the image (B, C, H, W) hold data."""
        self._mask = holds_data(inputs[0].detach().float(), self.without, ROUNDING)
        self._waiting = set(range(len(self.stages)))

    def _leave(self, number: int, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Replace the features of a stage."""
        assert self._mask is not None  # the image has entered
        with torch.autocast(output.device.type, enabled=False):
            found: Forwarded = self.stages[number](output.float(), mask_at(self._mask, output.shape[-2:]))
        self._waiting.discard(number)
        if not self._waiting:
            self._mask = None
        if not torch.is_grad_enabled():
            return found.normalized.to(output.dtype)
        if module.training:
            self._learnt[number] = found
        return found.normalized.to(output.dtype, copy=True)  # which layers behind may change in place


def otsu_regions(values: Tensor, mask: Tensor) -> Tensor:
    """Which values (..., P) of a mask are above Otsu's threshold of those in it: the one that parts them best.

    All of them, where they are equal.
    """
    order = values.argsort(dim=-1)
    sorted_values, weight = values.gather(-1, order), mask.gather(-1, order).to(values.dtype)
    below, total = weight.cumsum(-1), weight.sum(-1, keepdim=True)
    sums = (weight * sorted_values).cumsum(-1)
    above = total - below
    apart = sums[..., -1:] / total.clamp(min=1) * below - sums
    between = (apart.square() / (below * above).clamp(min=1)).where((below > 0) & (above > 0), 0)
    best, place = between.max(dim=-1, keepdim=True)
    threshold = sorted_values.gather(-1, place)
    return mask & ((values > threshold) | (best <= 0))


def covariances(features: Tensor, mask: Tensor) -> Tensor:
    """Covariances (B, C, C) of the channels of features (B, C, h, w) over the pixels of a mask (B, 1, h, w)."""
    x, shown = features.flatten(2), mask.flatten(2).to(features.dtype)
    count = shown.sum(dim=2, keepdim=True)
    centred = (x - (x * shown).sum(dim=2, keepdim=True) / count.clamp(min=1)) * shown
    return centred @ centred.transpose(1, 2) / (count - 1).clamp(min=1)
