"""What a network is to answer for windows without labels: the probabilities of a teacher, and where they count.

In: probabilities (B, K, h, w) and the pixels that hold data. Out: losses of logits against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional

Kept = Literal["pixel", "batch"]
"""Whether a threshold keeps pixels, or weighs a whole batch by the share of its pixels that pass."""


@dataclass(frozen=True)
class Targets:
    """Answers of a teacher, without gradients."""

    probabilities: Tensor
    """Probabilities of the classes (B, K, h, w), float32."""
    counted: Tensor
    """Pixels that count (B, h, w), bool: they hold data, and are shown to the network."""

    @property
    def confidence(self) -> Tensor:
        """Highest probability of each pixel (B, h, w)."""
        return self.probabilities.amax(dim=1)

    @property
    def classes(self) -> Tensor:
        """Most probable class of each pixel (B, h, w), int64."""
        return self.probabilities.argmax(dim=1)

    def pasted(self, masks: Tensor, order: Tensor) -> Targets:
        """The same with masked pixels (B, h, w) taken from the windows that `order` (B,) names."""
        probabilities = self.probabilities.where(~masks.unsqueeze(1), self.probabilities[order])
        return Targets(probabilities, self.counted.where(~masks, self.counted[order]))

    def hidden(self, masks: Tensor) -> Targets:
        """The same without masked pixels (B, h, w)."""
        return Targets(self.probabilities, self.counted & ~masks)

    def passing(self, threshold: float | Tensor) -> Tensor:
        """Counted pixels (B, h, w) whose confidence reaches a threshold, or that of their class (K,), or that of their
        class in their window (B, K)."""
        confidence, classes = self.probabilities.max(dim=1)
        if isinstance(threshold, float):
            return self.counted & (confidence >= threshold)
        of_windows = threshold.to(confidence).expand(len(classes), -1)
        return self.counted & (confidence >= of_windows.gather(1, classes.flatten(1)).view_as(classes))

    def weights(self, threshold: float | Tensor, kept: Kept) -> Tensor:
        """Weight of each pixel (B, h, w): 1 for those that pass, 0 for others; or for all the share that passes.

        The share of a whole batch is that of CutMix-seg (French et al. 2020) and ClassMix (Olsson et al. 2021), whose
        sure pixels alone would be those in the middle of large regions.
        """
        passing = self.passing(threshold)
        return passing.float() if kept == "pixel" else self.counted * share(passing, self.counted)

    def square_loss(self, logits: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean, over counted pixels, of the squared difference of probabilities, summed over the classes."""
        difference = (logits.float().softmax(dim=1) - self.probabilities).square().sum(dim=1)
        return weighted_mean(difference, weights, self.counted)

    def class_loss(self, logits: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean, over counted pixels, of the cross-entropy against the most probable class."""
        loss = functional.cross_entropy(logits.float(), self.classes, reduction="none")
        return weighted_mean(loss, weights, self.counted)


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Share of some pixels that others are, both bool; 0 of none."""
    return part.sum() / whole.sum().clamp(min=1)


def weighted_mean(values: Tensor, weights: Tensor, counted: Tensor) -> Tensor:
    """Mean of values times weights over counted pixels, all (B, h, w); 0 of none."""
    return (values * weights * counted).sum() / counted.sum().clamp(min=1)
