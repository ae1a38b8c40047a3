"""SegNet: a decoder that mirrors VGG, and upsamples by putting values where the encoder's maxima were.

Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
IEEE TPAMI 39(12), 2017, section 3 and figures 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import ModelError, did_you_mean, shown
from geoseg.models.families.body import Body, Features
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.timm_names import TIMM
from geoseg.models.families.vgg import VGGS, build_vgg
from geoseg.spec import NetworkSpec
from geoseg.spec.base import Spec


class Unpooling(nn.Module):
    """The inverse of pooling by maxima of 2 × 2 pixels: each value where its maximum was, zero elsewhere (figure 3)."""

    def forward(self, values: Tensor, places: Tensor) -> Tensor:
        """Values and the indices of their maxima, both (B, C, h, w) -> (B, C, 2 h, 2 w)."""
        height, width = values.shape[-2:]
        sparse = values.new_zeros(*values.shape[:2], 4 * height * width)
        sparse = sparse.scatter(2, places.flatten(2), values.flatten(2))
        return sparse.reshape(*values.shape[:2], 2 * height, 2 * width)


class SegnetDecoder(nn.Module):
    """For each stage of the encoder, from the last to the first: unpooling, and as many convolutions.

    The last convolution of each has as many channels as the encoder's map before that stage. In the first stage one
    less is made: the head stands for it.
    """

    def __init__(self, channels: Sequence[int], counts: Sequence[int]):
        """Make the layers.

        Args:
            channels: of the encoder's stages, the first stage first.
            counts: convolutions of each.
        """
        super().__init__()
        self.unpooling = Unpooling()
        before = [channels[0], *channels[:-1]]
        plan = zip(channels, before, counts, range(len(counts)), strict=True)
        stages = [_stage(inner, out, count if stage else count - 1) for inner, out, count, stage in plan]
        self.stages = nn.ModuleList(reversed(stages))

    def forward(self, deepest: Tensor, places: Sequence[Tensor]) -> Tensor:
        """The last pooled map and the places of maxima of each pooling, the first first -> (B, C, H, W)."""
        values = deepest
        for stage, where in zip(self.stages, reversed(places), strict=True):
            values = stage(self.unpooling(values, where))
        return values


def _stage(channels: int, out: int, count: int) -> nn.Sequential:
    """Convolutions with biases, batch normalisations and ReLUs (section 3.1), the last of them with `out` channels."""
    widths = [channels] * count + [out]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Segnet(EncoderBody):
    """A network whose decoder gets the last map of the encoder, and of the others the places of their maxima alone."""

    def __init__(self, encoder: nn.Module, classes: int):
        """Mirror a VGG of smp or timm."""
        counts, channels = plan_of(encoder)
        decoder = SegnetDecoder(channels, counts)
        super().__init__(encoder, decoder, nn.Conv2d(channels[0], classes, 3, padding=1), channels[0])

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W): the maps before each pooling, and the places of its maxima."""
        maps = super().encode(image).maps
        places = [functional.max_pool2d(one, 2, return_indices=True)[1] for one in maps[:-1]]
        return Features(maps, (places,))

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, H, W)."""
        decoded: Tensor = self.decoder(features.maps[-1], features.tokens[0])
        return decoded


def plan_of(encoder: nn.Module) -> tuple[list[int], list[int]]:
    """Number of convolutions of each stage of a VGG, and its channels."""
    counts, channels, count, width = [], [], 0, 0
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            count, width = count + 1, layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            counts.append(count)
            channels.append(width)
            count = 0
    return counts, channels


class SegnetArguments(Spec):
    """Arguments of SegNet."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of all channels. With another than 1 there are no pretrained weights."""


class SegnetFamily(EncoderFamily):
    """The family of one architecture."""

    Settings = SegnetArguments

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network.

        Raises:
            ModelError: if it is no VGG, or an argument is unknown.
        """
        from geoseg.models.families.any_encoder import build_encoder

        own, more = split_arguments(network, SegnetArguments)
        _check_vgg(network)
        if own.width != 1 and network.encoder not in VGGS:
            raise ModelError(f"a width other than 1 goes with smp's encoders alone: take {_vgg_of(network)}")
        if network.encoder in VGGS and tag is None:
            return build_vgg(network.encoder, bands, own.width)
        return build_encoder(network, bands, tag, more=more)

    def check(self, network: NetworkSpec) -> None:
        """Refuse encoders that are no VGG, and an unknown argument.

        Raises:
            ModelError: with the nearest that is known.
        """
        _check_vgg(network)
        super().check(network)
        split_arguments(network, SegnetArguments)

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        return Segnet(self.encoder(network, bands, None), classes)

    def usual(self, architecture: str) -> NetworkSpec:
        """The paper's."""
        return NetworkSpec(architecture=architecture, encoder="vgg16_bn")

    def example(self, architecture: str) -> NetworkSpec:
        """A narrow network."""
        arguments: Any = {"width": 0.125}
        return NetworkSpec(architecture=architecture, encoder="vgg11_bn", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper, and what differs from others."""
        return NetworkInfo(
            title="SegNet",
            year=2017,
            paper='Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for '
            'Image Segmentation", IEEE TPAMI 39(12), 2017',
            source="here",
            licence="Apache-2.0",
            encoders="vgg11, vgg13, vgg16 and vgg19, with _bn or without, also timm's; the paper's is vgg16_bn",
            limits="Where values are equal over a large area all maxima are the first of their 2 × 2 pixels: it draws "
            "a pattern there.",
        )


def _vgg_of(network: NetworkSpec) -> str:
    """The name of the encoder without timm's prefix and tag."""
    return network.encoder.removeprefix(TIMM).partition(".")[0]


def _check_vgg(network: NetworkSpec) -> None:
    if _vgg_of(network) not in VGGS:
        hint = did_you_mean(network.encoder, VGGS)
        what = f"segnet mirrors VGG, it cannot have the encoder {shown(network.encoder)}"
        raise ModelError(f"{what}{hint}: take vgg16_bn")


FAMILY = SegnetFamily()
