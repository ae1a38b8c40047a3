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

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import FromUnlabelled, UnlabelledSettings, logits_of
from geoseg.training.perturbations.targets import Targets, share

CHANNELS = 64, 128, 256, 512, 1
"""Of the five convolutions of the discriminator."""
SLOPE = 0.2
"""Of its activations, below 0."""


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

    def labelled_loss(self, windows: LabelledWindows, generator: torch.Generator) -> StepLoss:
        """Loss of labelled windows, of deceiving the discriminator, and of the discriminator itself."""
        kept = _KeptLogits(self.criterion, windows.labels)
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
            accepted = counted & (self._judged(targets.probabilities, counted).sigmoid() > given.threshold)
        deceiving = self.deceiving_loss(maps, counted)
        learning = targets.class_loss(logits, accepted.float())
        value = given.deceive_unlabelled * deceiving + given.own_classes * learning
        return StepLoss(value, {"confident": share(accepted, counted)})

    def deceiving_loss(self, maps: Tensor, known: Tensor) -> Tensor:
        """Loss L_adv of the network for its maps (B, K, h, w) at known pixels (B, h, w).

        The discriminator is called with constants in place of its parameters, which get no gradient.
        """
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        return _of_kind(self._judged(maps, known, frozen), 1.0, known)

    def judging_loss(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Loss L_D of the discriminator, the mean of both kinds, for the network's maps and for labels."""
        known = labels < maps.shape[1]  # those of several classes have no map, those without a label are above, too
        wanted = functional.one_hot(labels.where(known, 0), maps.shape[1]).movedim(-1, 1).to(maps)
        made = _of_kind(self._judged(maps.detach(), known), 0.0, known)
        return (made + _of_kind(self._judged(wanted, known), 1.0, known)) / 2

    def _judged(self, maps: Tensor, known: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
        """Logits (B, h, w) of being labels, of maps (B, K, h, w) that are 0 at unknown pixels (B, h, w)."""
        given = maps * known.unsqueeze(1)
        found = (
            self.discriminator(given)
            if parameters is None
            else functional_call(self.discriminator, parameters, (given,))
        )
        size = list(maps.shape[-2:])
        return functional.interpolate(found.float(), size, mode="bilinear", align_corners=False).squeeze(1)


class _KeptLogits:
    """The losses of one batch, which keep the logits of its windows; `labels` is what these are compared with."""

    def __init__(self, criterion: Criterion, labels: Tensor):
        self._criterion, self._labels = criterion, labels
        self._kept: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        return self._criterion(self._seen(logits, labels), labels)

    def of_windows(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        return self._criterion.of_windows(self._seen(logits, labels), labels)

    def of_hard_pixels(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        return self._criterion.of_hard_pixels(self._seen(logits, labels), labels)

    def taken(self) -> Tensor:
        """The logits (B, K, h, w)."""
        assert self._kept is not None  # as a network compares them once
        return self._kept

    def _seen(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels is self._labels:
            self._kept = logits
        return logits


def make_discriminator(classes: int) -> nn.Sequential:
    """Five convolutions of 4 × 4 and stride 2: maps (B, K, h, w), 32 px and more -> logits (B, 1, h / 32, w / 32)."""
    layers: list[nn.Module] = []
    for given, channels in zip((classes, *CHANNELS), CHANNELS, strict=False):
        layers += [nn.Conv2d(given, channels, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


def _of_kind(judged: Tensor, kind: float, known: Tensor) -> Tensor:
    """Mean over known pixels (B, h, w) of the cross-entropy of judgements (B, h, w) against 1, labels, or 0."""
    loss = functional.binary_cross_entropy_with_logits(judged, torch.full_like(judged, kind), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
