"""The decoder of fully convolutional networks. In: maps at strides 32, 16 and 8. Out: scores of classes.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg.models.families.layers import starts_at_zero


class Bilinear(nn.ConvTranspose2d):
    """Upsampling by a transposed convolution of each class, whose weights begin as bilinear interpolation.

    Section 3.3: "upsampling is backwards strided convolution". A kernel of twice the factor, padded by half of it,
    gives each output the mean of its two nearest inputs per axis, weighted by their nearness. Beyond the edges there
    are zeros in training, and replicated inputs in evaluation mode (see `geoseg.models.padding`).
    """

    def __init__(self, classes: int, factor: int, *, is_learned: bool = True):
        super().__init__(classes, classes, 2 * factor, factor, factor // 2, groups=classes, bias=False)
        nearness = 1 - ((torch.arange(2 * factor) + 0.5) / factor - 1).abs()
        with torch.no_grad():
            self.weight.copy_(torch.outer(nearness, nearness).expand_as(self.weight))
        self.weight.requires_grad_(is_learned)


class FcnDecoder(nn.Module):
    """Scores of classes from the deepest map, fused with those of finer maps: figure 3.

    The scores of a finer map begin at zero, so that the network begins as the next coarser one (section 4.2).
    """

    def __init__(self, channels: Sequence[int], classes: int, inner: nn.Sequential):
        """Make the layers.

        Args:
            channels: of the finer maps, each of half the stride of the one before; none for an FCN-32s.
            classes: scores of each pixel.
            inner: layers of the classifier between the deepest map and its scores: fc6 and fc7 as convolutions, or a
                score layer alone.
        """
        super().__init__()
        self.deepest = inner
        skips = (starts_at_zero(nn.Conv2d(count, classes, kernel_size=1)) for count in channels)
        self.skips = nn.ModuleList(skips)
        self.upsampling = nn.ModuleList(Bilinear(classes, 2) for _ in channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Scores (B, K, h, w) at the stride of the finest map; the maps come with the deepest first."""
        scores: Tensor = self.deepest(maps[0])
        for skip, upsample, finer in zip(self.skips, self.upsampling, maps[1:], strict=True):
            scores = upsample(scores) + skip(finer)
        return scores


def classifier(channels: int, classes: int, width: int, side: int, dropout: float) -> nn.Sequential:
    """The fully connected layers of an ImageNet network as convolutions (section 3.1, figure 2), and a score layer.

    Args:
        channels: of the map that they take.
        classes: scores of each pixel.
        width: channels of fc6 and fc7, 4096 in the paper; 0 for a network that has no such layers.
        side: of fc6's kernel: that of the last map in classification, 7 for VGG.
        dropout: after fc6 and fc7.
    """
    layers: list[nn.Module] = []
    for inputs, kernel in ((channels, side), (width, 1)) if width else ():
        layer = nn.Conv2d(inputs, width, kernel)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        padding = nn.ZeroPad2d(((kernel - 1) // 2, kernel // 2) * 2)  # AlexNet's kernel has an even side
        layers += [padding, layer, nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Conv2d(width or channels, classes, kernel_size=1))
