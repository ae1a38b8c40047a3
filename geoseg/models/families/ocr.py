"""OCR: each pixel receives the mean features of the regions of all classes, weighted by how close it is to each.

Yuan, Chen and Wang, "Object-Contextual Representations for Semantic Segmentation", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.encoder_heads import SEES_WHOLE_WINDOWS, UNDILATED, check_dilation, stride_of
from geoseg.models.families.hrnet import HRNET, STRIDE, Representation, branches
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import PixelClassifier, convolution, maps_of, rows_of
from geoseg.models.families.parameters import split_arguments
from geoseg.models.training_batch import PixelLoss
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import Channels, Fraction
from geoseg.spec.base import Spec


class ObjectContext(nn.Module):
    """z_i = g([x_i, y_i]) with y_i = ρ(Σ_k w_ik δ(f_k)), the augmented representation of section 3.2.

    f_k = Σ_i m_ki x_i is the representation of the region of class k: m_k is the softmax over all pixels of the class's
    scores. w_i is the softmax over all classes of φ(x_i) · ψ(f_k), here divided by the square root of their channels,
    as in a transformer's attention: behind the ReLUs of φ and ψ the products would saturate. Each transform is a 1 × 1
    convolution, batch normalisation and ReLU (section 3.3).
    """

    def __init__(self, channels: int, keys: int):
        """Make the transforms for pixels with so many channels; φ, ψ and δ give `keys` channels."""
        super().__init__()
        self.phi = convolution(channels, keys, side=1)
        self.psi = convolution(channels, keys, side=1)
        self.delta = convolution(channels, keys, side=1)
        self.rho = convolution(keys, channels, side=1)
        self.g = convolution(2 * channels, channels, side=1)

    def forward(self, pixels: Tensor, scores: Tensor) -> Tensor:
        """Features of pixels (B, C, h, w) and their scores (B, K, h, w) -> (B, C, h, w)."""
        masks = scores.flatten(2).softmax(dim=2)  # (B, K, h w)
        regions = (masks.to(pixels.dtype) @ rows_of(pixels)).transpose(1, 2).unsqueeze(3)  # (B, C, K, 1)
        keys, values = rows_of(self.psi(regions)), rows_of(self.delta(regions))  # (B, K, C')
        queries = rows_of(self.phi(pixels))  # (B, h w, C')
        relations = (queries @ keys.transpose(1, 2) * keys.shape[2] ** -0.5).softmax(dim=2)
        context = self.rho(maps_of(relations.to(values.dtype) @ values, pixels))
        joined: Tensor = self.g(torch.cat([pixels, context], dim=1))
        return joined


class Whole(nn.Module):
    """Finds regions on the same representation as pixels: on all maps of stride 4 and more."""

    def __init__(self, stages: Sequence[int]):
        super().__init__()
        self.maps = Representation(stages)
        self.channels = self.maps.channels, self.maps.channels

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The maps for regions and for pixels."""
        together = self.maps(maps)
        return together, together


class LastTwo(nn.Module):
    """Finds regions on the last map but one, and takes the last one for pixels."""

    def __init__(self, stages: Sequence[int]):
        super().__init__()
        self.channels = stages[-2], stages[-1]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The maps for regions and for pixels."""
        return maps[-2], maps[-1]


class OcrDecoder(nn.Module):
    """Object-contextual representations of pixels, from an encoder's maps: figure 3."""

    def __init__(self, sources: Whole | LastTwo, classes: int, channels: int, keys: int):
        """Make the layers.

        Args:
            sources: choose or make two maps, the one on which regions are found, and the one of the pixels.
            classes: each has one region.
            channels: of the output.
            keys: channels in which pixels and regions are compared.
        """
        super().__init__()
        self.sources = sources
        coarse, fine = sources.channels
        self.regions = nn.Sequential(convolution(coarse, channels, side=1), nn.Conv2d(channels, classes, kernel_size=1))
        self.pixels = convolution(fine, channels)
        self.ocr = ObjectContext(channels, keys)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps -> (B, channels, h, w)."""
        coarse, fine = self.sources(maps)
        scores = functional.interpolate(self.regions(coarse), size=fine.shape[-2:], mode="bilinear")
        joined: Tensor = self.ocr(self.pixels(fine), scores)
        return joined


class OcrBody(EncoderBody):
    """A network whose coarse scores have a loss of their own (section 3.3: weight 0.4)."""

    def __init__(self, encoder: nn.Module, decoder: OcrDecoder, head: nn.Module, own: OcrArguments):
        super().__init__(encoder, decoder, head, own.channels)
        self._weight = own.regions_loss

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The coarse scores, if their loss counts."""
        return (self.decoder.get_submodule("regions"),) if self._weight else ()

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """The weighted loss of the coarse scores."""
        scores = functional.interpolate(outputs[0], size=tuple(labels.shape[-2:]), mode="bilinear")
        return self._weight * criterion(scores, labels)


class OcrArguments(Spec):
    """Arguments of OCR."""

    maps: Literal["all", "last"] | None = None
    """Maps of the encoder that represent pixels. all: those of stride 4 and more, upsampled and concatenated, on which
    regions are found, too. last: the last one, regions being found on the one before. By default all for an HRNet and
    last for other encoders, as in the paper."""
    encoder_output_stride: Literal[8, 16, 32] | None = None
    """Stride of the last map; 8 and 16 replace the encoder's last strides by dilation. By default 32 for all maps, else
    8."""
    channels: Channels = 512
    """Channels of the pixels' representation."""
    key_channels: Channels = 256
    """Channels in which pixels and regions are compared."""
    regions_loss: Annotated[float, Field(ge=0, le=10)] = 0.4
    """Weight of the loss of the coarse scores that regions are made of; 0 leaves it out."""
    dropout: Fraction = 0.05
    """Share of the channels that is dropped before pixels are classified, in training."""


class Ocr(EncoderFamily):
    """The family of one architecture."""

    Settings = OcrArguments

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network; of an HRNet, its branches.

        Raises:
            ModelError: if it is unknown, or cannot dilate and is to.
        """
        from geoseg.models.families.any_encoder import build_encoder

        own, more = split_arguments(network, OcrArguments)
        stride = last_stride(network, own)
        check_dilation(network, stride)
        return build_encoder(network, bands, tag, output_stride=stride, more=branches(network) | more)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, and one that cannot dilate and is to.

        Raises:
            ModelError: with the nearest name, or the nearest combination that works.
        """
        super().check(network)
        check_dilation(network, last_stride(network, split_arguments(network, OcrArguments)[0]))

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        own, _ = split_arguments(network, OcrArguments)
        encoder = self.encoder(network, bands, None)
        stages: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        is_whole = takes_all(network, own)
        sources = Whole(stages) if is_whole else LastTwo(stages)
        decoder = OcrDecoder(sources, classes, own.channels, own.key_channels)
        stride = STRIDE if is_whole else stride_of(encoder)
        return OcrBody(encoder, decoder, PixelClassifier(own.channels, classes, stride, own.dropout), own)

    def usual(self, architecture: str) -> NetworkSpec:
        """The paper's best."""
        return NetworkSpec(architecture=architecture, encoder="tu-hrnet_w48")

    def example(self, architecture: str) -> NetworkSpec:
        """A narrow head on a small ResNet."""
        arguments: Any = {"channels": 16, "key_channels": 8}
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper, and the encoders that it was published with."""
        return NetworkInfo(
            title="OCR",
            year=2020,
            paper='Yuan, Chen and Wang, "Object-Contextual Representations for Semantic Segmentation", ECCV 2020',
            source="here",
            licence="Apache-2.0",
            encoders="any of smp or timm (tu-NAME); the paper's are tu-hrnet_w48 and tu-resnet101",
            limits=SEES_WHOLE_WINDOWS,
        )


def takes_all(network: NetworkSpec, own: OcrArguments) -> bool:
    """Whether pixels are represented by all maps of the encoder."""
    return own.maps == "all" or (own.maps is None and network.encoder.startswith(HRNET))


def last_stride(network: NetworkSpec, own: OcrArguments) -> int:
    """Stride of the encoder's last map."""
    return own.encoder_output_stride or (UNDILATED if takes_all(network, own) else 8)


FAMILY = Ocr()
