"""Maps resampled within boxes. In: maps (B, F, h, w) and boxes (B, 4). Out: values (B, F, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def sample_boxes(maps: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Resample maps (B or 1, F, h, w) bilinearly to size[0] × size[1] pixels that fill boxes (B, 4); float32.

    Boxes are left, top, right and bottom as shares of the map. A map's pixel i covers [i, i + 1), so that nothing is
    shifted by half a pixel, whatever the sizes. Coordinates of 16 bits would be off by whole pixels.
    """
    maps, boxes = maps.float(), boxes.float()
    left, top, right, bottom = (part.view(-1, 1) for part in boxes.unbind(dim=1))
    rows, cols = ((torch.arange(n, device=boxes.device) + 0.5) / n for n in size)
    y = 2 * (top + (bottom - top) * rows) - 1  # (B, h)
    x = 2 * (left + (right - left) * cols) - 1  # (B, w)
    shape = len(boxes), len(rows), len(cols)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)
    maps = maps.expand(len(boxes), -1, -1, -1)
    sampled = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.contiguous(memory_format=torch.channels_last)  # as the local features are: twice as fast to fuse
