"""What a network says of a window, and of enlarged and mirrored parts of it, laid back onto the window and averaged.

In: a network and windows without labels. Out: targets, as of the windows alone.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from geoseg.models.segmentation import SegmentationNetwork
from geoseg.training.perturbations.targets import Targets


def draw_parts(count: int, smallest: float, generator: Generator) -> Tensor:
    """Draw affine matrices (B, 2, 3) from enlarged parts of windows to the windows, coordinates of both from -1 to 1.

    Args:
        count: B.
        smallest: least side of a part, as a share of the window's; none is larger than the window.
        generator: source of all randomness.
    """
    drawn = torch.rand(5, count, generator=generator, device=generator.device)
    sides = smallest + (1 - smallest) * drawn[0]
    cols, rows = (1 - sides) * (2 * drawn[1:3] - 1)
    across, down = sides * (1 - 2 * (drawn[3:] < 0.5).float())
    zero = torch.zeros_like(sides)
    return torch.stack([across, zero, cols, zero, down, rows], dim=1).view(-1, 2, 3)


def inverse(matrices: Tensor) -> Tensor:
    """Affine matrices (B, 2, 3) the other way round, of such without rotation."""
    scales, shifts = matrices[:, :, :2].diagonal(dim1=1, dim2=2), matrices[:, :, 2]
    return torch.cat([torch.diag_embed(1 / scales), (-shifts / scales).unsqueeze(2)], dim=2)


def resampled(maps: Tensor, matrices: Tensor, padding: str) -> Tensor:
    """Maps (B, C, h, w) where affine matrices (B, 2, 3) lead, bilinearly; `padding` is grid_sample's."""
    grid = functional.affine_grid(matrices.to(maps), list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode=padding, align_corners=False)


@torch.no_grad()
def averaged_parts(network: SegmentationNetwork, image: Tensor, whole: Targets, parts: list[Tensor]) -> Targets:
    """Means over the window and those parts that show a pixel, one part at a time.

    Args:
        network: in evaluation mode.
        image: band values (B, C, S, S).
        whole: what it says of the windows.
        parts: matrices (B, 2, 3) of a part of each window.
    """
    total, seen = whole.probabilities, torch.ones_like(whole.probabilities[:, :1])
    for matrices in parts:
        found = network(resampled(image, matrices, "border"))
        back = inverse(matrices)
        total = total + resampled(found.float().softmax(dim=1), back, "zeros")
        seen = seen + resampled(torch.ones_like(seen), back, "zeros")
    return Targets(total / seen, whole.counted)
