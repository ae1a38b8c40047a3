"""All that a run learns from and is scored on.

In: a TrainSpec. Out: labelled rasters to learn from and to score on: checked, counted, split, and joined where images
touch. Images are held in memory if they fit into the spec's share of it; what was counted is stored, so that a run that
starts again need not read everything again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.data.class_statistics import ClassStatistics, join_statistics, normalization_of
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import unmarked_labels
from geoseg.data.listing import list_rasters
from geoseg.data.splits import SIDES, CountedRaster, split_rasters
from geoseg.spec import DataSpec, NormalizationSpec, ScalingSpec, TrainSpec
from geoseg.training.counting import (
    count_or_load,
    fingerprint,
    hold_and_count,
)
from geoseg.training.image_files import (
    count_unmarked,
    find_ground,
    look_at_images,
)
from geoseg.training.sides import Side, make_side
from geoseg.training.split_checks import check_sides, check_window, tell_of_split


@dataclass(frozen=True)
class TrainingData:
    """All ground of a run."""

    train: Side
    """To learn from."""
    val: Side
    """To score on."""
    normalization: NormalizationSpec
    """Statistics of the ground to learn from."""
    value_range: tuple[float, float]
    """Band values that stand for dark and bright when colours are varied."""
    resolution_m: float | None
    """Ground size of a pixel, if known and about the same in all images."""
    size_range_m: tuple[float, float] | None
    """Smallest and largest ground size of a pixel, if images differ in it."""
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
    tell: Callable[[int, int], None] = lambda done, total: None,
    notice: Callable[[str], None] = lambda line: None,
) -> TrainingData:
    """Open, check, count and split all labelled images.

    Args:
        spec: names them.
        only: train or val, if nothing is to be learnt: the other side may be empty then, and classes may be missing.
        scaling: what values are to stand for; default: what those of the first image that says it do.
        store: file that keeps what was counted of images that do not fit into memory; read if it tells of the same
            files and settings.
        tell: told how much has been read.
        notice: told what a person should know of the split.

    Raises:
        LabelError: if labels cannot be used, a side of the split is empty, or a class is never seen in training.
        SceneError: if an image cannot be read.
        SpecError: if a setting makes no sense with these images.
    """
    entries = list_rasters(spec.data)
    grids, terms = look_at_images(entries, spec.data, scaling)
    for line in terms.notices(spec.data.resolution_m):
        notice(line)
    on_disk, pool = find_ground(entries, grids, spec, terms.scaling)
    grounds: Sequence[LabelledRaster] = on_disk
    if _fits_into_memory(grounds, spec.data):
        grounds, counted = hold_and_count(grounds, spec, tell)
    else:
        counted = count_or_load(grounds, entries, spec, store, tell)
    unmarked_px = count_unmarked(on_disk, entries)
    if unmarked_px:
        notice(f"labels: {unmarked_labels(unmarked_px)}")
    pool.clear()
    rasters = [CountedRaster(*parts) for parts in zip(entries, (g.grid for g in grounds), counted, strict=True)]
    guard_px = spec.read_side if spec.data.split.guard_px is None else spec.data.split.guard_px
    shares = split_rasters(rasters, spec.data.split, guard_px, needed=SIDES if only is None else (only,))
    pairs = list(zip(counted, shares, strict=True))
    train_statistics = [c.only(c.inside(share.train) & ~c.inside(share.closed)) for c, share in pairs]
    val_statistics = [c.only(c.inside(share.val)) for c, share in pairs]
    guarded_px = sum(int(c.counts[c.inside(share.train) & c.inside(share.closed)].sum()) for c, share in pairs)
    if only is None:
        tell_of_split(spec, guard_px, guarded_px, train_statistics, notice)
        check_sides(train_statistics, val_statistics, spec, unmarked_px, notice)
    together = join_statistics(val_statistics if only == "val" else train_statistics)
    train = make_side(grounds, [(share.train, share.closed) for share in shares], train_statistics)
    if only is None:
        check_window(spec, train)
    return TrainingData(
        train=train,
        val=make_side(grounds, [(share.val, ()) for share in shares], val_statistics),
        normalization=normalization_of(together),
        value_range=_value_range(together, spec.data),
        resolution_m=spec.data.resolution_m or terms.resolution_m,
        size_range_m=terms.size_range_m,
        scaling=terms.scaling,
        fingerprint=fingerprint(entries, spec),
    )


def _fits_into_memory(grounds: Sequence[LabelledRaster], data: DataSpec) -> bool:
    pixel_bytes = (1 if data.dtype == "uint8" else 4) * len(data.bands) + 2  # validity and label
    return sum(ground.height * ground.width for ground in grounds) * pixel_bytes <= data.memory_mb * 2**20


def _value_range(statistics: ClassStatistics, data: DataSpec) -> tuple[float, float]:
    """All of the type for 8-bit values, else what occurs, without outliers."""
    if data.dtype == "uint8":
        return 0.0, 255.0
    found = normalization_of(statistics)
    mean, reach = np.array(found.mean), 6 * np.array(found.std)
    low = np.maximum(statistics.lowest.min(axis=0), mean - reach).min()
    high = np.minimum(statistics.highest.max(axis=0), mean + reach).max()
    return float(low), float(max(high, low + 1e-6))
