"""Fully convolutional networks: FCN-32s, FCN-16s and FCN-8s on any encoder.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015: table 1 and figure 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Features
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.fcn_layers import Bilinear, FcnDecoder, classifier
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.timm_names import TIMM
from geoseg.models.families.vgg import VGGS, build_vgg
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import Channels, Fraction
from geoseg.spec.base import Spec

STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
"""Stride of the finest scores, by architecture."""
FULLY_CONNECTED = {"vgg": 7, "alexnet": 6}
"""Networks with fully connected layers, by the beginning of an encoder's name: side of the map that these take."""
LAST = 5
"""Index of the last of an encoder's maps; map i has a stride of 2**i."""
WIDTH = 4096
"""Channels of these layers."""


class FcnArguments(Spec):
    """Arguments of a fully convolutional network."""

    channels: Channels | None = None
    """Channels of fc6 and fc7, two convolutions behind the encoder. By default 4096 for VGG and AlexNet, as in the
    paper; none for other encoders, whose networks for ImageNet have no such layers."""
    dropout: Fraction = 0.5
    """Share of the outputs of fc6 and fc7 that is dropped in training."""


class FcnBody(EncoderBody):
    """A network whose decoder gives scores at the stride of the finest map, and whose head upsamples them.

    The head is a transposed convolution that stays bilinear interpolation (section 4.3).
    """

    def __init__(self, encoder: nn.Module, decoder: FcnDecoder, classes: int, stride: int, *, pools: bool):
        """Join the parts.

        Args:
            encoder: an encoder of smp of depth 5.
            decoder: takes the maps, the deepest first.
            classes: channels of the decoder's output.
            stride: of the decoder's output.
            pools: whether the encoder's maps are those before each pooling, as VGG's are: the paper's pool3 and pool4
                are made of those of half their stride.
        """
        super().__init__(encoder, decoder, Bilinear(classes, stride, is_learned=False), classes)
        self._finer = finer_maps(stride)
        self._pools = pools

    def deepest_first(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The map at stride 32, and those at strides 16 and 8 that the decoder takes."""
        finer = (functional.max_pool2d(maps[i - 1], 2) if self._pools else maps[i] for i in self._finer)
        return [maps[LAST], *finer]

    def decode(self, features: Features) -> Tensor:
        """Scores of classes (B, K, h, w)."""
        scores: Tensor = self.decoder(self.deepest_first(features.maps))
        return scores


def finer_maps(stride: int) -> tuple[int, ...]:
    """Indexes of the maps down to a stride, below the last one: 4 for stride 16, 4 and 3 for stride 8."""
    return tuple(index for index in range(LAST - 1, 0, -1) if 2**index >= stride)


class Fcn(EncoderFamily):
    """The family of the three architectures."""

    Settings = FcnArguments

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network.

        Raises:
            ModelError: if the encoder or an argument is unknown.
        """
        from geoseg.models.families.any_encoder import build_encoder

        _, more = split_arguments(network, FcnArguments)
        if network.encoder in VGGS and tag is None:
            return build_vgg(network.encoder, bands)
        return build_encoder(network, bands, tag, more=more)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, one that does not go with the architecture, and an unknown argument.

        Raises:
            ModelError: with the nearest that is known.
        """
        super().check(network)
        split_arguments(network, FcnArguments)

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        own, _ = split_arguments(network, FcnArguments)
        encoder = self.encoder(network, bands, None)
        name = network.encoder.removeprefix(TIMM)
        side = next((side for start, side in FULLY_CONNECTED.items() if name.startswith(start)), 0)
        width = own.channels or (WIDTH if side else 0)
        stride, pools = STRIDES[network.architecture.lower()], name.startswith("vgg")
        stages: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        inner = classifier(stages[LAST], classes, width, side or FULLY_CONNECTED["vgg"], own.dropout)
        decoder = FcnDecoder([stages[i - 1 if pools else i] for i in finer_maps(stride)], classes, inner)
        return FcnBody(encoder, decoder, classes, stride, pools=pools)

    def usual(self, architecture: str) -> NetworkSpec:
        """The paper's."""
        return NetworkSpec(architecture=architecture, encoder="vgg16")

    def example(self, architecture: str) -> NetworkSpec:
        """A network on a small ResNet."""
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet")

    def info(self, architecture: str) -> NetworkInfo:
        """The paper, and what differs from it."""
        stride = STRIDES[architecture]
        return NetworkInfo(
            title=f"FCN-{stride}s",
            year=2015,
            paper='Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015',
            source="here",
            licence="Apache-2.0",
            encoders="any of smp or timm (tu-NAME); the paper's is vgg16",
            limits="Pretrained weights are those of the encoder: fc6 and fc7, which VGG and AlexNet have behind it, "
            "begin with random ones.",
        )


FAMILY = Fcn()
