"""DDRNet: two branches of different resolutions that exchange what they know. In: an image. Out: logits.

Hong, Pan, Sun and Jia, "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
arXiv 2101.06085 (2021). Written from the paper; layers are named as in the weights that its authors publish, so that
these can be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import resized
from geoseg.models.families.parameters import parse_arguments
from geoseg.models.training_batch import PixelLoss
from geoseg.models.window_padding import Sides
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Channels

WIDTHS = {"ddrnet23_slim": (32, 64), "ddrnet23": (64, 128)}
"""Channels of the first stage, and of the segmentation head, by architecture."""
STRIDE = 8
"""Stride of the high-resolution branch."""


class DdrNetArguments(Spec):
    """Arguments of a DDRNet."""

    width: Channels | None = None
    """Channels of the first stage, of which those of all others are multiples; by default the paper's, 32 or 64."""
    head_channels: Channels | None = None
    """Channels of the segmentation heads; by default the paper's, 64 or 128."""
    auxiliary_weight: Annotated[float, Field(ge=0, le=10)] = 0.4
    """Weight of the loss of the auxiliary head, which is used in training alone."""


class DdrNet(Body):
    """The dual-resolution encoder, the pyramid of pooled maps on its low-resolution branch, and the head."""

    def __init__(self, bands: int, classes: int, width: int, head: int, auxiliary_weight: float = 0.4):
        super().__init__()
        self.encoder = DualResolutionEncoder(bands, width)
        self.decoder = Dappm(16 * width, 128, 4 * width)
        self.final_layer = _head(4 * width, head, classes)
        self.seghead_extra = _head(2 * width, head, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self._channels, self._auxiliary_weight = 4 * width, auxiliary_weight

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, H / 8, W / 8) into logits (B, K, H, W)."""
        return self.final_layer

    @property
    def channels(self) -> int:
        """Channels L of the output of `decode`."""
        return self._channels

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the image, and of the maps of `DualResolutionEncoder`."""
        return self.encoder.out_channels  # type: ignore[return-value]  # a tuple of whole numbers

    @property
    def sides(self) -> Sides:
        """Whole strides of the high-resolution branch."""
        return Sides(STRIDE)

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The encoder."""
        return (self.encoder,)

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """The loss of an auxiliary head on the high-resolution branch after the first fusion."""
        fused: Tensor = outputs[0][1]
        return self._auxiliary_weight * criterion(self.seghead_extra(fused), labels)

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        return Features(self.encoder(image))

    def decode(self, features: Features) -> Tensor:
        """The high-resolution branch plus the pooled pyramid of the other (B, L, H / 8, W / 8)."""
        *_, fine, coarse = features.maps
        return fine + resized(self.decoder(coarse), fine.shape[-2:])


class DualResolutionEncoder(nn.Module):
    """Both branches: (B, C, H, W) -> the image; the high-resolution branch at stride 8, after the first fusion and at
    its end; the low-resolution branch at stride 64."""

    def __init__(self, bands: int, width: int):
        super().__init__()
        high = 2 * width
        self.out_channels = bands, high, 2 * high, 16 * width
        self.conv1 = nn.Sequential(*_stem(bands, width), *_stem(width, width))
        self.layer1 = _stage(width, width)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.layer5 = nn.Sequential(Bottleneck(8 * width, 8 * width, stride=2))
        self.layer3_ = _stage(2 * width, high)
        self.layer4_ = _stage(high, high)
        self.layer5_ = nn.Sequential(Bottleneck(high, high))
        self.compression3 = _normalised(4 * width, high, side=1)
        self.compression4 = _normalised(8 * width, high, side=1)
        self.down3 = _normalised(high, 4 * width, stride=2)
        self.down4 = nn.Sequential(
            *_normalised(high, 4 * width, stride=2),
            nn.ReLU(inplace=True),
            *_normalised(4 * width, 8 * width, stride=2),
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of the image, see the class."""
        shared = functional.relu(self.layer2(functional.relu(self.layer1(self.conv1(image)))))
        low, high = self.layer3(shared), self.layer3_(shared)
        low, fused = _fuse(low, high, self.down3, self.compression3)
        low, high = self.layer4(functional.relu(low)), self.layer4_(functional.relu(fused))
        low, high = _fuse(low, high, self.down4, self.compression4)
        high = self.layer5_(functional.relu(high))
        low = self.layer5(functional.relu(low))
        return [image, fused, high, low]


def _fuse(low: Tensor, high: Tensor, down: nn.Module, compress: nn.Module) -> tuple[Tensor, Tensor]:
    """The "bilateral fusion": each branch plus the other, resized; before the activation.

    Low is (B, C, h, w) and high (B, C', h', w'), `down` and `compress` give each other's channels.
    """
    lowered = low + down(functional.relu(high))
    raised = high + resized(compress(functional.relu(low)), high.shape[-2:])
    return lowered, raised


class Dappm(nn.Module):
    """The "Deep Aggregation Pyramid Pooling Module".

    Maps pooled over 5, 9 and 17 pixels and over the whole, each upsampled, added to the next smaller one's output and
    convolved. All are joined by a 1 × 1 convolution, and a shortcut is added. Means are those of the pixels inside of
    the map: of a small one, most of 17 × 17 pixels lie outside, and batch normalisations would learn the variance of
    means that are nearly zero in training, where padding is zero, but not in evaluation.
    """

    def __init__(self, channels: int, inner: int, out: int):
        super().__init__()
        self.scale0 = _activated(channels, inner)
        self.scale1 = nn.Sequential(_pool(5, 2), *_activated(channels, inner))
        self.scale2 = nn.Sequential(_pool(9, 4), *_activated(channels, inner))
        self.scale3 = nn.Sequential(_pool(17, 8), *_activated(channels, inner))
        self.scale4 = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_activated(channels, inner))
        self.process1 = _activated(inner, inner, side=3)
        self.process2 = _activated(inner, inner, side=3)
        self.process3 = _activated(inner, inner, side=3)
        self.process4 = _activated(inner, inner, side=3)
        self.compression = _activated(5 * inner, out)
        self.shortcut = _activated(channels, out)

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, out, h, w)."""
        size = values.shape[-2:]
        scales = [self.scale0(values)]
        for pool, process in (
            (self.scale1, self.process1),
            (self.scale2, self.process2),
            (self.scale3, self.process3),
            (self.scale4, self.process4),
        ):
            scales.append(process(resized(pool(values), size) + scales[-1]))
        joined: Tensor = self.compression(torch.cat(scales, dim=1)) + self.shortcut(values)
        return joined


class BasicBlock(nn.Module):
    """Residual block of two 3 × 3 convolutions (He et al. 2016); its sum may be left without activation."""

    def __init__(self, channels: int, out: int, stride: int = 1, *, is_active: bool = True):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = _shortcut(channels, out, stride)
        self.is_active = is_active

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, out, h / stride, w / stride)."""
        passed = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(values)))))
        total: Tensor = passed + self.downsample(values)
        return functional.relu(total) if self.is_active else total


class Bottleneck(nn.Module):
    """Residual block of 1 × 1, 3 × 3 and 1 × 1 convolutions, which doubles the channels; without a last activation."""

    def __init__(self, channels: int, inner: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 2 * inner, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * inner)
        self.downsample = _shortcut(channels, 2 * inner, stride)

    def forward(self, values: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, 2 inner, h / stride, w / stride)."""
        passed = functional.relu(self.bn1(self.conv1(values)))
        passed = functional.relu(self.bn2(self.conv2(passed)))
        total: Tensor = self.bn3(self.conv3(passed)) + self.downsample(values)
        return total


def _stage(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """Two basic blocks, the second without a last activation."""
    return nn.Sequential(BasicBlock(channels, out, stride), BasicBlock(out, out, is_active=False))


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    return nn.Identity() if channels == out and stride == 1 else _normalised(channels, out, side=1, stride=stride)


def _normalised(channels: int, out: int, *, side: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution and batch normalisation."""
    layer = nn.Conv2d(channels, out, side, stride, padding=side // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out))


def _stem(channels: int, out: int) -> tuple[nn.Module, ...]:
    """A 3 × 3 convolution that halves the size, with a bias, then batch normalisation and ReLU."""
    return nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)


def _activated(channels: int, out: int, *, side: int = 1) -> nn.Sequential:
    """Batch normalisation, ReLU and a convolution."""
    layer = nn.Conv2d(channels, out, side, padding=side // 2, bias=False)
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), layer)


def _pool(side: int, stride: int) -> nn.AvgPool2d:
    """Means of the pixels of a square that lie inside of the map."""
    return nn.AvgPool2d(side, stride, padding=side // 2, count_include_pad=False)


def _head(channels: int, inner: int, classes: int) -> nn.Sequential:
    """Twice batch normalisation, ReLU and a convolution, the second one 1 × 1; then logits are upsampled eightfold."""
    return nn.Sequential(
        *_activated(channels, inner, side=3),
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, classes, kernel_size=1),
        nn.Upsample(scale_factor=STRIDE, mode="bilinear", align_corners=False),
    )


class DdrNets(Family):
    """DDRNet-23-slim and DDRNet-23."""

    Settings = DdrNetArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if an argument is unknown or out of bounds.
        """
        given = parse_arguments(network, DdrNetArguments)
        width, head = WIDTHS[network.architecture.lower()]
        return DdrNet(bands, classes, given.width or width, given.head_channels or head, given.auxiliary_weight)

    def example(self, architecture: str) -> NetworkSpec:
        """A narrow network."""
        arguments: Any = {"width": 4, "head_channels": 8}
        return NetworkSpec(architecture=architecture, arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title={"ddrnet23_slim": "DDRNet-23-slim", "ddrnet23": "DDRNet-23"}[architecture],
            year=2021,
            paper='Hong, Pan, Sun and Jia, "Deep Dual-resolution Networks for Real-time and Accurate Semantic '
            'Segmentation of Road Scenes", arXiv 2101.06085, 2021',
            source="here",
            licence="Apache-2.0",
            encoders="none",
            limits="One of its pooled maps is a mean over the whole window: logits depend a little on its size. "
            "Pretrained weights are its authors', given as a file to encoder_weights.",
        )


FAMILY = DdrNets()
