"""Labelled tiles -> what a training loop eats.

In: a CSV that pairs image and label rasters. Out: torch data sets of (image, labels): random windows to train on, whole
tiles to score. Neighbouring tiles are joined first, so that windows cross their borders. All tiles are held in memory:
one value per band plus one byte per pixel.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from geoseg.errors import LabelError
from geoseg.labels import grid_of, read_labels
from geoseg.mosaic import Ground, fill_empty, valid_pixels
from geoseg.spec import IGNORE, ClassSpec, DataSpec, NormalizationSpec, TrainSpec

COLUMNS = ("image", "label", "split")
SPLITS = ("train", "val")
CELL_PX = 32
"""Side of the cells in which classes are counted, to find windows of a class without storing every pixel's place."""


@dataclass(frozen=True)
class Row:
    """One line of the CSV."""

    image: Path
    """Image raster."""
    label: Path
    """Label raster, on the image's grid."""
    split: str
    """train or val."""


def read_rows(path: Path) -> list[Row]:
    """Read the CSV of labelled tiles.

    Raises:
        LabelError: if it cannot be read, lacks a column, or one of the splits is empty.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            table = csv.DictReader(lines)
            _check_columns(table.fieldnames or (), path)
            rows = [_row(line, path, number) for number, line in enumerate(table, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LabelError(f"cannot read the list of tiles {path}: {reason}: check data.tiles, or give --data") from None
    for split in SPLITS:
        if not any(row.split == split for row in rows):
            raise LabelError(f"{path} has no tile with split {split}: write {split} in that column for some tiles")
    return rows


def read_ground(row: Row, data: DataSpec, classes: Sequence[ClassSpec]) -> Ground:
    """Read one labelled tile.

    Raises:
        LabelError: if image or labels cannot be read or do not match each other, the bands, or the classes.
    """
    try:
        with rasterio.open(row.image) as dataset:
            indexes = _band_indexes(dataset, data, row.image)
            grid, nodata, image = grid_of(dataset), dataset.nodata, dataset.read(indexes)
    except rasterio.RasterioIOError as error:
        raise LabelError(f"cannot read image {row.image}: {error}") from None
    labels = read_labels(row.label, grid, classes, image=row.image)
    labels[~valid_pixels(image, nodata)] = IGNORE
    return Ground(image, labels, grid, nodata)


@dataclass(frozen=True)
class TrainingGround:
    """All ground of a run, in memory."""

    train: list[Ground]
    """Ground to learn from."""
    val: list[Ground]
    """Ground to score on."""
    normalization: NormalizationSpec
    """Statistics of the training ground."""


def read_training_ground(spec: TrainSpec) -> TrainingGround:
    """Read and check all labelled tiles.

    Raises:
        LabelError: if a tile cannot be used, or a class never occurs in the training tiles.
    """
    rows = read_rows(spec.data.tiles)
    train, val = (_read_split(rows, split, spec) for split in ("train", "val"))
    _check_classes(train, spec)
    normalization = statistics(train)
    train, val = ([fill_empty(ground, normalization.mean) for ground in part] for part in (train, val))
    return TrainingGround(train, val, normalization)


def statistics(grounds: Iterable[Ground]) -> NormalizationSpec:
    """Mean and standard deviation per band over all labelled pixels; a flat band gets 1.

    Raises:
        LabelError: if no pixel is labelled.
    """
    count, total, squares = 0, 0.0, 0.0
    for ground in grounds:
        values = ground.image[:, ground.labels != IGNORE].astype(np.float64)
        count += values.shape[1]
        total, squares = total + values.sum(axis=1), squares + (values**2).sum(axis=1)
    if not count:
        raise LabelError("no training pixel is labelled: label values 255 and nodata do not count")
    mean = np.asarray(total) / count
    std = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0))
    return NormalizationSpec(mean=_rounded(mean), std=_rounded(np.where(std > 0, std, 1.0)))


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Random windows of labelled ground: image (C, R, R) float32 and labels (R, R) int64.

    Window i of an epoch depends on the seed, the epoch and i alone, whatever the workers.
    """

    def __init__(
        self,
        grounds: Sequence[Ground],
        window: int,
        read_side: int,
        count: int,
        *,
        fill: Sequence[float],
        balance: float,
        seed: int,
    ):
        self.grounds = grounds
        self.window = window
        self.read_side = read_side
        self.count = count
        self.fill = fill
        self.balance = balance
        self.seed = seed
        self.epoch = 0
        self._cells, counts = _count_cells(grounds)
        self._by_area = np.cumsum(counts.sum(axis=1))
        self._by_class = [np.cumsum(column) for column in counts.T if column.any()]

    def __len__(self) -> int:
        """Windows per epoch."""
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw one window, and around it the ground that turning and scaling may bring in."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        which, *cell = self._draw_cell(rng)
        ground = self.grounds[which]
        # The cell lies anywhere in the window, so that the drawn class is not always in its middle.
        corner = [int(start - rng.integers(max(1, self.window - CELL_PX))) for start in cell]
        margin = (self.read_side - self.window) // 2
        row, column = (
            keep_inside(start, self.window, length) - margin
            for start, length in zip(corner, ground.labels.shape, strict=True)
        )
        image, labels = cut(ground, row, column, self.read_side, self.fill)
        return torch.from_numpy(image), torch.from_numpy(labels).long()

    def _draw_cell(self, rng: np.random.Generator) -> NDArray[np.int64]:
        sums = self._by_area
        if rng.random() < self.balance:
            sums = self._by_class[rng.integers(len(self._by_class))]
        cell: NDArray[np.int64] = self._cells[np.searchsorted(sums, rng.integers(sums[-1]), side="right")]
        return cell


class Tiles(Dataset[tuple[Tensor, Tensor]]):
    """Whole labelled tiles, padded to a multiple of `multiple` px: image (C, H, W) float32 and labels (H, W) int64."""

    def __init__(self, grounds: Sequence[Ground], multiple: int):
        self.grounds = grounds
        self.multiple = multiple

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.grounds)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Give one tile; the padding mirrors the image and is IGNOREd in the labels."""
        ground = self.grounds[index]
        missing = [-side % self.multiple for side in ground.labels.shape]
        margins = [(0, size) for size in missing]
        image = np.pad(ground.image.astype(np.float32), [(0, 0), *margins], mode="symmetric")
        labels = np.pad(ground.labels, margins, constant_values=IGNORE)
        return torch.from_numpy(image), torch.from_numpy(labels).long()

    def uniform(self) -> bool:
        """Whether all tiles have one size, so that they fit into one batch."""
        return len({ground.labels.shape for ground in self.grounds}) == 1


def keep_inside(start: int, side: int, length: int) -> int:
    """Shift a window along one axis so that it wastes no pixel, or shows all of a ground shorter than itself."""
    return min(max(start, min(0, length - side)), max(0, length - side))


def cut(
    ground: Ground, row: int, column: int, side: int, fill: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut a square that may reach beyond the ground: image (C, S, S) and labels (S, S).

    What lies outside is `fill` per band and IGNORE, as pixels without data are when the model predicts.
    """
    height, width = ground.labels.shape
    image = np.empty((len(fill), side, side), np.float32)
    image[:] = np.reshape(fill, (-1, 1, 1))
    labels = np.full((side, side), IGNORE, np.uint8)
    top, bottom, left, right = max(row, 0), min(row + side, height), max(column, 0), min(column + side, width)
    if top < bottom and left < right:
        inside = np.s_[top - row : bottom - row, left - column : right - column]
        labels[inside] = ground.labels[top:bottom, left:right]
        image[(slice(None), *inside)] = ground.image[:, top:bottom, left:right]
    return image, labels


def _read_split(rows: Sequence[Row], split: str, spec: TrainSpec) -> list[Ground]:
    return [read_ground(row, spec.data, spec.classes) for row in rows if row.split == split]


def _check_classes(grounds: Sequence[Ground], spec: TrainSpec) -> None:
    seen = {int(index) for ground in grounds for index in np.unique(ground.labels)}
    missing = [f"{c.id} {c.name}" for index, c in enumerate(spec.classes) if index not in seen]
    if missing:
        raise LabelError(
            f"{spec.data.tiles}: no training tile shows class {', '.join(missing)}: "
            "put a tile that does into the train split, or take the class out of `classes`"
        )


def _row(line: dict[str, str | None], path: Path, number: int) -> Row:
    image, label, split = (line[column] for column in COLUMNS)
    if not image or not label or not split:
        raise LabelError(f"{path}, line {number}: a cell is empty: give {', '.join(COLUMNS)} of every tile")
    return Row(path.parent / image, path.parent / label, split)


def _check_columns(found: Sequence[str], path: Path) -> None:
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        raise LabelError(
            f"{path} has no column {', '.join(missing)}: its first line must name the columns {', '.join(COLUMNS)}"
        )


def _band_indexes(dataset: rasterio.DatasetReader, data: DataSpec, path: Path) -> list[int]:
    indexes = list(data.band_indexes or range(1, len(data.bands) + 1))
    if max(indexes) > dataset.count:
        raise LabelError(
            f"{path} has {dataset.count} bands, band {max(indexes)} is wanted for {', '.join(data.bands)}: "
            "correct data.bands or data.band_indexes"
        )
    if dataset.dtypes[0] != data.dtype:
        raise LabelError(f"{path} holds {dataset.dtypes[0]}, not {data.dtype}: correct data.dtype")
    return indexes


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _count_cells(grounds: Sequence[Ground]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells (N, 3): ground, row, column in px; and their labelled pixels per class (N, classes)."""
    cells, counts = [], []
    for which, ground in enumerate(grounds):
        height, width = ground.labels.shape
        for row in range(0, height, CELL_PX):
            for column in range(0, width, CELL_PX):
                cells.append((which, row, column))
                part = ground.labels[row : row + CELL_PX, column : column + CELL_PX]
                counts.append(np.bincount(part.ravel(), minlength=IGNORE + 1)[:IGNORE])
    return np.array(cells, dtype=np.int64), np.array(counts, dtype=np.int64)
