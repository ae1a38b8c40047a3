"""Dual path learning: two networks, one for each of two looks, teach each other the target by their mean answers.

Cheng, Wei, Bao, Chen, Wen and Zhang, "Dual Path Learning for Domain Adaptation of Semantic Segmentation", ICCV 2021:
one network learns labelled windows in the look of the target, and windows of the target as they are; the other one
labelled windows as they are, and windows of the target in the look of labelled ones. Classes of the target are those of
the mean of both answers; of each class the surest 70 % of its pixels are learnt, and those above 0.9 (figures of the
authors' code). What differs: both learn at once, and are asked in each step, instead of classifying all images in
rounds; thresholds are quantiles of the last hundred steps or so; looks are changed by `style`, of which the learnt one
gets no loss of classes; there is neither a correction of labels nor an adversarial loss of maps.

In: labelled windows and windows of another region. Out: the losses of both networks. The run's network, which is scored
and kept, is the one of the target's look: it needs no change of what it is to predict.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from geoseg.core.errors import SpecError
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import ModelSpec, TrainSpec
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.two_students import TwoStudents, TwoStudentsSettings
from geoseg.training.methods.unlabelled import MixingName, UnlabelledSettings, plain_of, targets_of
from geoseg.training.perturbations.class_thresholds import BINS, histogram, quantiles
from geoseg.training.perturbations.targets import Targets, share
from geoseg.training.styles import StyleSetting
from geoseg.training.styles.fourier import FourierSettings

MEMORY = 0.99
"""Share of the counts of confidences that a step leaves."""


class DualPathSettings(TwoStudentsSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    style: StyleSetting = FourierSettings()
    """How windows are given the look of the other region: fourier, histogram, cyclegan, or one of another package, by
    its name or with parameters: {by: fourier, betas: [0.05]}."""
    mix: MixingName = "none"
    """How windows of the target are mixed: cutmix, classmix, cutout or none."""
    taken: float = Field(default=0.7, gt=0, le=1)
    """Share of the pixels of each class that is learnt: those with the highest probabilities."""
    cap: float = Field(default=0.9, ge=0, le=1)
    """Probability above which pixels are learnt in any case."""


class DualPath(TwoStudents):
    """Minimises the losses of labelled windows in two looks, plus those against the mean answers of both networks."""

    Settings = DualPathSettings
    needs_target = True
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "confident", "agreeing")
    counts: Tensor
    """Pixels of each class by their confidence (K, BINS), fewer the longer ago."""

    def __init__(self, setup: Setup, settings: DualPathSettings):
        super().__init__(setup, settings)
        self.register_buffer("counts", torch.zeros(len(setup.spec.classes), BINS))
        self._taken, self._cap = settings.taken, settings.cap

    @classmethod
    def check(cls, spec: TrainSpec, settings: UnlabelledSettings) -> None:
        """Refuse windows of one look, and surroundings, which have one; besides what other methods refuse.

        Raises:
            SpecError: saying what to change.
        """
        if spec.views:
            raise SpecError(
                f"method {spec.method.name} learns windows in two looks, and their surroundings have one: take a "
                "network that sees its windows alone, or another method, e.g. cps"
            )
        super().check(spec, settings)
        if settings.style.by == "none":
            raise SpecError(
                f"method {spec.method.name} learns windows in two looks: give a style, e.g. fourier, or take another "
                "method, e.g. cps"
            )

    @classmethod
    def example(cls, model: ModelSpec, folder: Path) -> dict[str, Any]:
        """The whole weight from the first step on, and pixels on which both networks agree."""
        return {**super().example(model, folder), "taken": 0.2}

    def labelled_loss(self, windows: LabelledWindows, generator: torch.Generator) -> StepLoss:
        """Sum of the losses of the run's network for windows in the look of the target, and of the second one for the
        same windows with their own colours, varied anew."""
        setup = self.setup
        own = replace(windows, image=setup.augment.recolored(plain_of(windows), generator))
        first = setup.network.training_loss(windows, self.criterion, setup.averaged, generator)
        return StepLoss(first + self.second.training_loss(own, self.second_criterion, setup.averaged, generator))

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Sum of the losses of both networks, each for the look that it knows, against the mean of their answers."""
        back = self.style.back(unlabelled, labelled, generator)
        first, second = (
            targets_of(self.setup.network, unlabelled),
            targets_of(self.second, replace(unlabelled, plain=back)),
        )
        taught = Targets((first.probabilities + second.probabilities) / 2, first.counted)
        self.counts.mul_(MEMORY).add_(histogram(taught, len(self.counts)))
        seen = unlabelled.image, self.setup.augment.recolored(back, generator)
        losses = [
            self.loss_against(network, image, taught, generator)
            for network, image in zip((self.setup.network, self.second), seen, strict=True)
        ]
        figures = {
            "confident": share(taught.passing(self.thresholds), taught.counted),
            "agreeing": share((first.classes == second.classes) & taught.counted, taught.counted),
        }
        return StepLoss(losses[0] + losses[1], figures)

    def pixel_weights(self, probabilities: Tensor, targets: Targets) -> Tensor:
        """1 for pixels that reach the threshold of their class, else 0."""
        return targets.passing(self.thresholds).float()

    @property
    def thresholds(self) -> Tensor:
        """Probability from which the pixels of each class are learnt (K)."""
        return quantiles(self.counts, 1 - self._taken).clamp(max=self._cap)
