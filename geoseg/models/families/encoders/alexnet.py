"""AlexNet as an encoder, for networks of its time.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS 2012, in
the form that fits one GPU: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, with
64, 192, 384, 256 and 256 kernels and without response normalisation. Its weights are named as torchvision's.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from geoseg.models.families.encoders.encoder import Encoder

NAME = "alexnet"
PRETRAINED_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""torchvision's weights, trained on ImageNet; the name of the file ends with the beginning of its SHA-256."""
MAPS = ((0, 0), (2, 64), (5, 192), (12, 256), (13, 256))
"""Of half the size of the image, a quarter, ...: the layers up to each map, and its channels. The first stride is 4, so
that the first map is empty; the last map is that of the last pooling, which classification sees."""


class AlexNet(Encoder):
    """The convolutions of AlexNet.

    Padding makes each map exactly as large as its stride says: the first convolution pads 4 pixels, where torchvision's
    pads 2, and each pooling one, where torchvision's pads none. Inner values are those of torchvision's network for an
    image shifted by 30 pixels.
    """

    def __init__(self, bands: int = 3, depth: int = len(MAPS), output_stride: int = 2 ** len(MAPS)):
        """Make the layers up to the last map that is wanted.

        Raises:
            ValueError: if there is no such map.
        """
        super().__init__()
        if not 2 <= depth <= len(MAPS) or output_stride != 2 ** len(MAPS):
            raise ValueError("alexnet takes an encoder_depth of 2 to 5, and cannot dilate: its strides are of poolings")
        layers = [
            _stem(bands), nn.ReLU(inplace=True), _pooling(),
            nn.Conv2d(64, 192, kernel_size=5, padding=2), nn.ReLU(inplace=True), _pooling(),
            nn.Conv2d(192, 384, kernel_size=3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1), nn.ReLU(inplace=True), _pooling(),
        ]  # fmt: skip
        self._ends = [end for end, _ in MAPS[:depth]]
        self.features = nn.Sequential(*layers[: self._ends[-1]])
        self.out_channels = [bands, *(channels for _, channels in MAPS[:depth])]
        self.output_stride = 2**depth

    def set_in_channels(self, bands: int, pretrained: bool = False) -> None:
        """Take another number of bands: smp calls this after it has built an encoder for three."""
        if bands != self.out_channels[0]:
            self.features[0] = _stem(bands)
            self.out_channels = [bands, *self.out_channels[1:]]

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image (B, C, H, W), an empty map of half its size, and features of a quarter, an eighth, ..."""
        maps, values = [image, image.new_empty(len(image), 0, image.shape[2] // 2, image.shape[3] // 2)], image
        for start, end in pairwise(self._ends):
            values = self.features[start:end](values)
            maps.append(values)
        return maps


def _stem(bands: int) -> nn.Conv2d:
    return nn.Conv2d(bands, 64, kernel_size=11, stride=4, padding=4)


def _pooling() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
