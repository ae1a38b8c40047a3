"""TorchGeo: the loop that its users write around RasterDataset and GridGeoSampler; the windows' margins are cut off."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from case import NODATA, Case, Counted, load
from rasterio.windows import Window, from_bounds
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

PACKAGE = "torchgeo"


def predict(case: Case) -> Path:
    """Classify window by window, and write what lies within the margins."""
    network = Counted(load(case))
    dataset = RasterDataset(case.scene)
    sampler = GridGeoSampler(dataset, size=case.tile, stride=case.tile - case.overlap)
    loader = DataLoader(dataset, batch_size=case.batch_size, sampler=sampler, collate_fn=stack_samples)
    with rasterio.open(case.scene) as scene:
        profile = scene.profile | {"count": 1, "nodata": NODATA, "photometric": "minisblack"}
    with rasterio.open(case.output_file(), "w", **profile) as output, torch.inference_mode():
        for batch in loader:
            classes = network(batch["image"] / 255).argmax(1).numpy().astype(np.uint8)
            for ids, (x, y, _) in zip(classes, batch["bounds"], strict=True):
                window = from_bounds(x.start, y.start, x.stop, y.stop, output.transform)
                write_inner(output, ids, round(window.row_off), round(window.col_off), case.overlap // 2)
    return case.output_file()


def write_inner(output: rasterio.DatasetBase, ids: np.ndarray, row: int, col: int, margin: int) -> None:
    """Write a window without its margins, except along the scene's edges."""
    rows = inner(row, ids.shape[0], output.height, margin)
    cols = inner(col, ids.shape[1], output.width, margin)
    part = ids[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]
    output.write(part, 1, window=Window.from_slices(rows, cols))


def inner(start: int, length: int, end: int, margin: int) -> slice:
    """The pixels along one axis that a window answers for."""
    first = 0 if start <= 0 else start + margin
    last = end if start + length >= end else start + length - margin
    return slice(first, last)
