"""ResNets of basic blocks (He et al. 2016) as encoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geoseg.models.families.encoders.encoder import Encoder

BLOCKS = {"tu-resnet18": (2, 2, 2, 2), "tu-resnet34": (3, 4, 6, 3)}
"""Residual blocks in the four stages, by the encoder's name in a spec."""
STEM_CHANNELS = 64
"""Channels of the first convolution; each stage after the first doubles them."""


class ResNet(Encoder):
    """A ResNet without its classifier."""

    def __init__(self, blocks: Sequence[int], bands: int, depth: int):
        super().__init__()
        self.model = _Model(blocks[: depth - 1], bands)
        stages = [STEM_CHANNELS * 2**stage for stage in range(depth - 1)]
        self.out_channels = [bands, STEM_CHANNELS, *stages]

    @classmethod
    def named(cls, name: str, bands: int, depth: int) -> ResNet:
        """The encoder of a name in `BLOCKS` whose last map is the image halved `depth` times."""
        return cls(BLOCKS[name], bands, depth)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image (B, C, H, W), and features of half its size, of a quarter, of an eighth, ..."""
        return [image, *self.model(image)]


class _Model(nn.Module):
    """The stem, and as many stages as features are wanted."""

    def __init__(self, blocks: Sequence[int], bands: int):
        super().__init__()
        self.conv1 = nn.Conv2d(bands, STEM_CHANNELS, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = STEM_CHANNELS
        self.stages: list[str] = []
        for number, count in enumerate(blocks, 1):
            stage = nn.Sequential(_Block(channels, STEM_CHANNELS * 2 ** (number - 1), 1 if number == 1 else 2))
            channels = STEM_CHANNELS * 2 ** (number - 1)
            stage.extend(_Block(channels, channels, 1) for _ in range(1, count))
            self.add_module(f"layer{number}", stage)
            self.stages.append(f"layer{number}")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of half the size of an image (B, C, H, W), of a quarter, of an eighth, ..."""
        features = [self.act1(self.bn1(self.conv1(image)))]
        values = self.maxpool(features[0]) if self.stages else features[0]
        for stage in self.stages:
            values = self.get_submodule(stage)(values)
            features.append(values)
        return features


class _Block(nn.Module):
    """A basic residual block: two convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out, h / stride, w / stride)."""
        shortcut = values
        values = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(values)))))
        values += shortcut if self.downsample is None else self.downsample(shortcut)
        activated: Tensor = self.act2(values)
        return activated
