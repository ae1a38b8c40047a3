"""FixMatch: a network learns, for windows with strongly varied colours, the classes that it is sure of without.

Sohn et al. 2020, "FixMatch", and its form for segmentation in Yang et al. 2023, "Revisiting weak-to-strong consistency
in semi-supervised semantic segmentation" (CutMix on the strong windows; no second network).

In: labelled windows and windows without labels. Out: the loss of both.
"""

from __future__ import annotations

import torch
from pydantic import Field

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import (
    FromUnlabelled,
    MixingName,
    UnlabelledSettings,
    logits_of,
    targets_of,
)
from geoseg.training.perturbations.mixing import MIXINGS
from geoseg.training.perturbations.targets import share


class FixMatchSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    mix: MixingName = "cutmix"
    """How windows without labels are mixed: cutmix, classmix, cutout or none."""
    threshold: float = Field(default=0.95, ge=0, le=1)
    """Probability from which a pixel's class is learnt."""


class FixMatch(FromUnlabelled):
    """Minimises the loss of labelled windows, plus the cross-entropy of changed windows against sure classes."""

    Settings = FixMatchSettings

    def __init__(self, setup: Setup, settings: FixMatchSettings):
        super().__init__(setup, settings)
        self._mix, self._threshold = MIXINGS.get(settings.mix), settings.threshold

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of windows without labels against the network's own sure classes in their own colours."""
        targets = targets_of(self.setup.network, unlabelled)
        image, targets = self._mix(unlabelled.image, targets, self.setup.augment.fill, generator)
        loss = targets.class_loss(logits_of(self.setup.network, image), targets.weights(self._threshold, "pixel"))
        return StepLoss(loss, {"confident": share(targets.passing(self._threshold), targets.counted)})
