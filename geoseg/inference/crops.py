"""Crops of a scene, described in numbers while it is classified, to compare it with the training imagery of its model.

In: the windows of a tile row, as they are forwarded. Out: statistics of a crop of most windows, or of fewer: at most
about a thirtieth of the pixels are forwarded once more, by the first stages of the encoder. Which crops are taken
depends on the tile row alone, so that they are the same in all processes and after a run is resumed. No pixel is read
for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.geo.grid import Grid, Window
from geoseg.inference.batches import Batch, Sample
from geoseg.inference.crop_statistics import CropStatistics
from geoseg.inference.decide import to_host
from geoseg.inference.job import Job
from geoseg.raster.curves import Floats
from geoseg.raster.imagery import CROP_PX, describe_bands, rank_counts
from geoseg.raster.validity import Mask, Values
from geoseg.spec import ImagerySpec

_SHARE = 32
"""Pixels of windows for each pixel of their crops, at least."""
_MOST_WINDOWS = 256
"""Windows of a scene of which crops are taken, about; more where it has more tile rows."""
_FEW_WINDOWS, _CROPS = 4, 4
"""Windows of a grid up to which several crops are taken of each, and how many."""


@dataclass(frozen=True)
class DescribedCrops:
    """Crops of a batch, whose features are being copied from the device."""

    bands: Floats
    """Mean and standard deviation of each band (N, 2C)."""
    features: Tensor
    """Features of the network (N, F), on the host."""
    ranks: NDArray[np.int64]
    """How many pixels have each rank (C, P)."""

    @property
    def statistics(self) -> CropStatistics:
        """The numbers, once the copy is complete."""
        return CropStatistics(self.bands, self.features.numpy(), self.ranks)


class CropSampler:
    """Takes crops from the batches of one tile row after the other."""

    def __init__(self, job: Job):
        """Take crops for a job; none for a model that does not know its training imagery.

        Their features are those of the network as it learnt, adapted or not: the bundle holds its own.
        """
        self._runner, self._imagery = job.learnt or job.runner, job.model.spec.imagery
        self._every, self._most = _every(job.grid), most_crops(job.grid)
        self._offers = 0

    def take(self, batch: Batch) -> DescribedCrops | None:
        """Describe the crops of a batch; None if there are none."""
        if self._imagery is None:
            return None
        taken = [crop for sample in batch.samples for crop in self._of_sample(sample)]
        return self._described(taken, self._imagery) if taken else None

    def end_tile_row(self) -> None:
        """Begin anew with the next tile row."""
        self._offers = 0

    def _of_sample(self, sample: Sample) -> list[tuple[Values, Mask]]:
        windows = spread_crops(sample, self._most)
        if not windows:
            return []
        self._offers += 1
        if (self._offers - 1) % self._every:
            return []
        return [(sample.image[:, *window.slices], sample.valid[window.slices]) for window in windows]

    def _described(self, taken: list[tuple[Values, Mask]], imagery: ImagerySpec) -> DescribedCrops:
        alike = [list(group) for _, group in groupby(taken, key=lambda crop: crop[1].shape)]
        features = [
            self._runner.features(np.stack([image for image, _ in group]), np.stack([valid for _, valid in group]))
            for group in alike
        ]
        return DescribedCrops(
            np.stack([describe_bands(image, valid) for image, valid in taken]),
            to_host(torch.cat(features)),
            np.sum([rank_counts(image, valid, imagery.values) for image, valid in taken], axis=0),
        )


def most_crops(grid: Grid) -> int:
    """Crops that are taken of a window."""
    share = round(grid.rows.size * grid.cols.size / (_SHARE * CROP_PX**2))
    return max(share, _CROPS if len(grid) <= _FEW_WINDOWS else 1)


def _every(grid: Grid) -> int:
    """Of how many windows of a tile row crops of one are taken."""
    side = max(1, min(grid.rows.size, grid.cols.size))
    share = _SHARE * min(CROP_PX, side) ** 2 / side**2
    return max(1, round(share), len(grid) // _MOST_WINDOWS)


def spread_crops(sample: Sample, most: int) -> list[Window]:
    """Crops of a window's core, relative to the window's corner: some that hold much data, evenly spread."""
    window, core, valid = sample.place.window, sample.place.core, sample.valid
    inner = core.shift(-window.row, -window.col)
    height, width = (min(CROP_PX, side) for side in valid.shape)
    crops = [
        Window(row, col, height, width)
        for row in _starts(inner.row, inner.height, valid.shape[0])
        for col in _starts(inner.col, inner.width, valid.shape[1])
    ]
    held = [crop for crop in crops if 2 * np.count_nonzero(valid[crop.slices]) >= crop.pixels]
    count = min(most, len(held))
    return [held[(2 * i + 1) * len(held) // (2 * count)] for i in range(count)]


def _starts(first: int, length: int, side: int) -> list[int]:
    """First pixels of the crops along an axis of a window, each in the middle of a part of the core."""
    crop, count = min(CROP_PX, side), max(1, length // CROP_PX)
    return [min(max(0, first + (2 * i + 1) * length // (2 * count) - crop // 2), side - crop) for i in range(count)]
