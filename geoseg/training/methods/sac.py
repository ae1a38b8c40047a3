"""Self-supervised augmentation consistency: a network learns what a teacher says of a window at several scales.

Araslanov and Roth, "Self-supervised Augmentation Consistency for Adapting Semantic Segmentation", CVPR 2021, section 3:
the answers of a teacher for enlarged and mirrored parts are laid back and averaged; a running prior of the classes
lowers the thresholds of rare ones; each pixel's loss is weighed by the teacher's probability and by how rare its class
is. What differs: the teacher is the running mean of the run (`ema`), updated in every step instead of every hundredth;
it sees the whole window as well, so that each pixel has an answer; the network learns the whole window instead of each
of the parts; parts are mirrored up and down, too, as imagery from above may be; the prior is that of the averaged
answers.

In: labelled windows and windows without labels. Out: the loss of both. The prior is in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import (
    FromUnlabelled,
    UnlabelledSettings,
    evaluating,
    logits_of,
    plain_of,
    targets_of,
)
from geoseg.training.optimization import ema_update
from geoseg.training.perturbations.enlarged import averaged_parts, draw_parts
from geoseg.training.perturbations.targets import Targets, share

PRIOR_MEMORY = 0.99
"""Decay γχ of the running prior."""
RARE = 1e-3
"""Prior β of a class below which its thresholds are much lower than those of others."""


class SacSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=5.0, ge=0, le=1000)
    """Weight of the loss of windows without labels; that of the labelled ones is 1."""
    parts: int = Field(default=3, ge=0, le=16)
    """Enlarged parts of each window that the teacher sees besides the whole."""
    smallest_part: float = Field(default=0.5, ge=0.1, le=1)
    """Least side of such a part, as a share of the window's; sides are drawn from there to the whole."""
    threshold: float = Field(default=0.75, ge=0, le=1)
    """Share ζ of a class's highest probability in the window from which its pixels are learnt; less for rare ones."""
    least: float = Field(default=0.2, ge=0, le=1)
    """Probability below which no pixel is learnt."""
    focus: float = Field(default=3.0, ge=0, le=100)
    """Exponent λ of the weight of rare classes: (1 - prior) to its power."""


class Sac(FromUnlabelled):
    """Minimises the loss of labelled windows, plus the cross-entropy against the teacher's averaged sure answers."""

    Settings = SacSettings
    prior: Tensor
    """Running share of each class in the teacher's answers (K)."""

    def __init__(self, setup: Setup, settings: SacSettings):
        super().__init__(setup, settings)
        classes = len(setup.spec.classes)
        self.register_buffer("prior", torch.full((classes,), 1 / classes))
        self._update, self._given = ema_update(PRIOR_MEMORY), settings

    def notices(self, known: Mapping[str, Any]) -> Sequence[str]:
        """Nothing: thresholds follow what the teacher reaches, with smoothed labels as well."""
        return ()

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of windows with varied colours against the teacher's averaged answers for their own."""
        targets = self.teaching(unlabelled, generator)
        if targets.counted.any():
            self._update([self.prior], [mean_probabilities(targets)], self.steps)
        passing = targets.passing(self.thresholds(targets))
        weights = passing * targets.confidence * (1 - self.prior[targets.classes]) ** self._given.focus
        loss = targets.class_loss(logits_of(self.setup.network, unlabelled.image), weights)
        return StepLoss(loss, {"confident": share(passing, targets.counted)})

    def teaching(self, windows: LabelledWindows, generator: torch.Generator) -> Targets:
        """The teacher's answers for windows in their own colours, and for parts of them, averaged."""
        teacher, whole = self.setup.averaged, targets_of(self.setup.averaged, windows)
        parts = [draw_parts(len(whole.counted), self._given.smallest_part, generator) for _ in range(self._given.parts)]
        with evaluating(teacher):
            return averaged_parts(teacher, plain_of(windows), whole, parts)

    def thresholds(self, targets: Targets) -> Tensor:
        """Probability from which the pixels of each class are learnt, for each window (B, K)."""
        highest = targets.probabilities.where(targets.counted.unsqueeze(1), 0).amax(dim=(2, 3))
        return (self._given.threshold * -torch.expm1(-self.prior / RARE) * highest).clamp(min=self._given.least)


def mean_probabilities(targets: Targets) -> Tensor:
    """Mean of the probabilities of each class (K), over counted pixels, of which there are some."""
    counted = targets.counted.unsqueeze(1)
    return (targets.probabilities * counted).sum(dim=(0, 2, 3)) / counted.sum()
