"""Self-training in rounds: a network learns the classes that it gave with confidence at the beginning of each round.

Zou, Yu, Kumar and Wang, "Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training",
ECCV 2018, section 4 (CBST): of each class, the same share of its pixels is taken, by a threshold of its own. Share and
cap of the thresholds are those of Yang and Soatto, "FDA", CVPR 2020 (the upper third, at most 0.9); those of CBST are
`taken: 0.2` with `taken_more: 0.05` in up to seven rounds, and `cap: 1`. What differs: the network goes on learning
instead of starting anew; the thresholds of a round are quantiles of the running mean's confidences in the second half
of the round before, so that the images need not be classified as a whole; there is no prior of places.

In: labelled windows and windows without labels. Out: the loss of both; in the first round that of labels alone.
"""

from __future__ import annotations

import copy

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
    targets_of,
)
from geoseg.training.perturbations.class_thresholds import BINS, histogram, quantiles
from geoseg.training.perturbations.mixing import MIXINGS
from geoseg.training.perturbations.targets import share


class SelfTrainingSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    rounds: int = Field(default=3, ge=1, le=1000)
    """Rounds that learn from windows without labels, after a first one, as long as each, that learns labels alone."""
    taken: float = Field(default=0.34, gt=0, le=1)
    """Share of the pixels of each class that is learnt: those with the highest probabilities."""
    taken_more: float = Field(default=0.0, ge=0, le=1)
    """What is added to that share in each further round; it ends at 1."""
    cap: float = Field(default=0.9, ge=0, le=1)
    """Probability above which pixels are learnt in any case."""
    mix: MixingName = "none"
    """How windows without labels are mixed: cutmix, classmix, cutout or none."""


class SelfTraining(FromUnlabelled):
    """Minimises the loss of labelled windows, plus the cross-entropy against sure classes of a frozen network."""

    Settings = SelfTrainingSettings
    counts: Tensor
    """Pixels of each class by their confidence (K, BINS), int64, in the round under way."""
    thresholds: Tensor
    """Probability from which the pixels of each class are learnt in this round (K)."""

    def __init__(self, setup: Setup, settings: SelfTrainingSettings):
        super().__init__(setup, settings)
        classes = len(setup.spec.classes)
        self.snapshot = copy.deepcopy(setup.averaged).requires_grad_(False)
        self.register_buffer("counts", torch.zeros(classes, BINS, dtype=torch.int64))
        self.register_buffer("thresholds", torch.full((classes,), settings.cap))
        self._mix, self._given = MIXINGS.get(settings.mix), settings

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of windows without labels against the network of the beginning of the round; 0 in the first one."""
        setup = self.setup
        if self._position(1) - self.round > 0.5:  # at least in the last step of a round
            self.counts += histogram(targets_of(setup.averaged, unlabelled), len(self.counts))
        if not self.round:
            self.show(unlabelled)
            nothing = torch.zeros((), device=unlabelled.image.device)
            return StepLoss(nothing, {"confident": nothing})
        targets = targets_of(self.snapshot, unlabelled)
        image, targets = self._mix(unlabelled.image, targets, setup.augment.fill, generator)
        loss = targets.class_loss(logits_of(setup.network, image), targets.weights(self.thresholds, "pixel"))
        return StepLoss(loss, {"confident": share(targets.passing(self.thresholds), targets.counted)})

    def after_step(self) -> None:
        """Count the step; where a round begins, keep the running mean and set its thresholds."""
        before = self.round
        super().after_step()
        if self.round > before:
            self.snapshot.load_state_dict(self.setup.averaged.state_dict())
            self.thresholds.copy_(quantiles(self.counts, 1 - self.taken).clamp(max=self._given.cap))
            self.counts.zero_()

    @property
    def round(self) -> int:
        """Number of the round under way; 0 is the one that learns labels alone."""
        return int(self._position(0))

    @property
    def taken(self) -> float:
        """Share of the pixels of each class that is learnt in the round under way."""
        return min(1.0, self._given.taken + self._given.taken_more * max(0, self.round - 1))

    def _position(self, ahead: int) -> float:
        """Rounds that will be done after so many more steps."""
        return (int(self.steps) + ahead) * (self._given.rounds + 1) / self.setup.steps
