"""Networks that classify masks instead of pixels: MaskFormer and Mask2Former on any encoder.

Cheng, Schwing and Kirillov, "Per-Pixel Classification is Not All You Need for Semantic Segmentation", NeurIPS 2021;
Cheng, Misra, Schwing, Kirillov and Girdhar, "Masked-attention Mask Transformer for Universal Image Segmentation", CVPR
2022. Decoders, matching and losses are those of Hugging Face's transformers, which is imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.argument_docs import Argument, arguments_in
from geoseg.models.families.body import Body, Features
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.encoder_heads import SEES_WHOLE_WINDOWS
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.mask_arguments import Mask2FormerArguments, MaskArguments, MaskFormerArguments
from geoseg.models.families.parameters import split_arguments
from geoseg.models.training_batch import PixelLoss
from geoseg.models.window_padding import Sides
from geoseg.spec import IGNORE, NetworkSpec

if TYPE_CHECKING:
    from geoseg.models.families.mask_decoders import Mask2FormerDecoder, MaskFormerDecoder

FIRST, STRIDE = 2, 4
"""Index of the finest map of the encoder that is taken, and its stride, which is that of the masks."""
LEAST_SCORE = 1e-6
"""Scores of classes are taken for at least this, where no mask claims a pixel."""
ABSENT = -50.0
"""Logit of a mask where nothing is labelled: a loss of zero, and no gradient."""
INSTALL = "pip install 'geoseg[transformers]'"


class MaskBody(EncoderBody):
    """An encoder and a decoder of masks; logits are the logarithms of the probabilities of classes."""

    decoder: MaskFormerDecoder | Mask2FormerDecoder

    def __init__(
        self, encoder: nn.Module, decoder: MaskFormerDecoder | Mask2FormerDecoder, classes: int, pixel_loss: float
    ):
        """Join an encoder and a decoder; `pixel_loss` is the weight of the loss of pixels in training."""
        head = LogProbabilities(1 if decoder.upsamples_masks else STRIDE)
        super().__init__(encoder, decoder, head, classes)
        self._pixel_loss = pixel_loss

    def decode(self, features: Features) -> Tensor:
        """Scores of classes (B, K, h, w): Σ_q p_q(k) m_q, with the classes p_q and the mask m_q of each query q.

        Section 3.4 of MaskFormer's paper, "semantic inference". They are not negative; their sum may be any.
        """
        found = self.decoder(features.maps[FIRST:])
        masks = found.masks[-1].float()
        if self.decoder.upsamples_masks:
            masks = functional.interpolate(masks, scale_factor=float(STRIDE), mode="bilinear", align_corners=False)
        classes = found.classes[-1].float().softmax(dim=2)[:, :, :-1]
        scores: Tensor = (classes.transpose(1, 2) @ masks.sigmoid().flatten(2)).unflatten(2, masks.shape[2:])
        return scores

    @property
    def sides(self) -> Sides:
        """Those of the encoder, and at least two pixels of its last map: to one alone, all queries attend alike."""
        given = super().sides
        return Sides(given.multiple, least=max(given.least, 2 * given.multiple))

    @property
    def logits_weight(self) -> float:
        """That of the argument `pixel_loss`."""
        return self._pixel_loss

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The decoder."""
        return (self.decoder,)

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """The loss of masks and classes, each labelled mask being assigned to a query (Hungarian matching).

        Windows without a label are left out, and so are unlabelled pixels more than two strides from labelled ones;
        nearer ones belong to no mask, as in transformers.
        """
        from geoseg.models.families.mask_decoders import Predictions, hungarian_loss

        labels = labels.masked_fill(labels >= logits.shape[1], IGNORE)  # sets of classes have no mask
        found, wanted = Predictions(*outputs[0]), objects_of(labels)
        with torch.autocast(labels.device.type, enabled=False):
            counted = [row for row, one in enumerate(wanted) if len(one.classes)]
            if not counted:
                return 0.0 * sum((part.float().sum() for parts in found for part in parts), labels.new_zeros(()))
            classes = [layer.float()[counted] for layer in found.classes]
            masks = without_unlabelled([layer.float()[counted] for layer in found.masks], labels[counted])
            objects = [wanted[row] for row in counted]
            return hungarian_loss(
                self.decoder, Predictions(classes, masks), [one.masks for one in objects], [o.classes for o in objects]
            )


class LogProbabilities(nn.Module):
    """Logarithms of probabilities: scores (B, K, h, w), upsampled and divided by their sum over classes."""

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def forward(self, scores: Tensor) -> Tensor:
        """Scores, not negative -> logits (B, K, h scale, w scale), whose softmax are the probabilities."""
        if self.scale > 1:
            scores = functional.interpolate(scores, scale_factor=float(self.scale), mode="bilinear")
        scores = scores.clamp_min(LEAST_SCORE)
        return scores.log() - scores.sum(dim=1, keepdim=True).log()


class Objects(NamedTuple):
    """The labels of a window as masks: one for each class that is in it."""

    masks: Tensor
    """(n, H, W), 0 or 1, float32."""
    classes: Tensor
    """(n), int64."""


def objects_of(labels: Tensor) -> list[Objects]:
    """Class indexes (B, H, W) as masks and classes for each window; pixels without a label are in none."""
    present = [one.unique() for one in labels]
    present = [classes[classes != IGNORE] for classes in present]
    return [
        Objects((one == classes[:, None, None]).float(), classes) for one, classes in zip(labels, present, strict=True)
    ]


def without_unlabelled(masks: list[Tensor], labels: Tensor) -> list[Tensor]:
    """Logits of masks (B, Q, h, w), `ABSENT` where no pixel of a cell and of its neighbours is labelled (B, H, W).

    A labelled pixel is interpolated from its own cell and neighbours of it, so that its value does not change.
    """
    labelled = labels != IGNORE
    if bool(labelled.all()):
        return masks
    cells = functional.adaptive_max_pool2d(labelled.float()[:, None], masks[0].shape[2:])
    near = functional.max_pool2d(cells, kernel_size=3, stride=1, padding=1) > 0
    return [layer.where(near, ABSENT) for layer in masks]


class MaskClassifiers(EncoderFamily):
    """MaskFormer and Mask2Former."""

    Settings = MaskArguments

    def own(self, network: NetworkSpec) -> tuple[MaskFormerArguments | Mask2FormerArguments, dict[str, Any]]:
        """The arguments of a network, and those of timm's encoder.

        Raises:
            ModelError: if one is unknown or out of bounds.
        """
        given, more = split_arguments(network, _settings(network.architecture))
        if given.channels % given.attention_heads:
            raise ModelError(
                f"{network.architecture}: {given.attention_heads} attention_heads do not divide {given.channels} "
                "channels: take 8, or another divisor"
            )
        return given, more

    def arguments(self, architecture: str) -> Sequence[Argument]:
        """The settings below `network.arguments`."""
        return arguments_in(_settings(architecture))

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder or argument, and both networks if transformers is not installed.

        Raises:
            ModelError: with the nearest name, or the line that installs it.
        """
        _check_installed(network.architecture)
        super().check(network)
        self.own(network)

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network.

        Raises:
            ModelError: if it is unknown, or an argument is.
        """
        from geoseg.models.families.any_encoder import build_encoder

        return build_encoder(network, bands, tag, more=self.own(network)[1])

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if transformers is not installed, or the encoder or an argument is unknown.
        """
        _check_installed(network.architecture)
        from geoseg.core.quiet import quiet

        with quiet("transformers"):
            from geoseg.models.families.mask_decoders import Mask2FormerDecoder, MaskFormerDecoder

        given, _ = self.own(network)
        encoder = self.encoder(network, bands, None)
        maps: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        stages = maps[FIRST:]
        decoder = (
            MaskFormerDecoder(stages, classes, given)
            if isinstance(given, MaskFormerArguments)
            else Mask2FormerDecoder(stages, classes, given)
        )
        return MaskBody(encoder, decoder, classes, given.pixel_loss)

    def usual(self, architecture: str) -> NetworkSpec:
        """The papers' smallest."""
        return NetworkSpec(architecture=architecture, encoder="resnet50")

    def example(self, architecture: str) -> NetworkSpec:
        """Few and narrow layers on a small ResNet."""
        arguments: Any = {
            "queries": 8, "channels": 128, "attention_heads": 2, "feedforward_channels": 32, "decoder_layers": 2,
            "dropout": 0.0,
        }  # fmt: skip
        if architecture == "mask2former":
            arguments |= {"channels": 32, "encoder_layers": 1, "encoder_feedforward_channels": 32, "points": 256}
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper, how to install it, and what its loss is."""
        is_second = architecture == "mask2former"
        return NetworkInfo(
            title="Mask2Former" if is_second else "MaskFormer",
            year=2022 if is_second else 2021,
            paper='Cheng, Misra, Schwing, Kirillov and Girdhar, "Masked-attention Mask Transformer for Universal Image '
            'Segmentation", CVPR 2022'
            if is_second
            else 'Cheng, Schwing and Kirillov, "Per-Pixel Classification is Not All You Need for Semantic '
            'Segmentation", NeurIPS 2021',
            source=f"transformers ({INSTALL})",
            licence="Apache-2.0",
            encoders="any of smp or timm (tu-NAME) that gives maps; the paper's are resnet50, resnet101 and "
            "tu-swin_tiny_patch4_window7_224 among others",
            takes_context=False,
            limits="It is trained by a loss of its own, for masks; the settings under loss count if "
            f"network.arguments.pixel_loss is above 0. {SEES_WHOLE_WINDOWS}",
        )


def _settings(architecture: str) -> type[MaskFormerArguments] | type[Mask2FormerArguments]:
    return Mask2FormerArguments if architecture.lower() == "mask2former" else MaskFormerArguments


def _check_installed(architecture: str) -> None:
    lacking = [package for package in ("transformers", "scipy") if find_spec(package) is None]
    if lacking:
        raise ModelError(f"{architecture} needs the package {lacking[0]}, which is not installed: {INSTALL}")


FAMILY = MaskClassifiers()
