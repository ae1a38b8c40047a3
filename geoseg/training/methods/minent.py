"""MinEnt: a network is to be sure of windows without labels.

Vu, Jain, Bucher, Cord and Pérez, "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic
Segmentation", CVPR 2019, section 3.1: L_seg + λ_ent L_ent. What differs: the weight rises in the first steps, and only
the network's own logits count, no auxiliary ones. With `eta` above 0.5 it is the entropy loss of Yang and Soatto,
"FDA", CVPR 2020, equation 5, which learns most where the network is least sure.

In: labelled windows and windows without labels. Out: the loss of both.
"""

from __future__ import annotations

import torch
from pydantic import Field

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.entropy import FromEntropy, entropy, sureness
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import UnlabelledSettings, logits_of
from geoseg.training.perturbations.targets import weighted_mean

ADDED = 1e-8
"""What is added to the squared entropy, whose root would have no gradient at 0."""


class MinEntSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=1e-3, ge=0, le=1000)
    """Weight of the entropy of windows without labels; that of the labels' loss is 1."""
    eta: float = Field(default=0.5, gt=0, le=10)
    """Exponent of the squared entropy of a pixel: 0.5 minimises the entropy itself, 2 is that of FDA."""


class MinEnt(FromEntropy):
    """Minimises the loss of labelled windows, plus the weighted mean of (entropy² + 1e-8) ** eta."""

    Settings = MinEntSettings

    def __init__(self, setup: Setup, settings: MinEntSettings):
        super().__init__(setup, settings)
        self._given = settings

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Entropy of windows with varied colours; with the weight 0, they are looked at alone."""
        counted = unlabelled.unlabelled
        with torch.set_grad_enabled(self._given.weight > 0):
            logits = logits_of(self.setup.network, unlabelled.image)
            penalty = (entropy(logits).square() + ADDED) ** self._given.eta
            value = weighted_mean(penalty, torch.ones_like(penalty), counted)
        return StepLoss(value, sureness(logits, counted))
