"""Split of labelled rasters into training, validation and test pixels, with a guard band around the latter two.

In: the grid and the class statistics of each raster. Out: windows of each raster. Reads nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SpecError
from geoseg.core.wording import number_of
from geoseg.data.class_statistics import ClassStatistics, cells_around, cells_within
from geoseg.data.clusters import PlacedImage, number_clusters
from geoseg.data.draws import TEST as DRAWN_TEST
from geoseg.data.draws import TRAIN, VAL, draw_sides
from geoseg.data.listing import CHOOSING, TEST, ListedRaster
from geoseg.geo.crs import crs_number
from geoseg.geo.georef import Box, PixelGrid, grow, reproject_box
from geoseg.geo.grid import Window
from geoseg.spec import SplitSpec


class PlacedRaster(Protocol):
    """A raster whose place is known."""

    @property
    def grid(self) -> PixelGrid:
        """Its grid."""
        ...

    @property
    def everything(self) -> Window:
        """The window of the whole raster."""
        ...

    @property
    def file(self) -> Path:
        """Path of its image, without symbolic links."""
        ...


@dataclass(frozen=True)
class CountedRaster:
    """A labelled raster with its class statistics, before it is split."""

    entry: ListedRaster
    """Files of the raster."""
    grid: PixelGrid
    """Grid of the raster."""
    statistics: ClassStatistics
    """Class statistics of the raster."""

    @property
    def everything(self) -> Window:
        """The window of the whole raster."""
        return Window(0, 0, self.grid.height, self.grid.width)

    @cached_property
    def file(self) -> Path:
        """Path of the image, without symbolic links."""
        return self.entry.image.resolve()


@dataclass(frozen=True)
class RasterSplit:
    """Windows of a raster on each side of the split, made of whole cells up to the raster's edge."""

    train: tuple[Window, ...]
    """Training windows."""
    val: tuple[Window, ...]
    """Validation windows."""
    closed: tuple[Window, ...]
    """Validation and test windows of this or another raster with their guard band, where nothing is learnt."""
    test: tuple[Window, ...] = ()
    """Test windows."""
    tested: tuple[Window, ...] = ()
    """Test windows of this or another raster, where nothing is validated."""


@dataclass(frozen=True)
class _Unit:
    """What goes to one side of the split as a whole: a raster, or the parts of all rasters in one fold block."""

    parts: list[tuple[int, Window]]
    """Index of a raster, and a window of it."""
    counts: NDArray[np.int64]
    """Labelled pixels per class (K,)."""


Sides = list[list[Window]]
"""Windows of each raster on one side of the split."""


def how_to_split(rasters: Sequence[CountedRaster], spec: SplitSpec) -> str:
    """The setting `by`, with `auto` resolved: column if rasters have a split given, else blocks.

    Test rasters do not count: they are the test side in any case.

    Raises:
        SpecError: if only some rasters have one, or not all of them although `by` is column.
    """
    others = [raster for raster in rasters if raster.entry.split != TEST]
    given = [raster.entry.split is not None for raster in others]
    if spec.by == "auto" and not any(given):
        return "blocks"
    if spec.by in ("auto", "column") and not all(given):
        without = others[given.index(False)].entry.image
        raise SpecError(
            f"data.split.by = {spec.by!r}, but {without} has no split: give train or val in column {spec.column}, "
            "or let geoseg split: set data.split.by to blocks or scene"
        )
    return "column" if spec.by == "auto" else spec.by


def split_rasters(
    rasters: Sequence[CountedRaster], spec: SplitSpec, guard_px: int, needed: Sequence[str] = CHOOSING
) -> list[RasterSplit]:
    """Split labelled rasters, with a guard band around validation and test windows.

    Rasters that are given as test are the test side, however the others are split.

    Args:
        rasters: the labelled rasters.
        spec: how to split them.
        guard_px: width of the guard band, in pixels of the training image.
        needed: sides that must have labelled pixels.

    Raises:
        LabelError: if one side is left without labelled pixels.
        SpecError: as `how_to_split`.
    """
    by = how_to_split(rasters, spec)
    check_given_test(rasters, spec, by)
    sides = _split_by(by, rasters, spec, needed)
    if TEST in needed and not _has_labels(rasters, sides[TEST]):
        raise LabelError(_why_no_test(rasters, spec))
    scored = [[*val, *test] for val, test in zip(sides["val"], sides[TEST], strict=True)]
    if by == "random":  # without a guard band, but around images that are given as test
        scored = given_test(rasters)
    closed = guard(rasters, sides["train"], scored, guard_px)
    tested = guard(rasters, sides["val"], sides[TEST], 0)
    parts = zip(sides["train"], sides["val"], closed, sides[TEST], tested, strict=True)
    return [RasterSplit(*map(tuple, each)) for each in parts]


def _why_no_test(rasters: Sequence[CountedRaster], spec: SplitSpec) -> str:
    """The error text for a test side without a labelled pixel."""
    if given := sum(raster.entry.split == TEST for raster in rasters):
        return f"no pixel is labelled in {number_of(given, 'image')} given as {TEST}: label some, or take other images"
    return (
        f"no labelled image is for the test: write {TEST} in column {spec.column} for some, or set "
        "data.split.test_share"
    )


def _split_by(by: str, rasters: Sequence[CountedRaster], spec: SplitSpec, needed: Sequence[str]) -> dict[str, Sides]:
    """The windows of each raster on each side."""
    given = given_test(rasters)
    if by == "none":
        _refuse_torn_groups(rasters)
        train: Sides = [[] if raster.entry.split == TEST else [raster.everything] for raster in rasters]
        return {"train": train, "val": [[] for _ in rasters], TEST: given}
    if by == "column":
        found = {side: _given(rasters, side, side in needed) for side in CHOOSING}
        _refuse_twins(rasters)
        return found | {TEST: given}
    others = [raster for raster in rasters if raster.entry.split != TEST]
    if not others:  # to score the test side, no other need be there
        return {"train": [[] for _ in rasters], "val": [[] for _ in rasters], TEST: given}
    units = _blocks(rasters, spec.block_px) if by == "blocks" else _images(rasters, spec, by)
    found = _drawn(units, len(rasters), spec, by)
    return found | {TEST: [[*drawn, *whole] for drawn, whole in zip(found[TEST], given, strict=True)]}


def given_test(rasters: Sequence[CountedRaster]) -> Sides:
    """The windows of rasters that are given as test."""
    return [[raster.everything] if raster.entry.split == TEST else [] for raster in rasters]


def check_given_test(rasters: Sequence[CountedRaster], spec: SplitSpec, by: str) -> None:
    """Refuse a share of the test side where it is given, or where nothing is drawn."""
    given = sum(raster.entry.split == TEST for raster in rasters)
    if spec.test_share and (given or by == "column"):
        images = number_of(given, "image")
        what = f"{images} given as {TEST}" if given else f"a split given in column {spec.column}"
        raise SpecError(f"data.split.test_share = {spec.test_share:g}, but there is {what}: leave out one of both")
    if by == "column" and not spec.validates and spec.by == "auto":
        raise SpecError("data.split.val_share is 0, but the split is given: say data.split.by: column, or none")


def _has_labels(rasters: Sequence[CountedRaster], windows: Sides) -> bool:
    return any(bool(raster.statistics.inside(own).any()) for raster, own in zip(rasters, windows, strict=True))


def _given(rasters: Sequence[CountedRaster], side: str, is_needed: bool) -> Sides:
    own = [raster.statistics for raster in rasters if raster.entry.split == side]
    has_labels = any(one.counts.any() or (side == "train" and one.partial.any()) for one in own)
    if is_needed and not has_labels:
        raise LabelError(
            f"no labelled image has split {side}: write {side} in that column for some tiles, or let geoseg split "
            "(data.split.by: blocks or scene)"
        )
    return [[raster.everything] if raster.entry.split == side else [] for raster in rasters]


def _refuse_twins(rasters: Sequence[CountedRaster]) -> None:
    """Refuse an image on both sides of a given split; the guard band separates georeferenced ones."""
    split_of: dict[Path, str | None] = {}
    for raster in rasters:
        first = split_of.setdefault(raster.file, raster.entry.split)
        if first != raster.entry.split and not raster.grid.is_georeferenced:
            sides = " and for ".join(sorted({str(first), str(raster.entry.split)}, key=("train", "val", TEST).index))
            raise LabelError(f"{raster.entry.image} is given for {sides}: give it for one of them")


def _to_draw(rasters: Sequence[CountedRaster]) -> list[tuple[int, CountedRaster]]:
    """The rasters whose side is drawn, with their indexes."""
    return [(index, raster) for index, raster in enumerate(rasters) if raster.entry.split != TEST]


def _images(rasters: Sequence[CountedRaster], spec: SplitSpec, by: str) -> list[_Unit]:
    """Images, or groups of images, or clusters; rows of one image file belong together in any case.

    Raises:
        LabelError: if a group or a cluster has images that are given as test, and others.
    """
    _refuse_torn_groups(rasters)
    if by == "clusters":
        _refuse_torn_clusters(rasters, spec.cluster_gap_m)
    labelled = _labelled(rasters)
    numbers = _cluster([raster for _, raster in labelled], spec.cluster_gap_m if by == "clusters" else None)
    units: dict[int, _Unit] = {}
    for (index, raster), number in zip(labelled, numbers.tolist(), strict=True):
        counts = raster.statistics.class_counts
        unit = units.setdefault(number, _Unit([], np.zeros_like(counts)))
        unit.parts.append((index, raster.everything))
        unit.counts[:] += counts
    return list(units.values())


def _labelled(rasters: Sequence[CountedRaster]) -> list[tuple[int, CountedRaster]]:
    """The rasters with labels whose side is not given as test, with their indexes."""
    return [(index, raster) for index, raster in _to_draw(rasters) if len(raster.statistics.cells)]


def _cluster(rasters: Sequence[CountedRaster], gap_m: float | None) -> NDArray[np.int64]:
    """The number of the cluster of each raster (N,)."""
    return number_clusters([PlacedImage(one.grid, _keys(one.file, one.entry.group)) for one in rasters], gap_m)


def _refuse_torn_groups(rasters: Sequence[CountedRaster]) -> None:
    """Refuse a group of which only some images are given as test."""
    tested = {raster.entry.group for raster in rasters if raster.entry.split == TEST} - {None}
    torn = next((raster.entry.group for _, raster in _labelled(rasters) if raster.entry.group in tested), None)
    if torn is not None:
        raise LabelError(
            f"group {torn} has images that are given as test, and others: give all of its images as {TEST}, or none"
        )


def _refuse_torn_clusters(rasters: Sequence[CountedRaster], gap_m: float) -> None:
    """Refuse a cluster of which only some images are given as test."""
    tested = [raster for raster in rasters if raster.entry.split == TEST]
    others = [raster for _, raster in _labelled(rasters)]
    if not tested:
        return
    numbers = _cluster([*tested, *others], gap_m).tolist()
    first = dict(zip(reversed(numbers[: len(tested)]), reversed(tested), strict=True))
    for raster, number in zip(others, numbers[len(tested) :], strict=True):
        if number in first:
            raise LabelError(
                f"{first[number].entry.image} is given as {TEST}, but {raster.entry.image} of its cluster is not: give "
                f"all images of a cluster as {TEST}, or none, or lower data.split.cluster_gap_m ({gap_m:g} m)"
            )


def _keys(file: Path, group: str | None) -> tuple[Hashable, ...]:
    """What an image shares with others of its cluster."""
    return (file,) if group is None else (file, group)


def _blocks(rasters: Sequence[CountedRaster], block_px: int) -> list[_Unit]:
    """The parts of all rasters in each fold block; there is one lattice of blocks per CRS and pixel size."""
    units: dict[Any, _Unit] = {}
    systems: list[Any] = []
    for index, raster in _to_draw(rasters):
        lattice, origin = _lattice(raster, systems)
        blocks = (raster.statistics.centres + origin) // block_px
        keys, members = np.unique(blocks, axis=0, return_inverse=True)
        counts = np.zeros((len(keys), raster.statistics.counts.shape[1]), np.int64)
        np.add.at(counts, members.ravel(), raster.statistics.counts)
        for (i, j), (row, col), found in zip(keys.tolist(), (keys * block_px - origin).tolist(), counts, strict=True):
            window = cells_within(Window(row, col, block_px, block_px)).clip(raster.grid.height, raster.grid.width)
            unit = units.setdefault((lattice, i, j), _Unit([], np.zeros_like(found)))
            unit.parts.append((index, window))
            unit.counts[:] += found
    return list(units.values())


def _lattice(raster: CountedRaster, systems: list[Any]) -> tuple[Any, NDArray[np.int64]]:
    """Key of the lattice of blocks of an image, and row and column of the image's corner on it (2,)."""
    grid, t = raster.grid, raster.grid.transform
    if not (grid.is_georeferenced and grid.is_upright):
        return raster.file, np.zeros(2, np.int64)
    corner = np.array([round(t.f / t.e), round(t.c / t.a)], np.int64)
    return (crs_number(grid.crs, systems), f"{t.a:.9g}", f"{t.e:.9g}"), corner


def _drawn(drawn: list[_Unit], images: int, spec: SplitSpec, by: str) -> dict[str, Sides]:
    """The windows of each raster on each side; what has no label but sets of classes can only be learnt from."""
    units = [unit for unit in drawn if unit.counts.any()]
    least = 2 + bool(spec.test_share and spec.validates)
    if len(units) < least:
        what, remedy = "images", "split by blocks (data.split.by), or "
        if by == "clusters":
            what, remedy = f"clusters, {spec.cluster_gap_m:g} m apart,", "lower data.split.cluster_gap_m, or "
        if by == "blocks":
            what, remedy = f"blocks of {spec.block_px} px", "lower data.split.block_px, or "
        raise LabelError(
            f"{len(units)} of the {what} has labels, which cannot be split into {least} sides: {remedy}label more"
        )
    chosen = draw_sides(np.stack([unit.counts for unit in units]), spec, is_stratified=False)
    sides: dict[str, Sides] = {side: [[] for _ in range(images)] for side in (*CHOOSING, TEST)}
    names = {TRAIN: "train", VAL: "val", DRAWN_TEST: TEST}
    of_all = [*zip(units, chosen.tolist(), strict=True), *((one, TRAIN) for one in drawn if not one.counts.any())]
    for unit, side in of_all:
        for index, window in unit.parts:
            sides[names[side]][index].append(window)
    return sides


def guard(rasters: Sequence[PlacedRaster], used: Sides, kept: Sides, guard_px: int) -> Sides:
    """For each raster the windows of another side that are closed in it, in its pixels, enlarged by the guard band.

    Args:
        rasters: the rasters.
        used: windows of each raster on the side in which they are closed.
        kept: windows of each raster on the other side.
        guard_px: width of the guard band, in pixels of the raster in which they are closed.
    """
    if not any(kept):
        return [[] for _ in rasters]
    of_file: dict[Path, list[Window]] = defaultdict(list)
    for raster, windows in zip(rasters, kept, strict=True):
        of_file[raster.file] += windows
    found = [list(of_file[raster.file]) for raster in rasters]
    systems: list[Any] = []
    numbers = [crs_number(s.grid.crs, systems) if s.grid.is_georeferenced else -1 for s in rasters]
    for number, crs in enumerate(systems):
        images = [i for i, system in enumerate(numbers) if used[i] and system == number]
        owners, boxes = _boxes_in(rasters, kept, crs)
        for image, box in _near(rasters, images, boxes, guard_px):
            if owners[box] != rasters[image].file:
                found[image].append(rasters[image].grid.window_of(boxes[box]))
    sizes = [(raster.grid.height, raster.grid.width) for raster in rasters]
    closed = [[cells_around(grow(w, guard_px)).clip(*size) for w in ws] for ws, size in zip(found, sizes, strict=True)]
    return [[window for window in windows if window.pixels] for windows in closed]


def _boxes_in(rasters: Sequence[PlacedRaster], kept: Sides, crs: Any) -> tuple[list[Path], list[Box]]:
    """Bounding boxes in a CRS of all windows that can be transformed to it, and the image file of each."""
    owners, boxes = [], []
    for raster, windows in zip(rasters, kept, strict=True):
        for window in windows if raster.grid.is_georeferenced else ():
            box = reproject_box(raster.grid.box(window), raster.grid.crs, crs)
            if box is not None:
                owners.append(raster.file)
                boxes.append(box)
    return owners, boxes


def _near(
    rasters: Sequence[PlacedRaster], images: Sequence[int], boxes: Sequence[Box], guard_px: int
) -> list[tuple[int, int]]:
    """Pairs of a raster's and a box's index that lie no farther apart than the guard band."""
    if not boxes or not images:
        return []
    grown = [rasters[i].grid.box(grow(rasters[i].everything, guard_px + 1)) for i in images]
    boxes_at, grown_at = (shapely.box(*np.array(corners).T) for corners in (boxes, grown))
    found = shapely.STRtree(boxes_at).query(grown_at, predicate="intersects")
    return [(images[a], b) for a, b in found.T.tolist()]
