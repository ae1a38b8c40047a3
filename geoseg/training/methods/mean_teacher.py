"""Mean teacher: a network learns to answer, for windows that are changed, what its own running mean answers for them.

Tarvainen & Valpola 2017 (the teacher); French et al. 2020, "Semi-supervised semantic segmentation needs strong, varied
perturbations" (CutMix and CutOut, square loss weighed by the share of sure pixels); Olsson et al. 2021, "ClassMix".

In: labelled windows and windows without labels. Out: the loss of both. The teacher is the running mean that is scored
and kept (`ema`), with its buffers: its weights are a mean over steps, and its batch statistics as well.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import (
    FromUnlabelled,
    MixingName,
    UnlabelledSettings,
    logits_of,
    plain_of,
    targets_of,
)
from geoseg.training.perturbations.mixing import MIXINGS, Mixed
from geoseg.training.perturbations.targets import Kept, Targets, share


class MeanTeacherSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    mix: MixingName = "cutmix"
    """How windows without labels are mixed: cutmix, classmix, cutout or none."""
    loss: Literal["square", "cross_entropy"] = "square"
    """square: squared difference of the probabilities; cross_entropy: against the teacher's most probable class."""
    threshold: float = Field(default=0.97, ge=0, le=1)
    """Probability above which the teacher is sure."""
    keep: Kept = "batch"
    """pixel: only sure pixels count; batch: all do, weighed by the share of the batch's pixels that are sure."""
    strong: bool = True
    """Whether the colours of the network's windows are varied; the teacher sees their own."""


class MeanTeacher(FromUnlabelled):
    """Minimises the loss of labelled windows, plus the difference to the running mean's answers for changed windows."""

    Settings = MeanTeacherSettings

    def __init__(self, setup: Setup, settings: MeanTeacherSettings):
        super().__init__(setup, settings)
        self._mix, self._given = MIXINGS.get(settings.mix), settings

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of windows without labels against the teacher's answers, mixed as the windows are."""
        image, targets = self.mixed(unlabelled, generator)
        return self.loss_against(targets, logits_of(self.setup.network, image))

    def mixed(self, unlabelled: LabelledWindows, generator: torch.Generator) -> Mixed:
        """The windows as the network sees them, and what the teacher says of them."""
        targets = targets_of(self.setup.averaged, unlabelled)
        seen = unlabelled.image if self._given.strong else plain_of(unlabelled)
        return self._mix(seen, targets, self.setup.augment.fill, generator)

    def loss_against(self, targets: Targets, logits: Tensor) -> StepLoss:
        """Loss of logits (B, K, S, S), and the share of the pixels of which the teacher is sure."""
        given = self._given
        weights = targets.weights(given.threshold, given.keep)
        loss = targets.square_loss if given.loss == "square" else targets.class_loss
        confident = share(targets.passing(given.threshold), targets.counted)
        return StepLoss(loss(logits, weights), {"confident": confident})
