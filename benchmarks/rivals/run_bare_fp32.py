"""The network alone: fp32, as most people call it, on the scene's pixels in memory, in tiles without overlap."""

from functools import cache

import numpy as np
import rasterio
import torch
from case import Case, Counted, load

PACKAGE = "torch"


@cache
def tiles(case: Case) -> torch.Tensor:
    """The scene as tiles (N, C, T, T), mirrored beyond its right and lower edge."""
    with rasterio.open(case.scene) as scene:
        image = scene.read()
    rows, cols = (-(-side // case.tile) for side in image.shape[1:])
    beyond = rows * case.tile - image.shape[1], cols * case.tile - image.shape[2]
    padded = np.pad(image, ((0, 0), (0, beyond[0]), (0, beyond[1])), mode="reflect").astype(np.float32) / 255
    split = padded.reshape(3, rows, case.tile, cols, case.tile).transpose(1, 3, 0, 2, 4)
    return torch.from_numpy(split.reshape(-1, 3, case.tile, case.tile))


setup = tiles


def forward(case: Case, layout: torch.memory_format, arithmetic: torch.dtype) -> None:
    """Forward all tiles, batch by batch, and keep nothing."""
    network = Counted(load(case)).to(memory_format=layout)
    with torch.inference_mode(), torch.autocast("cpu", arithmetic, enabled=arithmetic != torch.float32):
        for batch in tiles(case).split(case.batch_size):
            network(batch.contiguous(memory_format=layout))


def predict(case: Case) -> None:
    """Forward the scene."""
    forward(case, torch.contiguous_format, torch.float32)
