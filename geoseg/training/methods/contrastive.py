"""Pixel contrast with a memory bank: features of a class are drawn to those of labelled pixels that are known surely.

Alonso, Sabater, Ferstl, Montesano and Murillo, "Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive
Learning from a Class-wise Memory Bank", ICCV 2021: projection and prediction heads, and L_contr on labelled pixels and
on those with sure classes of the teacher, added to the loss of mean teacher. What differs: there are no learnt weights
of pixels, no entropy term, and the heads normalise each pixel by itself instead of over the batch.

In: labelled windows and windows without labels. Out: the loss of both. Heads and bank are left out of the bundle.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.decoded_features import DecodedFeatures
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE
from geoseg.training.methods.mean_teacher import MeanTeacher, MeanTeacherSettings
from geoseg.training.methods.memory_bank import MemoryBank, draw_pixels
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import evaluating, logits_of, plain_of
from geoseg.training.optimization import ema_update


class ContrastiveSettings(MeanTeacherSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    contrast: float = Field(default=0.1, ge=0, le=1000)
    """Weight of the contrast, within that of the loss of windows without labels."""
    sure: float = Field(default=0.95, ge=0, le=1)
    """Probability from which a labelled pixel that the teacher classifies correctly is put into the memory bank."""
    channels: int = Field(default=256, ge=1, le=4096)
    """Channels of the features that are compared."""
    kept: int = Field(default=256, ge=1, le=2**16)
    """Features that the bank keeps for each class."""
    pixels: int = Field(default=256, ge=1, le=2**16)
    """Most pixels of each class that are compared in a step, of labelled windows and of the others; and most of those
    that are put into the bank."""


class Contrastive(MeanTeacher):
    """Minimises the loss of mean teacher, plus the distance of features to the bank's features of their classes."""

    Settings = ContrastiveSettings
    needs_features = True
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "confident", "contrast")

    def __init__(self, setup: Setup, settings: ContrastiveSettings):
        super().__init__(setup, settings)
        body, self._own = setup.network.body, settings
        self.projection = _head(body.channels, settings.channels)
        self.prediction = _head(settings.channels, settings.channels)
        self.teacher_projection = copy.deepcopy(self.projection).requires_grad_(False)
        self.bank = MemoryBank(len(setup.spec.classes), settings.kept, settings.channels)
        self._update = ema_update(setup.spec.ema)
        self._decoded = DecodedFeatures(body)

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of mean teacher, and the contrast of both kinds of windows, each forwarded by the network already."""
        own = self._features(labelled.labels)
        self._remember(labelled, generator)
        image, targets = self.mixed(unlabelled, generator)
        consistency = self.loss_against(targets, logits_of(self.setup.network, image))
        sure = targets.classes.where(targets.passing(self._own.threshold), IGNORE)
        contrast = self._contrast(own, labelled.labels, generator)
        contrast = contrast + self._contrast(self._features(sure), sure, generator)
        value = consistency.value + self._own.contrast * contrast
        return StepLoss(value, {**consistency.figures, "contrast": contrast})

    def after_step(self) -> None:
        """Update the running mean of the projection head."""
        super().after_step()
        self._update(list(self.teacher_projection.parameters()), list(self.projection.parameters()), self.steps)

    @torch.no_grad()
    def _remember(self, windows: LabelledWindows, generator: torch.Generator) -> None:
        """Put features of labelled pixels that the teacher classifies correctly, and surely, into the bank."""
        teacher: SegmentationNetwork = self.setup.averaged
        image = plain_of(windows)
        with evaluating(teacher):
            decoded, logits = teacher.body.classify(teacher.normalize(image))
        probability, classes = logits.float().softmax(dim=1).max(dim=1)
        known = windows.labels.where((classes == windows.labels) & (probability >= self._own.sure), IGNORE)
        features, classes = self._drawn(decoded, known, generator)
        self.bank.put(self.teacher_projection(features), classes)

    def _features(self, classes: Tensor) -> Tensor:
        """Decoded features (B, L, h, w) of the windows of classes (B, S, S), the first of the batch forwarded last."""
        return self._decoded.take(len(classes), classes.shape[-2:])

    def _contrast(self, decoded: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of decoded features (B, L, h, w) of windows of classes (B, S, S)."""
        features, drawn = self._drawn(decoded, classes, generator)
        return self.bank.loss(self.prediction(self.projection(features)), drawn)

    def _drawn(self, decoded: Tensor, classes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features (n, L) of some pixels, and their classes (n), of features (B, L, h, w) and classes (B, S, S)."""
        coarse = functional.interpolate(classes.unsqueeze(1).float(), decoded.shape[-2:], mode="nearest-exact")
        flat = coarse.flatten().long()
        places = draw_pixels(flat, len(self.setup.spec.classes), self._own.pixels, generator)
        return decoded.movedim(1, -1).flatten(0, 2)[places].float(), flat[places]


def _head(given: int, channels: int) -> nn.Sequential:
    """Two layers: features of pixels (n, given) -> (n, channels)."""
    return nn.Sequential(
        nn.Linear(given, channels), nn.LayerNorm(channels), nn.ReLU(inplace=True), nn.Linear(channels, channels)
    )
