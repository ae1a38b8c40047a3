"""The labelled rasters of a run: read, counted, checked, split, and joined to mosaics where images touch.

In: a TrainSpec. Out: rasters for training and for validation. Images are held in memory if they take less than the
spec's `memory_mb`; else their class statistics are stored, so that a run that starts again need not count again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from geoseg.core.events import SILENT, Reporter
from geoseg.core.wording import number_of
from geoseg.data.class_statistics import ClassStatistics, join_statistics, normalization_of
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import LabelRules, unmarked_labels
from geoseg.data.labels.background import outside_index
from geoseg.data.labels.features import Features
from geoseg.data.listing import ListedRaster, list_rasters
from geoseg.data.splits import SIDES
from geoseg.geo.georef import PixelGrid
from geoseg.spec import IGNORE, ClassSpec, DataSpec, NormalizationSpec, ScalingSpec, TrainSpec
from geoseg.training.data.image_files import (
    count_corrections,
    count_unmarked,
    find_rasters,
    inspect_images,
)
from geoseg.training.data.split_checks import check_side, check_sides, check_window, report_split
from geoseg.training.data.split_parts import KnownRasters, split_parts
from geoseg.training.data.split_sides import SplitSide, join_side
from geoseg.training.data.stored_statistics import (
    count_or_load,
    fingerprint,
    read_and_count,
)


@dataclass(frozen=True)
class TrainingData:
    """All labelled rasters of a run."""

    train: SplitSide
    """Rasters for training."""
    val: SplitSide
    """Rasters for validation."""
    normalization: NormalizationSpec
    """Mean and standard deviation of the training pixels, per band."""
    value_range: tuple[float, float]
    """Lowest and highest band value, for the augmentation of colours."""
    resolution_m: float | None
    """Ground resolution, if known and about the same in all images."""
    size_range_m: tuple[float, float] | None
    """Smallest and largest ground resolution in metres, if images differ in it."""
    scaling: ScalingSpec | None
    """Scale and offset of band values, if an image has them."""
    fingerprint: str
    """Digest of the files and of the settings by which they are read."""


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
        spec: names the images and labels.
        only: train or val, to score one side alone: the other may be empty then, and classes may be missing.
        scaling: to which values are converted; default: that of the first image that has one.
        store: file for the class statistics of images that do not fit into memory; read if it is of the same files and
            settings.
        reporter: gets notices on the images and the split, and the pixels that have been read, as stage `reading`.

    Raises:
        LabelError: if labels cannot be used, a side of the split is empty, or a class has no training pixel.
        SceneError: if an image cannot be read.
        SpecError: if a setting does not go with these images.
    """
    listed = list_rasters(spec.data)
    grids, terms = inspect_images(listed, spec.data, scaling)
    for line in (*terms.notices(spec.data.resolution_m), *_notice_of_codes(spec.classes)):
        reporter.notice(line)
    check_side(spec, only)
    rasters, counted, unmarked_px = _read_and_count(listed, grids, spec, terms.scaling, store, reporter)
    if spec.data.corrections:
        reporter.notice(count_corrections(listed, grids, spec).notice(spec.data.corrections))
    if unmarked_px:
        reporter.notice(f"labels: {unmarked_labels(unmarked_px)}")
    for line in _notice_of_bare(counted, spec):
        reporter.notice(line)
    known = KnownRasters(listed, grids, rasters, counted, partial(_features, listed, grids, spec))
    split = split_parts(known, spec, SIDES if only is None else (only,))
    if only is None:
        report_split(spec, split, reporter)
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


def _features(listed: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec) -> list[Features]:
    """The labelled features of every image, read from the label files."""
    rasters, pool = find_rasters(listed, grids, spec, None)
    features = [raster.features() for raster in rasters]
    pool.clear()
    return features


def _notice_of_bare(counted: Sequence[ClassStatistics], spec: TrainSpec) -> list[str]:
    """A notice that images show no label but the class of what lies outside of all labels."""
    outside = outside_index(LabelRules.of_data(spec.data), spec.classes)
    if outside == IGNORE:
        return []
    counts = [one.class_counts for one in counted]
    bare = sum(bool(one[outside]) and one.sum() == one[outside] for one in counts)
    if not bare:
        return []
    name = spec.classes[outside].name
    return [f"{bare} of {number_of(len(counts), 'image')} show no polygon: all of their valid pixels count as {name}"]


def _notice_of_codes(classes: Sequence[ClassSpec]) -> list[str]:
    """A notice that classes have other numbers in class rasters than in labels."""
    coded = [c for c in classes if c.code is not None]
    if not coded:
        return []
    last = coded[-1]
    return [
        f"class rasters number the classes from {classes[0].id} to {classes[-1].id}, as labels have values that do not "
        f"fit into them: {last.name} is {last.code} in labels and {last.id} in class rasters"
    ]


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
    """Range of the type for 8-bit values, else of the values that occur, without outliers."""
    if data.dtype == "uint8":
        return 0.0, 255.0
    found = normalization_of(statistics)
    mean, reach = np.array(found.mean), 6 * np.array(found.std)
    low = np.maximum(statistics.lowest.min(axis=0), mean - reach).min()
    high = np.minimum(statistics.highest.max(axis=0), mean + reach).max()
    return float(low), float(max(high, low + 1e-6))
