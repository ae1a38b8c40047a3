"""Features of a network that are changed on their way from encoder to decoder.

In: a network, band values, and a change of features. Out: logits. A new perturbation is a function here or in a file of
its own, and a line in `PERTURBATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from geoseg.core.registry import Registry
from geoseg.models.families.body import Features
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.window_padding import cropped
from geoseg.training.perturbations.mixing import draw_boxes

Change = Callable[[Features], Features]
"""Makes other features of those of a batch."""


class Perturbation(Protocol):
    """Changes features."""

    def __call__(self, features: Tensor, generator: Generator, /) -> Tensor:
        """Make another map (B, C, h, w) of one; all randomness comes from the generator."""
        ...


PERTURBATIONS: Registry[Perturbation] = Registry(
    "perturbation of features",
    "geoseg.perturbations",
    {
        "dropout": "geoseg.training.perturbations.features:dropout",
        "feature_drop": "geoseg.training.perturbations.features:feature_drop",
        "feature_noise": "geoseg.training.perturbations.features:feature_noise",
        "cutout": "geoseg.training.perturbations.features:cutout",
    },
)
"""All perturbations of features by name."""
DROPPED = 0.5
"""Share of the channels that are dropped."""
ATTENTION = 0.7, 0.9
"""Least and most share of a map's highest mean over channels above which pixels are dropped."""
NOISE = 0.3
"""Most by which a value is changed, as a share of itself."""
CUT_OUT = 0.4
"""Share of a map that is cut out."""


class Encoded(NamedTuple):
    """Features of images of any size."""

    features: Features
    """Of the padded images."""
    padded: torch.Size
    """Shape of these images."""
    size: torch.Size
    """Shape of the images as they were."""

    def cropped(self, maps: Tensor) -> Tensor:
        """The part of maps (B, C, h, w) of the padded images that shows the images as they were."""
        return maps if self.padded == self.size else cropped(maps, self.padded, self.size)


def encode(network: SegmentationNetwork, image: Tensor) -> Encoded:
    """Features of band values (B, C, h, w)."""
    values = network.normalize(image)
    padded = network.body.sides.padded(values)
    return Encoded(network.body.encode(padded), padded.shape, values.shape)


def decode(network: SegmentationNetwork, encoded: Encoded) -> Tensor:
    """Logits (B, K, h, w), float32, of features."""
    body = network.body
    return encoded.cropped(body.head(body.decode(encoded.features))).float()


def classify_changed(network: SegmentationNetwork, image: Tensor, change: Change) -> Tensor:
    """Logits (B, K, h, w), float32, of band values (B, C, h, w) whose features are changed."""
    encoded = encode(network, image)
    return decode(network, encoded._replace(features=change(encoded.features)))


def channel_dropout(rate: float, generator: Generator) -> Change:
    """Drop whole channels of all maps, each with a probability."""
    return lambda features: features._replace(
        maps=[dropout(one, generator, rate) if one.shape[1] else one for one in features.maps]
    )


def dropout(map_: Tensor, generator: Generator, rate: float = DROPPED) -> Tensor:
    """Drop whole channels (Tompson et al. 2015), each with a probability; the others grow."""
    kept = torch.rand(map_.shape[:2], generator=generator, device=generator.device) >= rate
    return map_ * (kept.to(map_) / (1 - rate))[:, :, None, None]


def feature_drop(map_: Tensor, generator: Generator) -> Tensor:
    """Drop the most active pixels: those whose mean over channels is near the highest of the map (CCT, "F-Drop")."""
    attention = map_.detach().mean(dim=1, keepdim=True)
    drawn = torch.rand(len(map_), 1, 1, 1, generator=generator, device=generator.device)
    share = ATTENTION[0] + (ATTENTION[1] - ATTENTION[0]) * drawn
    return map_ * (attention < share.to(map_) * attention.amax(dim=(2, 3), keepdim=True)).to(map_)


def feature_noise(map_: Tensor, generator: Generator) -> Tensor:
    """Change each value by up to a share of itself (CCT, "F-Noise")."""
    drawn = torch.rand(map_.shape, generator=generator, device=generator.device)
    return map_ * (1 + NOISE * (2 * drawn - 1)).to(map_)


def cutout(map_: Tensor, generator: Generator) -> Tensor:
    """Cut a rectangle out of each map: its area is always the same, its aspect and place are random."""
    shares = torch.full((len(map_),), CUT_OUT, device=map_.device)
    return map_.masked_fill(draw_boxes(shares, map_.shape[-2:], generator).unsqueeze(1), 0)
