"""All that a run learns from and is scored on.

In: a TrainSpec. Out: labelled rasters to learn from and to score on: checked, counted, split, and joined where images
touch. Images are held in memory if they fit into the spec's share of it; what was counted is stored, so that a run that
starts again need not read everything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.core.events import SILENT, Reporter
from geoseg.data.class_statistics import ClassStatistics, join_statistics, normalization_of
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import unmarked_labels
from geoseg.data.listing import ListedRaster, list_rasters
from geoseg.data.splits import SIDES, CountedRaster, split_rasters
from geoseg.geo.georef import PixelGrid
from geoseg.spec import DataSpec, NormalizationSpec, ScalingSpec, TrainSpec
from geoseg.training.data.image_files import (
    count_unmarked,
    find_rasters,
    look_at_images,
)
from geoseg.training.data.split_checks import check_sides, check_window, guard_band, report_split
from geoseg.training.data.split_sides import SideParts, SplitSide, join_side
from geoseg.training.data.stored_statistics import (
    count_or_load,
    fingerprint,
    read_and_count,
)


@dataclass(frozen=True)
class TrainingData:
    """All labelled rasters of a run."""

    train: SplitSide
    """To learn from."""
    val: SplitSide
    """To score on."""
    normalization: NormalizationSpec
    """Statistics of the pixels to learn from."""
    value_range: tuple[float, float]
    """Band values that stand for dark and bright when colours are varied."""
    resolution_m: float | None
    """Ground resolution, if known and about the same in all images."""
    size_range_m: tuple[float, float] | None
    """Smallest and largest size of a pixel on the earth, if images differ in it."""
    scaling: ScalingSpec | None
    """What the values of the bands stand for, if an image says it."""
    fingerprint: str
    """Changes with the files, and with how they are read."""


def read_training_data(
    spec: TrainSpec,
    *,
    only: str | None = None,
    scaling: ScalingSpec | None = None,
    store: Path | None = None,
    reporter: Reporter = SILENT,
) -> TrainingData:
    """Open, check, count and split all labelled images.

    Args:
        spec: names them.
        only: train or val, if nothing is to be learnt: the other side may be empty then, and classes may be missing.
        scaling: what values are to stand for; default: what those of the first image that says it do.
        store: file that keeps what was counted of images that do not fit into memory; used if it is about the same
            files and settings.
        reporter: gets notices on the images and the split, and the pixels that have been read, as stage `reading`.

    Raises:
        LabelError: if labels cannot be used, a side of the split is empty, or a class is never seen in training.
        SceneError: if an image cannot be read.
        SpecError: if a setting makes no sense with these images.
    """
    listed = list_rasters(spec.data)
    grids, terms = look_at_images(listed, spec.data, scaling)
    for line in terms.notices(spec.data.resolution_m):
        reporter.notice(line)
    rasters, counted, unmarked_px = _read_and_count(listed, grids, spec, terms.scaling, store, reporter)
    if unmarked_px:
        reporter.notice(f"labels: {unmarked_labels(unmarked_px)}")
    split = _split(listed, rasters, counted, spec, SIDES if only is None else (only,))
    if only is None:
        report_split(spec, split.guarded_px, split.train.statistics, reporter)
        check_sides(split.train.statistics, split.val.statistics, spec, unmarked_px, reporter)
    train = join_side(rasters, split.train)
    if only is None:
        check_window(spec, train)
    together = join_statistics(split.val.statistics if only == "val" else split.train.statistics)
    return TrainingData(
        train=train,
        val=join_side(rasters, split.val),
        normalization=normalization_of(together),
        value_range=_value_range(together, spec.data),
        resolution_m=spec.data.resolution_m or terms.resolution_m,
        size_range_m=terms.size_range_m,
        scaling=terms.scaling,
        fingerprint=fingerprint(listed, spec),
    )


@dataclass(frozen=True)
class _Split:
    """What of each raster is on which side."""

    train: SideParts
    """What is learnt from."""
    val: SideParts
    """What is scored on."""
    guarded_px: int
    """Labelled pixels on the training side that are not learnt from, for the guard band."""


def _split(
    listed: Sequence[ListedRaster],
    rasters: Sequence[LabelledRaster],
    counted: Sequence[ClassStatistics],
    spec: TrainSpec,
    needed: Sequence[str],
) -> _Split:
    known = [CountedRaster(*parts) for parts in zip(listed, (r.grid for r in rasters), counted, strict=True)]
    parts = split_rasters(known, spec.data.split, guard_band(spec), needed=needed)
    pairs = list(zip(counted, parts, strict=True))
    return _Split(
        SideParts(
            [(part.train, part.closed) for part in parts],
            [c.only(c.inside(part.train) & ~c.inside(part.closed)) for c, part in pairs],
        ),
        SideParts([(part.val, ()) for part in parts], [c.only(c.inside(part.val)) for c, part in pairs]),
        sum(int(c.counts[c.inside(part.train) & c.inside(part.closed)].sum()) for c, part in pairs),
    )


def _read_and_count(
    listed: Sequence[ListedRaster],
    grids: Sequence[PixelGrid],
    spec: TrainSpec,
    scaling: ScalingSpec | None,
    store: Path | None,
    reporter: Reporter,
) -> tuple[Sequence[LabelledRaster], list[ClassStatistics], int]:
    """All rasters, in memory if they fit; their class statistics; and how many pixels their labels leave out as 255."""
    on_disk, pool = find_rasters(listed, grids, spec, scaling)
    rasters: Sequence[LabelledRaster] = on_disk
    if _fits_into_memory(rasters, spec.data):
        rasters, counted = read_and_count(rasters, spec, reporter)
    else:
        counted = count_or_load(rasters, listed, spec, store, reporter)
    unmarked_px = count_unmarked(on_disk, listed, spec)
    pool.clear()
    return rasters, counted, unmarked_px


def _fits_into_memory(rasters: Sequence[LabelledRaster], data: DataSpec) -> bool:
    pixel_bytes = (1 if data.dtype == "uint8" else 4) * len(data.bands) + 2  # validity and label
    return sum(raster.height * raster.width for raster in rasters) * pixel_bytes <= data.memory_mb * 2**20


def _value_range(statistics: ClassStatistics, data: DataSpec) -> tuple[float, float]:
    """All of the type for 8-bit values, else what occurs, without outliers."""
    if data.dtype == "uint8":
        return 0.0, 255.0
    found = normalization_of(statistics)
    mean, reach = np.array(found.mean), 6 * np.array(found.std)
    low = np.maximum(statistics.lowest.min(axis=0), mean - reach).min()
    high = np.minimum(statistics.highest.max(axis=0), mean + reach).max()
    return float(low), float(max(high, low + 1e-6))
