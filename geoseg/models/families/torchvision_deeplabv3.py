"""torchvision's DeepLabV3 on a dilated ResNet, built by torchvision itself.

Chen, Papandreou, Schroff and Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv 1706.05587,
2017. The first block of a dilated stage keeps the dilation before it, where segmentation-models-pytorch dilates all
blocks; rates are 12, 24 and 36, and logits are upsampled with `align_corners=False`: another network than `deeplabv3`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.parameters import parse_arguments
from geoseg.models.window_padding import Sides
from geoseg.spec import NetworkSpec, Spec

STRIDE = 8
"""Stride of the maps that the decoder takes."""
STAGES = 64, 256, 512, 1024, 2048
"""Channels of the maps: of the stem, and of each stage."""
WIDTH = 256
"""Channels of the decoder's output."""


class TorchvisionDeepLabArguments(Spec):
    """Arguments of torchvision's DeepLabV3."""

    backbone: Literal["resnet50", "resnet101"] = "resnet50"
    """Its ResNet."""


class Stages(nn.Module):
    """The backbone's maps, at strides 2, 4, 8, 8 and 8; its parts have torchvision's names."""

    def __init__(self, backbone: Any, bands: int):
        super().__init__()
        first = backbone.conv1
        if bands != first.in_channels:
            first = nn.Conv2d(bands, STAGES[0], first.kernel_size, first.stride, first.padding, bias=False)
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        self.conv1, self.bn1, self.relu, self.maxpool = first, backbone.bn1, backbone.relu, backbone.maxpool
        self.layer1, self.layer2 = backbone.layer1, backbone.layer2
        self.layer3, self.layer4 = backbone.layer3, backbone.layer4

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of an image (B, C, H, W), the finest first."""
        maps = [self.relu(self.bn1(self.conv1(image)))]
        values = self.maxpool(maps[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            values = stage(values)
            maps.append(values)
        return maps


class TorchvisionDeepLab(Body):
    """The network in three parts: the backbone, the classifier without its last convolution, and this."""

    def __init__(self, model: Any, bands: int):
        """Take the parts of a network of torchvision."""
        super().__init__()
        aspp, convolution, norm, relu, last = model.classifier
        self.encoder = Stages(model.backbone, bands)
        self.decoder = nn.Sequential(OrderedDict(aspp=aspp, conv=convolution, bn=norm, relu=relu))
        upsampling = nn.Upsample(scale_factor=STRIDE, mode="bilinear", align_corners=False)
        self.segmentation_head = nn.Sequential(last, upsampling)

    @property
    def head(self) -> nn.Module:
        """A convolution of pixels, whose logits are upsampled eightfold."""
        return self.segmentation_head

    @property
    def channels(self) -> int:
        """256."""
        return WIDTH

    @property
    def stages(self) -> Sequence[int]:
        """Of the stem, and of each stage."""
        return STAGES

    @property
    def sides(self) -> Sides:
        """Multiples of the stride."""
        return Sides(STRIDE)

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        return Features(self.encoder(image))

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, 256, H/8, W/8)."""
        decoded: Tensor = self.decoder(features.maps[-1])
        return decoded


class TorchvisionDeepLabs(Family):
    """The family of one architecture."""

    Settings = TorchvisionDeepLabArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if an argument is unknown or out of bounds.
        """
        from torchvision.models import segmentation

        backbone = parse_arguments(network, TorchvisionDeepLabArguments).backbone
        build = {
            "resnet50": segmentation.deeplabv3_resnet50,
            "resnet101": segmentation.deeplabv3_resnet101,
        }[backbone]
        model = build(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
        return TorchvisionDeepLab(model, bands)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an encoder, which it has by itself.

        Raises:
            ModelError: with the network that takes any.
        """
        if network.encoder:
            raise ModelError(
                f"{network.architecture} has an encoder of its own: leave out encoder, or take deeplabv3 with it"
            )

    def example(self, architecture: str) -> NetworkSpec:
        """The smaller one."""
        return NetworkSpec(architecture=architecture, multiple=STRIDE)

    def info(self, architecture: str) -> NetworkInfo:
        """The paper, and what differs from the other DeepLabV3."""
        return NetworkInfo(
            title="DeepLabV3 of torchvision",
            year=2017,
            paper='Chen, Papandreou, Schroff and Adam, "Rethinking Atrous Convolution for Semantic Image '
            'Segmentation", arXiv 1706.05587',
            source="torchvision",
            licence="BSD-3-Clause",
            encoders="none",
            limits="For models of Raster Vision and of torchvision; deeplabv3 takes any encoder. Pretrained weights of "
            "its ResNet are given as a file to encoder_weights.",
        )


FAMILY = TorchvisionDeepLabs()
