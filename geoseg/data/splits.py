"""Which ground is learnt from and which is kept for scoring, so that the scores tell of ground never seen.

In: the grids of labelled images and the census of each. Out: windows of each image. Reads nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.class_statistics import Census, cells_around, cells_within
from geoseg.data.listing import LabelledImage
from geoseg.geo.crs import plane_number
from geoseg.geo.georef import Box, PixelGrid, grow, move_box
from geoseg.geo.grid import Window
from geoseg.spec import SplitSpec

DRAWS = 200
"""Random draws of blocks or images, of which the one is taken whose classes are shared most evenly."""


@dataclass(frozen=True)
class Survey:
    """What is known of a labelled image before it is split."""

    entry: LabelledImage
    """Its files."""
    grid: PixelGrid
    """Where its pixels lie."""
    census: Census
    """What its labels show."""

    @property
    def everything(self) -> Window:
        """All of the image."""
        return Window(0, 0, self.grid.height, self.grid.width)

    @cached_property
    def file(self) -> Path:
        """The image's file, whatever way leads there."""
        return self.entry.image.resolve()


@dataclass(frozen=True)
class Share:
    """How an image is split; all windows are of whole cells, up to the image's edge."""

    train: tuple[Window, ...]
    """Ground to learn from."""
    val: tuple[Window, ...]
    """Ground to score on."""
    closed: tuple[Window, ...]
    """Validation ground, in this or another image, and the guard band around it: not learnt from."""


@dataclass(frozen=True)
class _Unit:
    """What goes to one side as a whole: an image, or all that images show of one block of ground."""

    parts: list[tuple[int, Window]]
    """Number of the image, and which of its pixels."""
    counts: NDArray[np.int64]
    """Labelled pixels per class (K)."""


SIDES = ("train", "val")
"""Words that say which side given ground is on."""
Sides = list[list[Window]]
"""Windows of each image."""


def how_to_split(surveys: Sequence[Survey], spec: SplitSpec) -> str:
    """What `auto` means here; else the setting itself.

    Raises:
        SpecError: if splits should be given but are not.
    """
    given = [survey.entry.split is not None for survey in surveys]
    if spec.by == "auto" and not any(given):
        return "blocks"
    if spec.by in ("auto", "column") and not all(given):
        without = surveys[given.index(False)].entry.image
        raise SpecError(
            f"data.split.by = {spec.by!r}, but {without} has no split: give train or val in column {spec.column}, "
            "or let geoseg split: set data.split.by to blocks or scene"
        )
    return "column" if spec.by == "auto" else spec.by


def split_ground(
    surveys: Sequence[Survey], spec: SplitSpec, guard_px: int, needed: Sequence[str] = SIDES
) -> list[Share]:
    """Split labelled images, and close the ground around validation ground to training.

    Args:
        surveys: the images.
        spec: how to split them.
        guard_px: width of the guard band, in the pixels of the image that learns.
        needed: sides that must not be empty.

    Raises:
        LabelError: if one side is left without labelled ground.
        SpecError: if splits should be given but are not.
    """
    by = how_to_split(surveys, spec)
    if by == "column":
        train, val = (_given(surveys, side, side in needed) for side in SIDES)
        _refuse_twins(surveys)
    else:
        units = _blocks(surveys, spec.block_px) if by == "blocks" else _images(surveys)
        train, val = _drawn(units, len(surveys), spec, by)
    closed: Sides = [[] for _ in surveys] if by == "random" else _guard(surveys, train, val, guard_px)
    return [Share(*map(tuple, parts)) for parts in zip(train, val, closed, strict=True)]


def _given(surveys: Sequence[Survey], side: str, is_needed: bool) -> Sides:
    if is_needed and not any(survey.entry.split == side and survey.census.counts.any() for survey in surveys):
        raise LabelError(
            f"no labelled image has split {side}: write {side} in that column for some tiles, or let geoseg split "
            "(data.split.by: blocks or scene)"
        )
    return [[survey.everything] if survey.entry.split == side else [] for survey in surveys]


def _refuse_twins(surveys: Sequence[Survey]) -> None:
    """Refuse to learn from and score on one image; where images say where they lie, the guard band sees to that."""
    split_of: dict[Path, str | None] = {}
    for survey in surveys:
        if split_of.setdefault(survey.file, survey.entry.split) != survey.entry.split and not survey.grid.is_placed:
            raise LabelError(f"{survey.entry.image} is given for train and for val: give it for one of them")


def _images(surveys: Sequence[Survey]) -> list[_Unit]:
    units: dict[Path, _Unit] = {}
    for index, survey in enumerate(surveys):
        if survey.census.counts.any():
            counts = survey.census.class_counts
            unit = units.setdefault(survey.file, _Unit([], np.zeros_like(counts)))
            unit.parts.append((index, survey.everything))
            unit.counts[:] += counts
    return list(units.values())


def _blocks(surveys: Sequence[Survey], block_px: int) -> list[_Unit]:
    """All that images show of each block of ground; blocks lie on one lattice per CRS and pixel size."""
    units: dict[Any, _Unit] = {}
    planes: list[Any] = []
    for index, survey in enumerate(surveys):
        lattice, origin = _lattice(survey, planes)
        blocks = (survey.census.centres + origin) // block_px
        keys, members = np.unique(blocks, axis=0, return_inverse=True)
        counts = np.zeros((len(keys), survey.census.counts.shape[1]), np.int64)
        np.add.at(counts, members.ravel(), survey.census.counts)
        for (i, j), (row, col), found in zip(keys.tolist(), (keys * block_px - origin).tolist(), counts, strict=True):
            window = cells_within(Window(row, col, block_px, block_px)).clip(survey.grid.height, survey.grid.width)
            unit = units.setdefault((lattice, i, j), _Unit([], np.zeros_like(found)))
            unit.parts.append((index, window))
            unit.counts[:] += found
    return list(units.values())


def _lattice(survey: Survey, planes: list[Any]) -> tuple[Any, NDArray[np.int64]]:
    """Name of the lattice of blocks that an image lies on, and row and column of the image's corner on it."""
    grid, t = survey.grid, survey.grid.transform
    if not (grid.is_placed and grid.is_upright):
        return survey.file, np.zeros(2, np.int64)
    corner = np.array([round(t.f / t.e), round(t.c / t.a)], np.int64)
    return (plane_number(grid.crs, planes), f"{t.a:.9g}", f"{t.e:.9g}"), corner


def _drawn(units: list[_Unit], images: int, spec: SplitSpec, by: str) -> tuple[Sides, Sides]:
    if len(units) < 2:
        what, remedy = "images", "split by blocks (data.split.by), or "
        if by == "blocks":
            what, remedy = f"blocks of {spec.block_px} px", "lower data.split.block_px, or "
        raise LabelError(f"{len(units)} of the {what} has labels, which cannot be split: {remedy}label more ground")
    chosen = _most_even(np.stack([unit.counts for unit in units]), spec)
    sides: tuple[Sides, Sides] = [[] for _ in range(images)], [[] for _ in range(images)]
    for unit, is_val in zip(units, chosen, strict=True):
        for index, window in unit.parts:
            sides[is_val][index].append(window)
    return sides


def _most_even(counts: NDArray[np.int64], spec: SplitSpec) -> NDArray[np.int64]:
    """Which units (N) are kept for scoring: of many draws that with the most even shares of the classes (N, K)."""
    rng = np.random.default_rng(spec.seed)
    draws = [_draw(counts.sum(axis=1), spec.val_share, rng) for _ in range(DRAWS)]
    total = np.maximum(counts.sum(axis=0), 1)
    present = counts.any(axis=0)
    shares = np.stack([counts[draw == 1].sum(axis=0) / total for draw in draws])[:, present]
    best = int(np.argmin(np.abs(shares - spec.val_share).max(axis=1)))
    return draws[best]


def _draw(areas: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Take units in random order until their area reaches a share; at least one, and never all."""
    order = rng.permutation(len(areas))
    before = np.cumsum(areas[order]) - areas[order] / 2
    count = min(max(1, int((before < share * areas.sum()).sum())), len(areas) - 1)
    chosen = np.zeros(len(areas), np.int64)
    chosen[order[:count]] = 1
    return chosen


def _guard(surveys: Sequence[Survey], train: Sides, val: Sides, guard_px: int) -> Sides:
    """Per image that learns: validation ground in its pixels, grown by the guard band."""
    of_file: dict[Path, list[Window]] = defaultdict(list)
    for survey, windows in zip(surveys, val, strict=True):
        of_file[survey.file] += windows
    found = [list(of_file[survey.file]) for survey in surveys]
    planes: list[Any] = []
    numbers = [plane_number(s.grid.crs, planes) if s.grid.is_placed else -1 for s in surveys]
    for number, crs in enumerate(planes):
        images = [i for i, plane in enumerate(numbers) if train[i] and plane == number]
        owners, boxes = _boxes_in(surveys, val, crs)
        for image, box in _near(surveys, images, boxes, guard_px):
            if owners[box] != surveys[image].file:
                found[image].append(surveys[image].grid.window_of(boxes[box]))
    sizes = [(survey.grid.height, survey.grid.width) for survey in surveys]
    closed = [[cells_around(grow(w, guard_px)).clip(*size) for w in ws] for ws, size in zip(found, sizes, strict=True)]
    return [[window for window in windows if window.pixels] for windows in closed]


def _boxes_in(surveys: Sequence[Survey], val: Sides, crs: Any) -> tuple[list[Path], list[Box]]:
    """Boxes of all validation ground that has a place in a CRS, and the file of the image that each belongs to."""
    owners, boxes = [], []
    for survey, windows in zip(surveys, val, strict=True):
        for window in windows if survey.grid.is_placed else ():
            box = move_box(survey.grid.box(window), survey.grid.crs, crs)
            if box is not None:
                owners.append(survey.file)
                boxes.append(box)
    return owners, boxes


def _near(
    surveys: Sequence[Survey], images: Sequence[int], boxes: Sequence[Box], guard_px: int
) -> list[tuple[int, int]]:
    """Pairs of an image and a box that lie no farther apart than the guard band."""
    if not boxes or not images:
        return []
    grown = [surveys[i].grid.box(grow(surveys[i].everything, guard_px + 1)) for i in images]
    boxes_at, grown_at = (shapely.box(*np.array(corners).T) for corners in (boxes, grown))
    found = shapely.STRtree(boxes_at).query(grown_at, predicate="intersects")
    return [(images[a], b) for a, b in found.T.tolist()]
