"""TerraTorch: tiled_inference, which takes the whole scene as a tensor and pads it by reflection."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from case import Case, Counted, load, write_classes
from terratorch.tasks.tiled_inference import tiled_inference

PACKAGE = "terratorch"


def predict(case: Case) -> Path:
    """Read, predict, and write: TerraTorch's part is the middle."""
    with rasterio.open(case.scene) as scene:
        image = torch.from_numpy(scene.read()).float()[None] / 255
    with torch.inference_mode():
        scores = tiled_inference(
            Counted(load(case)), image, crop=case.tile, stride=case.tile - case.overlap, delta=8,
            batch_size=case.batch_size, average_patches=True, blend_overlaps=True, padding="reflect",
        )  # fmt: skip
    return write_classes(case, scores.argmax(1)[0].numpy().astype(np.uint8))
