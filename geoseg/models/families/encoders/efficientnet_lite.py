"""EfficientNet-Lite0 to 4 as encoders: EfficientNets (Tan and Le 2019) for devices without much arithmetic.

They consist of inverted residual blocks (Sandler et al. 2018) with ReLU6 and without squeeze-and-excitation. Their
weights were trained in TensorFlow, so strided convolutions pad as it does: as much as the last output needs, the odd
pixel at the right and bottom. All stages have weights, as in timm, also those beyond the last map: a bundle names them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.encoders.encoder import Encoder


class _Stage(NamedTuple):
    """Blocks in a row."""

    expansion: int
    kernel: int
    stride: int
    """Of the first block; the others keep the size."""
    channels: int
    blocks: int


STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
"""Of EfficientNet-B0."""
SCALES = {
    "tu-tf_efficientnet_lite0": (1.0, 1.0),
    "tu-tf_efficientnet_lite1": (1.0, 1.1),
    "tu-tf_efficientnet_lite2": (1.1, 1.2),
    "tu-tf_efficientnet_lite3": (1.2, 1.4),
    "tu-tf_efficientnet_lite4": (1.4, 1.8),
}
"""Factors of the channels and of the number of blocks, by the encoder's name in a spec."""
STEM_CHANNELS = 32
"""Of the first convolution; the same for all sizes."""
EPSILON = 1e-3
"""Added to variances by batch normalisation, TensorFlow's default."""


class EfficientNetLite(Encoder):
    """An EfficientNet-Lite without its classifier."""

    def __init__(self, stages: Sequence[_Stage], bands: int, depth: int):
        super().__init__()
        ends = [number for number, (_, next_) in enumerate(pairwise(stages), 1) if next_.stride == 2] + [len(stages)]
        self.model = _Model(stages, bands, ends[:depth])
        self.out_channels = [bands, *(stages[end - 1].channels for end in ends[:depth])]

    @classmethod
    def named(cls, name: str, bands: int, depth: int) -> EfficientNetLite:
        """The encoder of a name in `SCALES` whose last map is the image halved `depth` times."""
        return cls(_scaled(*SCALES[name]), bands, depth)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image (B, C, H, W), and features of half its size, of a quarter, ...; fractions round up."""
        return [image, *self.model(image)]


def _scaled(width: float, depth: float) -> list[_Stage]:
    """The stages of a larger network; the first and the last keep their single block."""
    return [
        stage._replace(
            channels=_rounded(stage.channels * width),
            blocks=stage.blocks if stage in (STAGES[0], STAGES[-1]) else math.ceil(stage.blocks * depth),
        )
        for stage in STAGES
    ]


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not below nine tenths of the channels."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class _Model(nn.Module):
    """The stem and all stages; computed up to the last map that is wanted."""

    def __init__(self, stages: Sequence[_Stage], bands: int, ends: Sequence[int]):
        super().__init__()
        self.conv_stem = _convolution(bands, STEM_CHANNELS, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS, EPSILON)
        self.act1 = nn.ReLU6(inplace=True)
        inputs = [STEM_CHANNELS, *(stage.channels for stage in stages)]
        self.blocks = nn.Sequential(*(_blocks(n, stage) for n, stage in zip(inputs, stages, strict=False)))
        self._ends = tuple(ends)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of half the size of an image (B, C, H, W), of a quarter, of an eighth, ..."""
        values = self.act1(self.bn1(self.conv_stem(image)))
        features = []
        for start, end in pairwise((0, *self._ends)):
            values = self.blocks[start:end](values)
            features.append(values)
        return features


def _blocks(channels: int, stage: _Stage) -> nn.Sequential:
    """The blocks of a stage: (B, channels, h, w) -> (B, stage.channels, h / stride, w / stride)."""
    inputs = [(channels, stage.stride), *[(stage.channels, 1)] * (stage.blocks - 1)]
    if stage.expansion == 1:
        return nn.Sequential(*(_Separable(n, stage.channels, stage.kernel, stride) for n, stride in inputs))
    return nn.Sequential(*(_Inverted(n, stage, stride) for n, stride in inputs))


class _Separable(nn.Module):
    """A convolution of each channel, and one across channels: the block that does not expand."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int):
        super().__init__()
        self.conv_dw = _convolution(channels, channels, kernel, stride, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels, EPSILON)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_pw = _convolution(channels, out, 1)
        self.bn2 = nn.BatchNorm2d(out, EPSILON)
        self._adds = stride == 1 and channels == out

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out, h / stride, w / stride)."""
        answer: Tensor = self.bn2(self.conv_pw(self.act1(self.bn1(self.conv_dw(values)))))
        return answer + values if self._adds else answer


class _Inverted(nn.Module):
    """An inverted residual block: expanded, convolved channel by channel, and projected without activation."""

    def __init__(self, channels: int, stage: _Stage, stride: int):
        super().__init__()
        inner = channels * stage.expansion
        self.conv_pw = _convolution(channels, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner, EPSILON)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_dw = _convolution(inner, inner, stage.kernel, stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner, EPSILON)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv_pwl = _convolution(inner, stage.channels, 1)
        self.bn3 = nn.BatchNorm2d(stage.channels, EPSILON)
        self._adds = stride == 1 and channels == stage.channels

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride)."""
        expanded = self.act1(self.bn1(self.conv_pw(values)))
        answer: Tensor = self.bn3(self.conv_pwl(self.act2(self.bn2(self.conv_dw(expanded)))))
        return answer + values if self._adds else answer


def _convolution(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution whose output is the input's size divided by the stride, rounded up."""
    if stride == 1:
        return nn.Conv2d(channels, out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return _StridedConv2d(channels, out, kernel, stride, groups=groups, bias=False)


class _StridedConv2d(nn.Conv2d):
    """A convolution that pads by what its last output needs, which depends on the size of the input."""

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride)."""
        (top, bottom), (left, right) = (self._padding(size, axis) for axis, size in enumerate(values.shape[-2:]))
        padded = functional.pad(values, (left, right, top, bottom))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)

    def _padding(self, size: int, axis: int) -> tuple[int, int]:
        """Pixels before and behind an axis of an input."""
        steps = -(-size // self.stride[axis]) - 1
        total = max(0, steps * self.stride[axis] + self.kernel_size[axis] - size)
        return total // 2, total - total // 2
