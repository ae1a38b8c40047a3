"""Gated-SCNN: a second, shallow stream for shapes, gated by the first. In: an image. Out: logits.

Takikawa, Acuna, Jampani and Fidler, "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", ICCV 2019. Written from
the paper alone; its losses are in `geoseg.models.families.gated_scnn_losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Features
from geoseg.models.families.combinations import check_combination
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.gated_scnn_losses import boundary_loss, boundary_map, dual_task_loss, edge_loss
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import resized
from geoseg.models.families.parameters import split_arguments
from geoseg.models.training_batch import PixelLoss
from geoseg.models.window_padding import LEAST_PX, Sides
from geoseg.spec import IGNORE, NetworkSpec, Spec
from geoseg.spec.arguments import Channels, FewList

Weight = Annotated[float, Field(ge=0, le=1000)]
GATES = 3
"""Gated layers of the shape stream, which take the last maps of the encoder."""


class GatedScnnArguments(Spec):
    """Arguments of a Gated-SCNN besides those of its encoder."""

    encoder_output_stride: Literal[8, 16, 32] = 8
    """Stride of the encoder's last map; below 32, strides are replaced by dilation, which not all encoders allow."""
    decoder_channels: Channels = 256
    """Channels of the pyramid of dilated convolutions, and of the decoder."""
    decoder_atrous_rates: FewList = Field(default=[12, 24, 36])
    """Dilations of that pyramid; 6, 12 and 18 for a stride of 16."""
    shape_channels: Annotated[int, Field(ge=8, le=1024)] = 64
    """Channels of the shape stream at its beginning; each gated layer halves them."""
    shape_stride: Literal[1, 2, 4] = 1
    """Stride of the shape stream: 1 in the paper. It takes most of the time there, a quarter of that at 2."""
    edge_weight: Weight = 20.0
    """Weight of the loss of predicted boundaries: lambda 1."""
    dual_task_weight: Weight = 1.0
    """Weight of the loss of the boundaries of predicted classes: lambda 3."""
    boundary_weight: Weight = 1.0
    """Weight of the loss of classes at predicted boundaries: lambda 4."""


class GatedScnn(Body):
    """The regular stream, the shape stream, and the fusion of both (section 3.1)."""

    def __init__(self, encoder: nn.Module, classes: int, given: GatedScnnArguments):
        """Join the streams; the encoder of smp is the regular one, but for its decoder."""
        super().__init__()
        self.encoder = encoder
        self._stages: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        self.shape_stream = ShapeStream(self._stages, given.shape_channels, given.shape_stride)
        self.decoder = _Decoder(self._stages, given.decoder_channels, given.decoder_atrous_rates)
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(given.decoder_channels, classes, kernel_size=1),
            nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
        )
        self._given = given

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, H / 4, W / 4) into logits (B, K, H, W)."""
        return self.segmentation_head

    @property
    def channels(self) -> int:
        """Channels L of the output of `decode`."""
        return self._given.decoder_channels

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the image, and of each stage."""
        return self._stages

    @property
    def sides(self) -> Sides:
        """Whole strides of an encoder that does not dilate."""
        return Sides(LEAST_PX, LEAST_PX)

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The shape stream."""
        return (self.shape_stream,)

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """Loss of predicted boundaries, and the dual-task regularizer (equations 3 to 7)."""
        labels = labels.masked_fill(labels >= logits.shape[1], IGNORE)  # sets of classes have no boundary
        edges = resized(outputs[0], labels.shape[-2:])[:, 0].float()
        loss = self._given.edge_weight * edge_loss(edges, *boundary_map(labels))
        loss = loss + self._given.dual_task_weight * dual_task_loss(logits.float(), labels)
        return loss + self._given.boundary_weight * boundary_loss(logits.float(), labels, edges)

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W), and these themselves."""
        return Features(self.encoder(image), ([image],))

    def decode(self, features: Features) -> Tensor:
        """The fused map (B, L, H / 4, W / 4)."""
        ((image,),) = features.tokens
        boundaries = self.shape_stream(image, features.maps).sigmoid()
        decoded: Tensor = self.decoder(features.maps, boundaries)
        return decoded


class ShapeStream(nn.Module):
    """Boundaries from the image's gradients and the encoder's first map: residual blocks, each followed by a gate."""

    def __init__(self, stages: Sequence[int], channels: int, stride: int):
        super().__init__()
        self.first, self.stride = _first_stage(stages), stride
        self.enter = nn.Conv2d(stages[self.first], channels, kernel_size=1)
        self.join = _convolution(channels + 1, channels, 1)
        widths = [channels >> step for step in range(GATES + 1)]
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.gates = nn.ModuleList(
            GatedConvolution(width, out, deeper)
            for width, out, deeper in zip(widths, widths[1:], stages[-GATES:], strict=False)
        )
        self.leave = nn.Conv2d(widths[-1], 1, kernel_size=1)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Logits of boundaries (B, 1, H / stride, W / stride) from the image and the encoder's maps."""
        if self.stride > 1:
            image = functional.avg_pool2d(image, self.stride)
        size = image.shape[-2:]
        values = torch.cat([resized(self.enter(maps[self.first]), size), image_gradient(image)], dim=1)
        values = self.join(values)
        for block, gate, deeper in zip(self.blocks, self.gates, maps[-GATES:], strict=True):
            values = gate(block(values), deeper)
        logits: Tensor = self.leave(values)
        return logits


class GatedConvolution(nn.Module):
    """The gated convolutional layer (section 3.2): the regular stream decides what passes on in the shape stream.

    Equation 1: alpha = sigmoid(C1x1(s || r)), the convolution being normalised. Equation 2: (s alpha + s) w, with w a
    weight for each pair of channels. The deeper map r is reduced to one channel before it is upsampled to the size of
    s: linear operations that may be exchanged with the convolution of all of it.
    """

    def __init__(self, channels: int, out: int, deeper: int):
        super().__init__()
        self.reduce = nn.Conv2d(deeper, 1, kernel_size=1)
        self.attend = nn.Sequential(nn.Conv2d(channels + 1, 1, kernel_size=1), nn.BatchNorm2d(1), nn.Sigmoid())
        self.weigh = nn.Conv2d(channels, out, kernel_size=1)

    def forward(self, shape: Tensor, regular: Tensor) -> Tensor:
        """(B, channels, h, w) and (B, deeper, h', w') -> (B, out, h, w)."""
        regular = resized(self.reduce(regular), shape.shape[-2:])
        alpha = self.attend(torch.cat([shape, regular], dim=1))
        passed: Tensor = self.weigh(shape * alpha + shape)
        return passed


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions, whose result is added to the input (He et al. 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(channels, channels, 3),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return functional.relu(values + self.layers(values))


def image_gradient(image: Tensor) -> Tensor:
    """Magnitude (B, 1, H, W) of the gradient of an image (B, C, H, W), of the band in which it is largest.

    Sobel's kernels, on values replicated beyond the edges: a uniform image has none anywhere.
    """
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, :, 2:] - padded[:, :, :, :-2]
    across = across[:, :, :-2] + 2 * across[:, :, 1:-1] + across[:, :, 2:]
    down = padded[:, :, 2:] - padded[:, :, :-2]
    down = down[:, :, :, :-2] + 2 * down[:, :, :, 1:-1] + down[:, :, :, 2:]
    return (across.square() + down.square()).amax(dim=1, keepdim=True).add(1e-12).sqrt() / 8


class _Decoder(nn.Module):
    """The fusion module: atrous spatial pyramid pooling with boundaries (section 3.1), and DeepLabv3+'s decoder."""

    def __init__(self, stages: Sequence[int], channels: int, rates: Sequence[int]):
        super().__init__()
        self.skip = next(index for index, count in enumerate(stages) if index >= 2 and count)  # at stride 4
        fewer = max(1, channels * 3 // 16)  # 48 of 256
        self.pyramid = _Pyramid(stages[-1], channels, rates)
        self.project_skip = _convolution(stages[self.skip], fewer, 1)
        self.layers = nn.Sequential(_convolution(channels + fewer, channels, 3), _convolution(channels, channels, 3))

    def forward(self, maps: Sequence[Tensor], boundaries: Tensor) -> Tensor:
        """Maps of the encoder, and boundaries (B, 1, h, w) between 0 and 1 -> (B, channels, H / 4, W / 4)."""
        skip = self.project_skip(maps[self.skip])
        values = resized(self.pyramid(maps[-1], boundaries), skip.shape[-2:])
        decoded: Tensor = self.layers(torch.cat([values, skip], dim=1))
        return decoded


class _Pyramid(nn.Module):
    """Dilated convolutions of several rates, the mean of the map, and boundaries, joined by a 1 × 1 convolution."""

    def __init__(self, channels: int, out: int, rates: Sequence[int]):
        super().__init__()
        self.branches = nn.ModuleList([_convolution(channels, out, 1)])
        self.branches.extend(_convolution(channels, out, 3, dilation=rate) for rate in rates)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, out, kernel_size=1), nn.ReLU())
        self.boundaries = nn.Sequential(nn.Conv2d(1, out, kernel_size=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.join = _convolution((len(rates) + 3) * out, out, 1)

    def forward(self, values: Tensor, boundaries: Tensor) -> Tensor:
        """(B, channels, h, w), and boundaries (B, 1, H, W) -> (B, out, h, w)."""
        height, width = size = values.shape[-2:]
        parts = [branch(values) for branch in self.branches]
        parts.append(self.pooled(values).expand(-1, -1, *size))
        parts.append(self.boundaries(functional.adaptive_avg_pool2d(boundaries, (height, width))))
        joined: Tensor = self.join(torch.cat(parts, dim=1))
        return joined


def _first_stage(stages: Sequence[int]) -> int:
    """Index of the encoder's first map that is not empty; the image is before it."""
    return next(index for index, count in enumerate(stages) if index and count)


def _convolution(channels: int, out: int, side: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation and ReLU."""
    layer = nn.Conv2d(channels, out, side, padding=side // 2 * dilation, dilation=dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class GatedScnns(EncoderFamily):
    """The family of this one architecture."""

    Settings = GatedScnnArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        given, _ = split_arguments(network, GatedScnnArguments)
        return GatedScnn(self.encoder(network, bands, None), classes, given)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, and one that cannot dilate but is to.

        Raises:
            ModelError: with the nearest name, or the nearest combination that works.
        """
        super().check(network)
        given, _ = split_arguments(network, GatedScnnArguments)
        check_combination(network, "maps" if given.encoder_output_stride == 32 else "dilation")

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder alone.

        Raises:
            ModelError: as `build` does.
        """
        from geoseg.models.families import any_encoder  # imports smp and timm

        self.check(network)
        given, of_timm = split_arguments(network, GatedScnnArguments)
        stride = given.encoder_output_stride
        return any_encoder.build_encoder(network, bands, tag, output_stride=stride, more=of_timm)

    def example(self, architecture: str) -> NetworkSpec:
        """A network with a small encoder and narrow streams."""
        arguments: Any = {
            "encoder_output_stride": 16, "decoder_channels": 16, "decoder_atrous_rates": [2, 4], "shape_channels": 16,
        }  # fmt: skip
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title="Gated-SCNN",
            year=2019,
            paper='Takikawa, Acuna, Jampani and Fidler, "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", ICCV '
            "2019",
            source="here",
            licence="Apache-2.0",
            encoders="those of smp or timm (tu-NAME) that can dilate, e.g. resnet50; any with encoder_output_stride 32",
            limits="Its shape stream works on every pixel: 1.2 GB for a window of 1024 pixels, a quarter of that with "
            "shape_stride 2. A mean over the whole window is in its pyramid: logits depend a little on its size. "
            "Its decoder_atrous_rates suit windows of 512 px and more: smaller ones need smaller rates.",
        )


FAMILY = GatedScnns()
