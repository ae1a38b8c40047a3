"""What each tool is given, in its own environment: a scene, a network, and where to write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch

NODATA = 255
"""What marks a pixel without a class."""


@dataclass(frozen=True)
class Case:
    """One task, the same for every tool."""

    scene: str
    """The GeoTIFF: three bands of uint8; 0 is nodata."""
    network: str
    """unet (ResNet-18), or pointwise: a 1 x 1 convolution."""
    models: str
    """Folder of the weights: <network>.pt, and what tools make of it beside it."""
    output: str
    """Folder to write to."""
    threads: int
    """Threads of whatever computes."""
    classes: int = 5
    """Number of classes."""
    tile: int = 512
    """Side of a window, for tools other than geoseg."""
    overlap: int = 128
    """Pixels shared by neighbouring windows, where that can be set."""
    batch_size: int = 4
    """Windows forwarded at once, where that can be set."""

    def model_file(self, suffix: str) -> Path:
        """Path of this network in some format."""
        return Path(self.models) / f"{self.network}.{suffix}"

    def output_file(self, name: str = "classes.tif") -> Path:
        """Path to write to."""
        return Path(self.output) / name


class Counted(torch.nn.Module):
    """A network that counts the pixels it forwards."""

    pixels = 0

    def __init__(self, body: torch.nn.Module):
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Forward a batch (B, C, H, W)."""
        Counted.pixels += image.shape[0] * image.shape[2] * image.shape[3]
        return self.body(image)


class Divided(torch.nn.Module):
    """A network that takes band values from 0 to 255, for tools that pass them on as they are."""

    def __init__(self, body: torch.nn.Module):
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Forward a batch (B, C, H, W)."""
        return self.body(image.float() / 255)


def build(network: str, classes: int) -> torch.nn.Module:
    """The network, without weights; it takes band values divided by 255."""
    if network == "pointwise":
        return torch.nn.Conv2d(3, classes, kernel_size=1)
    return smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=classes)


def load(case: Case) -> torch.nn.Module:
    """The network with its weights."""
    network = build(case.network, case.classes)
    network.load_state_dict(torch.load(case.model_file("pt"), weights_only=True))
    return network.eval()


def write_classes(case: Case, classes: np.ndarray) -> Path:
    """Write a class map as a person would who got an array back."""
    with rasterio.open(case.scene) as scene:
        profile = scene.profile | {"count": 1, "nodata": NODATA, "photometric": "minisblack"}
    with rasterio.open(case.output_file(), "w", **profile) as output:
        output.write(classes, 1)
    return case.output_file()
