"""Adversarial training: a discriminator judges whether maps of classes look like labels, or were made by the network.

Hung, Tsai, Liou, Lin and Yang, "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018, section 3:
the sum of the losses L_ce + λ_adv L_adv + λ_semi L_semi, and L_D of the discriminator. The network learns to deceive
the discriminator, and learns its own classes where that takes them for labels. What differs: the discriminator is
trained by the optimizer of the run, in the same step; the loss of windows without labels rises over the first quarter
of the steps instead of setting in after it; pixels without a label of one class are 0 in the maps of both kinds.

In: labelled windows and windows without labels. Out: the losses of network and discriminator, neither of which has a
gradient in the other. The discriminator is left out of the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.criterion import KeptLogits
from geoseg.training.methods.discriminator import Judged, make_discriminator
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import FromUnlabelled, UnlabelledSettings, logits_of
from geoseg.training.perturbations.targets import Targets, share


class AdversarialSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    ramp_up: float = Field(default=0.25, ge=0, le=1)
    """Share of the steps in which the weight of windows without labels rises from 0."""
    deceive_labelled: float = Field(default=0.01, ge=0, le=1000)
    """Weight of the adversarial loss of labelled windows."""
    deceive_unlabelled: float = Field(default=0.001, ge=0, le=1000)
    """Weight of the adversarial loss of windows without labels."""
    own_classes: float = Field(default=0.1, ge=0, le=1000)
    """Weight of the cross-entropy of windows without labels against the network's own classes."""
    threshold: float = Field(default=0.2, ge=0, le=1)
    """Probability of being a label, by the discriminator, above which these are learnt."""


class Adversarial(FromUnlabelled):
    """Minimises the loss of labelled windows, the adversarial losses of both kinds, and that of the discriminator."""

    Settings = AdversarialSettings
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "confident", "discriminator")

    def __init__(self, setup: Setup, settings: AdversarialSettings):
        super().__init__(setup, settings)
        self.discriminator = make_discriminator(len(setup.spec.classes))
        self._given = settings

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """The discriminator, and those of the style."""
        return (self.discriminator, *super().opponents)

    def labelled_loss(self, windows: LabelledWindows, generator: torch.Generator) -> StepLoss:
        """Loss of labelled windows, of deceiving the discriminator, and of the discriminator itself."""
        kept = KeptLogits(self.criterion, windows.labels)
        own = self.setup.network.training_loss(windows, kept, self.setup.averaged, generator)
        maps = kept.taken().float().softmax(dim=1)
        deceiving = self.deceiving_loss(maps, windows.labels < maps.shape[1])
        judging = self.judging_loss(maps, windows.labels)
        value = own + self._given.deceive_labelled * deceiving + judging
        return StepLoss(value, {"labelled": own, "discriminator": judging})

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of deceiving the discriminator, and of the network's own classes where that takes them for labels."""
        given, counted = self._given, unlabelled.unlabelled
        logits = logits_of(self.setup.network, unlabelled.image)
        maps = logits.softmax(dim=1)
        targets = Targets(maps.detach(), counted)
        with torch.no_grad():
            judged = self.discriminator.judge(Judged(targets.probabilities, counted))
        accepted = counted & (judged.sigmoid() > given.threshold)
        deceiving = self.deceiving_loss(maps, counted)
        learning = targets.class_loss(logits, accepted.float())
        value = given.deceive_unlabelled * deceiving + given.own_classes * learning
        return StepLoss(value, {"confident": share(accepted, counted)})

    def deceiving_loss(self, maps: Tensor, known: Tensor) -> Tensor:
        """Loss L_adv of the network for its maps (B, K, h, w) at known pixels (B, h, w)."""
        return self.discriminator.deceiving_loss(Judged(maps, known))

    def judging_loss(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Loss L_D of the discriminator, the mean of both kinds, for the network's maps and for labels."""
        known = labels < maps.shape[1]  # those of several classes have no map, those without a label are above, too
        wanted = functional.one_hot(labels.where(known, 0), maps.shape[1]).movedim(-1, 1).to(maps)
        return self.discriminator.judging_loss(Judged(wanted, known), Judged(maps, known))
