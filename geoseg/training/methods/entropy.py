"""What the methods share that learn from how sure a network is of windows without labels.

Vu, Jain, Bucher, Cord and Pérez, "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic
Segmentation", CVPR 2019, section 3.

In: logits. Out: the entropy of each pixel, and the part of each class in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from geoseg.training.methods.unlabelled import FromUnlabelled
from geoseg.training.perturbations.targets import Targets, share, weighted_mean

SURE = 0.9
"""Probability from which pixels are shown as sure; nothing that is learnt depends on it."""


class FromEntropy(FromUnlabelled):
    """A method to which it matters how sure the network is of each pixel, without a threshold."""

    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "confident", "entropy")

    def notices_after(self, history: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Nothing: pixels of which it is not sure are those that it learns from."""
        return ()


def information(logits: Tensor) -> Tensor:
    """The part of each class in the entropy of a pixel, I_c = -p_c log p_c / log K, of logits (B, K, h, w)."""
    logarithms = logits.float().log_softmax(dim=1)
    return -logarithms.exp() * logarithms / math.log(logits.shape[1])


def entropy(logits: Tensor) -> Tensor:
    """Entropy of each pixel (B, h, w), of logits (B, K, h, w): 0 where one class is certain, 1 where all are alike."""
    return information(logits).sum(dim=1)


@torch.no_grad()
def sureness(logits: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """The share of counted pixels (B, h, w) of which a network is sure, and their mean entropy, by figure."""
    targets = Targets(logits.softmax(dim=1), counted)
    mean = weighted_mean(entropy(logits), torch.ones_like(targets.confidence), counted)
    return {"confident": share(targets.passing(SURE), counted), "entropy": mean}
