"""AdvEnt: a discriminator judges maps of how sure a network is, which are to be alike with labels and in the target.

Vu, Jain, Bucher, Cord and Pérez, "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic
Segmentation", CVPR 2019, section 3.2. The discriminator sees the part of each class in the entropy of each pixel. What
differs: it is trained by the optimizer of the run, in the same step; the weight of deceiving it rises in the first
steps; only the network's own logits count, no auxiliary ones.

In: labelled windows and windows of the target. Out: the losses of network and discriminator, neither of which has a
gradient in the other. The discriminator is left out of the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.criterion import KeptLogits
from geoseg.training.methods.discriminator import Judged, make_discriminator
from geoseg.training.methods.entropy import FromEntropy, information, sureness
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import UnlabelledSettings, logits_of


class AdvEntSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=1e-3, ge=0, le=1000)
    """Weight of deceiving the discriminator with windows of the target; that of the labels' loss is 1."""


class AdvEnt(FromEntropy):
    """Minimises the loss of labelled windows, that of deceiving the discriminator, and that of the discriminator."""

    Settings = AdvEntSettings
    needs_target = True
    sees_unlabelled = True  # else pixels without a label would be a mark of labelled windows
    figures: ClassVar[tuple[str, ...]] = (*FromEntropy.figures, "discriminator")

    def __init__(self, setup: Setup, settings: AdvEntSettings):
        super().__init__(setup, settings)
        self.discriminator = make_discriminator(len(setup.spec.classes))
        self._labelled: Judged | None = None

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """The discriminator, and those of the style."""
        return (self.discriminator, *super().opponents)

    def labelled_loss(self, windows: LabelledWindows, generator: torch.Generator) -> StepLoss:
        """Loss of labelled windows, whose maps are kept for the discriminator."""
        kept = KeptLogits(self.criterion, windows.labels)
        value = self.setup.network.training_loss(windows, kept, self.setup.averaged, generator)
        self._labelled = Judged(information(kept.taken().detach()), windows.holds_data)
        return StepLoss(value)

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of deceiving the discriminator, which is to take the target for labelled; beside it, that of judging."""
        assert self._labelled is not None  # as its loss comes first
        logits = logits_of(self.setup.network, unlabelled.image)
        target = Judged(information(logits), unlabelled.unlabelled)
        judging = self.discriminator.judging_loss(wanted=self._labelled, others=target)
        figures = sureness(logits, unlabelled.unlabelled) | {"discriminator": judging}
        return StepLoss(self.discriminator.deceiving_loss(target), figures, beside=judging)
