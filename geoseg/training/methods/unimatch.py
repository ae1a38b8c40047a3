"""UniMatch: sure classes of a window are learnt from two variants of its image, and from a variant of its features.

Yang et al. 2023, "Revisiting weak-to-strong consistency in semi-supervised semantic segmentation", equations 5 to 7:
(labelled + 0.25 strong 1 + 0.25 strong 2 + 0.5 features) / 2. The weights here are twice those, the half being the
learning rate's.

In: labelled windows and windows without labels. Out: the loss of both.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.fixmatch import FixMatchSettings
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import FromUnlabelled, logits_of, plain_of, targets_of
from geoseg.training.perturbations.features import channel_dropout, classify_changed
from geoseg.training.perturbations.mixing import MIXINGS
from geoseg.training.perturbations.targets import Targets, share


class UniMatchSettings(FixMatchSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    feature_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the channels of the encoder's features that is dropped in the variant of features."""


class UniMatch(FromUnlabelled):
    """Minimises the loss of labelled windows, plus those of two mixed images and of dropped features."""

    Settings = UniMatchSettings

    def __init__(self, setup: Setup, settings: UniMatchSettings):
        super().__init__(setup, settings)
        self._mix, self._threshold, self._dropped = (
            MIXINGS.get(settings.mix),
            settings.threshold,
            settings.feature_dropout,
        )

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of windows without labels: a quarter for each of two mixed images, half for dropped features."""
        setup, plain = self.setup, plain_of(unlabelled)
        targets = targets_of(setup.network, unlabelled)
        strong = unlabelled.image, setup.augment.recolored(plain, generator)
        mixed = [self._mix(image, targets, setup.augment.fill, generator) for image in strong]
        logits = logits_of(setup.network, torch.cat([one.image for one in mixed])).chunk(2)
        losses = [self._loss(one.targets, own) for one, own in zip(mixed, logits, strict=True)]
        changed = classify_changed(setup.network, plain, channel_dropout(self._dropped, generator))
        value = 0.25 * (losses[0] + losses[1]) + 0.5 * self._loss(targets, changed)
        return StepLoss(value, {"confident": share(targets.passing(self._threshold), targets.counted)})

    def _loss(self, targets: Targets, logits: Tensor) -> Tensor:
        return targets.class_loss(logits, targets.weights(self._threshold, "pixel"))
