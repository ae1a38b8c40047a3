"""Features of labelled pixels of each class, the latest ones, to which features of other pixels are drawn.

In: features of pixels and their classes. Out: a loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MemoryBank(nn.Module):
    """Queues of features of unit length, one for each class: the first in is the first out."""

    features: Tensor
    """(K, N, D), in the order of their places, which are filled in turn."""
    given: Tensor
    """Features that each class was given so far (K), int64."""

    def __init__(self, classes: int, most: int, channels: int):
        """Make empty queues.

        Args:
            classes: K.
            most: features that are kept for each class, N.
            channels: of each feature, D.
        """
        super().__init__()
        self.register_buffer("features", torch.zeros(classes, most, channels))
        self.register_buffer("given", torch.zeros(classes, dtype=torch.int64))

    @torch.no_grad()
    def put(self, features: Tensor, classes: Tensor) -> None:
        """Add features (n, D) of pixels to the queues of their classes (n)."""
        most = self.features.shape[1]
        features = functional.normalize(features.float(), dim=1)
        for index in range(len(self.given)):
            own = features[classes == index]
            places = self.given[index] + torch.arange(len(own), device=own.device)
            self.features[index, places[-most:] % most] = own[-most:]
            self.given[index] += len(own)

    def loss(self, features: Tensor, classes: Tensor) -> Tensor:
        """Mean of 1 less the cosine of features (n, D) and of all that the bank has of their classes (n).

        Each class of which there are pixels and features counts alike, as in L_contr of Alonso et al. 2021; where
        there are none, the loss is 0.
        """
        filled = self.given.clamp(max=self.features.shape[1])
        means = self.features.sum(dim=1) / filled.clamp(min=1).unsqueeze(1)  # whose product is the mean of products
        distances = 1 - (functional.normalize(features.float(), dim=1) * means[classes]).sum(dim=1)
        pixels = torch.bincount(classes, minlength=len(filled)) * (filled > 0)
        weights = (filled > 0)[classes] / pixels[classes].clamp(min=1)
        return (distances * weights).sum() / (pixels > 0).sum().clamp(min=1)


def draw_pixels(classes: Tensor, count: int, most: int, generator: torch.Generator) -> Tensor:
    """Places of pixels, up to `most` of each of `count` classes, at random.

    Args:
        classes: class of each pixel (n); others than the K, as IGNORE, are not drawn.
        count: K.
        most: of each class.
        generator: source of all randomness.
    """
    order = torch.rand(len(classes), generator=generator, device=generator.device).argsort()
    return torch.cat([order[classes[order] == index][:most] for index in range(count)])
