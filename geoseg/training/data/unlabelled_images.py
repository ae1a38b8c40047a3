"""Images without labels, from which training windows are drawn for methods that learn from them.

In: paths of images, and the split of the labelled rasters. Out: labelled rasters whose pixels are not labelled, without
data where the validation and test sides have labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError
from geoseg.core.events import Reporter, Stage
from geoseg.core.naming import shown_name
from geoseg.core.wording import number_of
from geoseg.data.areas import Rectangles
from geoseg.data.class_statistics import CELL_PX, count_own
from geoseg.data.consistency import NOTICED_SIZE_RATIO, ImageProperties
from geoseg.data.labelled_raster import FilePool, FileRaster, Files, LabelledRaster, read_into_memory
from geoseg.data.labels.uniform import NO_LABELS
from geoseg.data.listing import TEST
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.data.splits import Sides, guard
from geoseg.data.unseen_overlaps import count_unplaced
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import DataSpec, ScalingSpec, TrainSpec
from geoseg.training.data.image_files import inspect_images, open_image
from geoseg.training.data.split_parts import SMALLEST_GUARD_PX, KnownRasters, SplitParts
from geoseg.training.data.split_sides import SideParts, SplitSide, join_side
from geoseg.training.data.stored_statistics import fits_into_memory
from geoseg.training.methods.method import METHODS, UNLABELLED
from geoseg.training.windows.random_windows import LabelledCells

NO_IMAGES = SplitSide((), LabelledCells(np.zeros((0, 3), np.int64), np.zeros((0, 1), np.int64)), 0)
"""What there is where no image without labels is given."""


@dataclass(frozen=True)
class _Placed:
    """An image and its place."""

    image: Path
    """Path of the image, or the address of several files."""
    grid: PixelGrid
    """Its grid."""

    @property
    def everything(self) -> Window:
        """The window of the whole image."""
        return Window(0, 0, self.grid.height, self.grid.width)

    @cached_property
    def file(self) -> Path:
        """Its path without symbolic links."""
        return self.image.resolve()


@dataclass(frozen=True)
class _Scored:
    """Where the labelled rasters have validation and test labels."""

    rasters: Sequence[_Placed]
    """The labelled rasters."""
    windows: Sides
    """Of each raster: windows that hold validation or test labels."""
    guard_px: int
    """Width of the guard band around them."""

    def hidden(self, images: Sequence[_Placed]) -> Sides:
        """Windows of each image that hold such labels, by coordinates or as the file is the same."""
        both = [*self.rasters, *images]
        used = [*([] for _ in self.rasters), *([one.everything] for one in images)]
        return guard(both, used, [*self.windows, *([] for _ in images)], self.guard_px)[len(self.rasters) :]

    def owner(self, image: _Placed) -> _Placed | None:
        """The first labelled raster whose validation or test labels lie in an image."""
        singly = (_Scored([one], [own], self.guard_px) for one, own in zip(self.rasters, self.windows, strict=True))
        return next((one.rasters[0] for one in singly if one.hidden([image])[0]), None)


def read_unlabelled(
    images: Sequence[Path],
    known: KnownRasters,
    split: SplitParts,
    terms: ImageProperties,
    spec: TrainSpec,
    reporter: Reporter,
) -> SplitSide:
    """Open and check images without labels, and hide in them what the validation and test sides have labels of.

    Args:
        images: their paths; none gives a side without rasters.
        known: the labelled rasters.
        split: their sides.
        terms: what the labelled images have in common.
        spec: the settings.
        reporter: gets notices, and the pixels that have been read, as stage `reading`.

    Returns:
        A side whose cells count pixels that hold data and are not hidden, as those of one class.

    Raises:
        LabelError: if an image has other bands, values or pixels than the labelled ones, or no image has anything to
            learn from.
        SceneError: if one cannot be read.
    """
    if not images:
        return NO_IMAGES
    grids, own_terms = inspect_images(images, spec.data, terms.scaling, are_labelled=False)
    _check_terms(own_terms, terms, spec.data)
    for line in own_terms.notices(spec.data.resolution_m):
        reporter.notice(f"{spec.data.kind_without_labels}: {line}")
    placed = [_Placed(*pair) for pair in zip(images, grids, strict=True)]
    scored = _find_scored(known, split, spec)
    hidden = scored.hidden(placed)
    rasters = _open_all(placed, known.rasters, spec, terms.scaling)
    areas = [
        (Rectangles.of([one.everything]), Rectangles.of(closed)) for one, closed in zip(placed, hidden, strict=True)
    ]
    reading = Stage(reporter, "reading", sum(one.height * one.width for one in rasters))
    parts = [PartlyLabelled(one, *pair, hides_closed=True) for one, pair in zip(rasters, areas, strict=True)]
    counted = [count_own(part, reading) for part in parts]
    empty = [one for one, statistics in zip(placed, counted, strict=True) if not len(statistics.cells)]
    if len(empty) == len(placed):
        raise LabelError(_nothing_left(empty[0], scored.owner(empty[0]), spec.data.kind_without_labels))
    side = join_side(rasters, SideParts(areas, counted, hides_closed=True))
    kind = spec.data.kind_without_labels
    for line in (*_notices(side, len(placed), spec), *_notices_of_hidden(placed, hidden, scored, kind)):
        reporter.notice(line)
    return side


def _check_terms(own: ImageProperties, labelled: ImageProperties, data: DataSpec) -> None:
    """Refuse images whose pixels or values mean something else than those of the labelled images."""
    size_m, kind = data.resolution_m or labelled.resolution_m, data.kind_without_labels
    for name, own_m in own.sizes_m.items():
        if size_m is not None and max(own_m / size_m, size_m / own_m) > NOTICED_SIZE_RATIO:
            raise LabelError(
                f"{kind} image {name} has pixels of {own_m:g} m, the run of {size_m:g} m: resample it (gdalwarp -tr), "
                f"or leave it out of data.{kind}"
            )
    scaled = next((name for name, one in zip(own.names, own.scalings, strict=True) if one is not None), None)
    if labelled.scaling is None and scaled is not None:
        raise LabelError(
            f"{kind} image {scaled} has a scale and offset of its values, the labelled images have none: write them "
            f"alike, or leave it out of data.{kind}"
        )


def _find_scored(known: KnownRasters, split: SplitParts, spec: TrainSpec) -> _Scored:
    """Where validation and test labels lie: the cells that hold them, and the whole of images given as test."""
    rasters = [_Placed(entry.image, grid) for entry, grid in zip(known.listed, known.grids, strict=True)]
    windows = [
        [raster.everything]
        if entry.split == TEST
        else [
            one.clip(raster.grid.height, raster.grid.width) for one in _rows_of(np.concatenate([val.cells, test.cells]))
        ]
        for entry, raster, val, test in zip(
            known.listed, rasters, split.val.statistics, split.test.statistics, strict=True
        )
    ]
    given = spec.data.split.guard_px
    return _Scored(rasters, windows, SMALLEST_GUARD_PX if given is None else given)


def _rows_of(cells: NDArray[np.int64]) -> list[Window]:
    """Windows that cover some cells (N, 2), one for those that lie side by side."""
    ordered = np.unique(cells, axis=0)
    breaks = np.flatnonzero((np.diff(ordered, axis=0) != (0, CELL_PX)).any(axis=1)) + 1
    runs = [run for run in np.split(ordered, breaks) if len(run)]
    return [Window(int(run[0, 0]), int(run[0, 1]), CELL_PX, CELL_PX * len(run)) for run in runs]


def _open_all(
    images: Sequence[_Placed], labelled: Sequence[LabelledRaster], spec: TrainSpec, scaling: ScalingSpec | None
) -> Sequence[LabelledRaster]:
    """The raster of every image, in memory if they fit into it beside the labelled ones."""
    pool = FilePool()
    on_disk = [
        FileRaster(
            shown_name(one.image),
            one.grid,
            partial(pool.using, number, partial(_open, one.image, spec.data, scaling)),
        )
        for number, one in enumerate(images)
    ]
    if not fits_into_memory([*labelled, *on_disk], spec.data):
        return on_disk
    held = [read_into_memory(one) for one in on_disk]
    pool.clear()
    return held


def _open(image: Path, data: DataSpec, scaling: ScalingSpec | None) -> Files:
    return open_image(image, data, scaling, is_labelled=False), NO_LABELS


def _nothing_left(image: _Placed, owner: _Placed | None, kind: str) -> str:
    """The error text for an image of which nothing can be learnt, given the raster whose labels lie in it, and what
    images without labels are called."""
    name = shown_name(image.image)
    if owner is None:
        return f"{kind} image {name} has no pixel with data: give other images in data.{kind}"
    return (
        f"{kind} image {name} shows nothing but validation or test labels of {shown_name(owner.image)}: give other "
        f"images in data.{kind}"
    )


def _notices(side: SplitSide, given: int, spec: TrainSpec) -> list[str]:
    kind = spec.data.kind_without_labels
    lines = [
        f"{kind}: {number_of(side.images, 'image')}, {side.amount} with data, in {_share_of_windows(spec):.0%} of the "
        "training windows"
    ]
    left_out = given - side.images
    if left_out:
        lines.append(
            f"{left_out:,} of {number_of(given, f'{kind} image')} left out: no pixel with data lies beyond "
            "validation and test labels"
        )
    return lines


def _share_of_windows(spec: TrainSpec) -> float:
    """The share of training windows that are without labels: as given, or what whole windows per step make of it."""
    if UNLABELLED not in METHODS.get(spec.method.name).needs:
        return spec.data.unlabelled_share
    return spec.unlabelled_batch / (spec.unlabelled_batch + spec.batch_size)


def _notices_of_hidden(images: Sequence[_Placed], hidden: Sides, scored: _Scored, kind: str) -> list[str]:
    """Notices that images show validation or test labels, or that it is not known whether they do."""
    lines = []
    if showing := sum(map(bool, hidden)):
        lines.append(
            f"validation or test labels lie in {number_of(showing, f'{kind} image')}: what is there, and within "
            f"{scored.guard_px} px, is hidden from training windows"
        )
    elif kind == "target" and any(scored.windows):
        lines.append(
            "no validation or test label is seen to lie in the target: if they are of another region, their scores say "
            "little of the target, and choose the epoch for the other one; label some of the target as well"
        )
    learnt = [one.grid for one in images]
    kept = [one.grid for one, own in zip(scored.rasters, scored.windows, strict=True) if own]
    lost, unplaced = count_unplaced(learnt, kept), count_unplaced(kept, learnt)
    if lost or unplaced:
        lines.append(
            f"{number_of(lost, f'{kind} image')} and {number_of(unplaced, 'labelled image')} with validation or "
            "test labels have no coordinates or no coordinate system: unless the file is the same, overlaps are not "
            "seen, and flatter scores"
        )
    return lines
