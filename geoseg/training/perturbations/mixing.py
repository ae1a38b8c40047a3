"""Windows without labels, pasted together or partly hidden, with what a teacher says of them.

In: band values (B, C, h, w) and targets. Out: the same, changed alike. Nothing is pasted from where there is no data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from geoseg.core.registry import Registry
from geoseg.training.perturbations.targets import Targets

CUTMIX_SHARE = 0.5
"""Share of a window's pixels that CutMix pastes (French et al. 2020, section 4)."""


class Mixed(NamedTuple):
    """Windows that were mixed."""

    image: Tensor
    """Band values (B, C, h, w)."""
    targets: Targets
    """What the network is to answer for them."""


class Mixing(Protocol):
    """Mixes windows."""

    def __call__(self, image: Tensor, targets: Targets, fill: Tensor, generator: Generator, /) -> Mixed:
        """Mix band values (B, C, h, w) and their targets alike.

        Args:
            image: the windows.
            targets: what the network is to answer for them.
            fill: band values (C,) of hidden pixels.
            generator: source of all randomness.
        """
        ...


MIXINGS: Registry[Mixing] = Registry(
    "way to mix windows",
    "geoseg.mixings",
    {
        "none": "geoseg.training.perturbations.mixing:leave",
        "cutmix": "geoseg.training.perturbations.mixing:cutmix",
        "classmix": "geoseg.training.perturbations.mixing:classmix",
        "cutout": "geoseg.training.perturbations.mixing:cutout",
    },
)
"""All ways to mix windows by name."""


def leave(image: Tensor, targets: Targets, fill: Tensor, generator: Generator) -> Mixed:
    """Leave the windows as they are."""
    return Mixed(image, targets)


def cutmix(image: Tensor, targets: Targets, fill: Tensor, generator: Generator) -> Mixed:
    """Paste a rectangle of the next window into each: half of its area, of any aspect (French et al. 2020)."""
    shares = torch.full((len(image),), CUTMIX_SHARE, device=image.device)
    return _paste(image, targets, draw_boxes(shares, image.shape[-2:], generator))


def classmix(image: Tensor, targets: Targets, fill: Tensor, generator: Generator) -> Mixed:
    """Paste half of the classes of the next window into each, where the teacher sees them (Olsson et al. 2021)."""
    order = _next(image)
    masks = half_of_classes(targets.classes[order], targets.counted[order], targets.probabilities.shape[1], generator)
    return _paste(image, targets, masks)


def cutout(image: Tensor, targets: Targets, fill: Tensor, generator: Generator) -> Mixed:
    """Hide a rectangle of up to all of each window, which then does not count (DeVries & Taylor 2017)."""
    shares = torch.rand(len(image), generator=generator, device=generator.device)
    masks = draw_boxes(shares, image.shape[-2:], generator)
    return Mixed(image.where(~masks.unsqueeze(1), fill.to(image).view(1, -1, 1, 1)), targets.hidden(masks))


def draw_boxes(shares: Tensor, size: tuple[int, int] | torch.Size, generator: Generator) -> Tensor:
    """Draw masks (B, h, w) of one rectangle each, inside the window.

    Args:
        shares: area of each rectangle (B,), as a share of the window's.
        size: h and w.
        generator: source of all randomness.
    """
    uniform = torch.rand(3, len(shares), generator=generator, device=generator.device)
    heights = torch.exp(uniform[0] * torch.log(shares.clamp(min=1e-4)))  # from the share itself to 1
    lengths = torch.stack([heights, (shares / heights).clamp(max=1)])  # (2, B)
    starts = uniform[1:] * (1 - lengths)
    rows, cols = (
        (places >= start.unsqueeze(1)) & (places < (start + length).unsqueeze(1))
        for places, start, length in zip(map(_centres(generator), size), starts, lengths, strict=True)
    )
    masks: Tensor = rows.unsqueeze(2) & cols.unsqueeze(1)
    return masks


def _centres(generator: Generator) -> Callable[[int], Tensor]:
    return lambda side: (torch.arange(side, device=generator.device) + 0.5) / side


def half_of_classes(
    classes: Tensor, counted: Tensor, number: int, generator: Generator, *, rounds_up: bool = False
) -> Tensor:
    """Masks (B, h, w) of the pixels of half of the classes that a window shows, drawn at random.

    Args:
        classes: class indexes (B, h, w).
        counted: pixels that count (B, h, w), bool.
        number: of all classes.
        generator: source of all randomness.
        rounds_up: whether half of an odd number is rounded up, so that a window of one class gives that.
    """
    flat = torch.where(counted, classes, number).flatten(1)
    present = torch.zeros(len(flat), number + 1, dtype=torch.bool, device=flat.device).scatter_(1, flat, True)[:, :-1]
    drawn = torch.rand(present.shape, generator=generator, device=generator.device)
    ranks = drawn.masked_fill(~present, math.inf).argsort(dim=1).argsort(dim=1)
    chosen = ranks < (present.sum(dim=1, keepdim=True) + rounds_up).div(2, rounding_mode="floor")
    padded = torch.cat([chosen, torch.zeros_like(chosen[:, :1])], dim=1)
    return padded.gather(1, flat).view_as(classes)


def _paste(image: Tensor, targets: Targets, masks: Tensor) -> Mixed:
    order = _next(image)
    masks = masks & targets.counted[order]
    return Mixed(image.where(~masks.unsqueeze(1), image[order]), targets.pasted(masks, order))


def _next(image: Tensor) -> Tensor:
    return torch.arange(len(image), device=image.device).roll(-1)
