"""DACS: a network learns windows without labels, onto which labelled pixels of some classes are pasted.

Tranheden, Olsson, Pinto and Svensson, "DACS: Domain Adaptation via Cross-domain Mixed Sampling", WACV 2021: ClassMix
from labelled windows onto those of the target. Pasted pixels have their labels; all others have the classes of the
running mean, weighed by the share of the target's pixels of which that is sure. What differs: both kinds of windows
have varied colours before they are mixed, not the mixed ones afterwards; the weight rises in the first steps.

In: labelled windows and windows without labels. Out: the loss of both.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import FromUnlabelled, UnlabelledSettings, logits_of, targets_of
from geoseg.training.perturbations.mixing import half_of_classes
from geoseg.training.perturbations.targets import Targets, share, weighted_mean


class DacsSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    threshold: float = Field(default=0.968, ge=0, le=1)
    """Probability above which the teacher is sure; the share of such pixels is the weight of those not pasted."""


class Dacs(FromUnlabelled):
    """Minimises the loss of labelled windows, plus the cross-entropy of windows with labelled pixels pasted in."""

    Settings = DacsSettings

    def __init__(self, setup: Setup, settings: DacsSettings):
        super().__init__(setup, settings)
        self._threshold = settings.threshold

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of mixed windows."""
        targets = targets_of(self.setup.averaged, unlabelled)
        order = torch.arange(len(unlabelled.image), device=unlabelled.image.device) % len(labelled.image)
        labels = labelled.labels[order]
        classes = targets.probabilities.shape[1]
        masks = half_of_classes(labels, labels < classes, classes, generator, rounds_up=True)
        logits = logits_of(
            self.setup.network, unlabelled.image.where(~masks.unsqueeze(1), labelled.image[order].to(unlabelled.image))
        )
        sure = share(targets.passing(self._threshold), targets.counted)
        return StepLoss(mixed_loss(logits, targets, labels, masks, sure), {"confident": sure})


def mixed_loss(logits: Tensor, targets: Targets, labels: Tensor, masks: Tensor, sure: Tensor) -> Tensor:
    """Weighted mean cross-entropy of logits (B, K, h, w), over pixels that are pasted or hold data.

    Args:
        logits: of mixed windows.
        targets: what the teacher says of them before they are mixed.
        labels: class indexes (B, h, w) of what is pasted.
        masks: where it is pasted (B, h, w), bool.
        sure: weight of all other pixels.
    """
    losses = functional.cross_entropy(logits.float(), targets.classes.where(~masks, labels), reduction="none")
    return weighted_mean(losses, torch.where(masks, 1.0, sure), targets.counted | masks)
