"""Cross-consistency training: auxiliary decoders of changed features learn what the main decoder says without changes.

Ouali, Hudelot and Tami, "Semi-Supervised Semantic Segmentation with Cross-Consistency Training", CVPR 2020, section 3:
L_s + ω_u L_u. Auxiliary decoders see the deepest map of the encoder; they are trained along with the network, and left
out of the bundle. What differs: they are a 1 × 1 convolution and bilinear upsampling, which suits maps of any stride,
in place of sub-pixel convolutions; features are cut out at random places. Left out are masks of context and of objects,
which need a background class, and virtual adversarial training.

In: labelled windows and windows without labels. Out: the loss of both.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import TrainSpec
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import FromUnlabelled, UnlabelledSettings, plain_of
from geoseg.training.perturbations.features import PERTURBATIONS, Encoded, decode, encode
from geoseg.training.perturbations.targets import Targets


class CctSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=30.0, ge=0, le=1000)
    """Weight of the loss of windows without labels; that of the labelled ones is 1."""
    perturbations: tuple[str, ...] = Field(
        default=("dropout", "feature_drop", "feature_noise", "cutout"), min_length=1, max_length=100
    )
    """How features are changed: dropout, feature_drop, feature_noise, cutout."""
    decoders: int = Field(default=2, ge=1, le=100)
    """Auxiliary decoders for each of them; the paper has six."""


class CrossConsistency(FromUnlabelled):
    """Minimises the loss of labelled windows, plus the squared difference of auxiliary and main probabilities."""

    Settings = CctSettings
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled")

    def __init__(self, setup: Setup, settings: CctSettings):
        super().__init__(setup, settings)
        stages, self._classes = setup.network.body.stages, len(setup.spec.classes)
        self._stage = max(index for index, channels in enumerate(stages) if channels)
        names = settings.perturbations * settings.decoders
        self._perturbations = [PERTURBATIONS.get(name) for name in names]
        self.decoders = nn.ModuleList(
            nn.Conv2d(stages[self._stage], self._classes, kernel_size=1, bias=False) for _ in names
        )

    @classmethod
    def check(cls, spec: TrainSpec, settings: UnlabelledSettings) -> None:
        """Refuse unknown perturbations, too.

        Raises:
            SpecError: with the nearest name.
        """
        super().check(spec, settings)
        assert isinstance(settings, CctSettings)  # which is what it is an instance of
        for name in settings.perturbations:
            PERTURBATIONS.check(name)

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Mean over the auxiliary decoders, pixels and classes of the squared difference, L_u.

        The main decoder gets no gradient; the encoder is forwarded once, in training mode as all that it feeds.
        """
        network = self.setup.network
        encoded = encode(network, plain_of(unlabelled))
        with torch.no_grad():
            targets = Targets(decode(network, encoded).softmax(dim=1), unlabelled.unlabelled)
        everything = torch.ones_like(targets.confidence)
        deepest = encoded.features.maps[self._stage]
        losses = [
            targets.square_loss(self._logits(decoder(perturb(deepest, generator)), encoded), everything)
            for decoder, perturb in zip(self.decoders, self._perturbations, strict=True)
        ]
        return StepLoss(torch.stack(losses).mean() / self._classes)

    def _logits(self, scores: Tensor, encoded: Encoded) -> Tensor:
        """Logits (B, K, S, S) of scores (B, K, h, w) of the padded windows."""
        size = list(encoded.padded[-2:])
        return encoded.cropped(functional.interpolate(scores.float(), size, mode="bilinear", align_corners=False))
