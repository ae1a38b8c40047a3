"""The labelled rasters of a run: read, counted, checked, split, and joined to mosaics where images touch.

In: a TrainSpec. Out: rasters for training and for validation, and a way to those for the test. Images are held in
memory if they take less than the spec's `memory_mb`; else their class statistics are stored, so that a run that starts
again need not count again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from geoseg.core.errors import LabelError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.data.brightness import brightness_of
from geoseg.data.class_statistics import ClassStatistics, count_some, join_statistics, normalization_of
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import LabelRules, unmarked_labels
from geoseg.data.labels.background import outside_index
from geoseg.data.labels.class_sets import ClassSets, class_sets, describe_sets
from geoseg.data.labels.features import Features
from geoseg.data.labels.tags import tag_sets
from geoseg.data.listing import CHOOSING, TEST, ListedRaster, list_rasters, list_unlabelled, to_read
from geoseg.geo.georef import PixelGrid
from geoseg.spec import BrightnessSpec, ClassSpec, DataSpec, NormalizationSpec, ScalingSpec, TrainSpec
from geoseg.spec.evaluate import Split
from geoseg.training.data.image_files import (
    count_corrections,
    count_disputed,
    count_unmarked,
    find_rasters,
    inspect_images,
    notices_of_marks,
)
from geoseg.training.data.split_checks import check_side, check_sides, check_window, report_split, report_unplaced
from geoseg.training.data.split_parts import KnownRasters, SplitParts, split_parts
from geoseg.training.data.split_sides import SplitSide, join_side
from geoseg.training.data.stored_statistics import (
    count_or_load,
    fingerprint,
    fits_into_memory,
    read_and_count,
)
from geoseg.training.data.tagged_images import notices_of_tags
from geoseg.training.data.unlabelled_images import read_unlabelled
from geoseg.training.data.unread_test import add_unread, report_unread

SPARSE = 0.05
"""Labels of a smaller share of the images' pixels are said to be few."""
TARGET_WINDOWS = 64
"""Windows of each raster of the target by which its values are known, at most."""
ReadTest = Callable[[Reporter], SplitSide]
"""Gives the test side; a reporter gets notices and progress."""


@dataclass(frozen=True)
class TrainingData:
    """All labelled rasters of a run."""

    train: SplitSide
    """Rasters for training."""
    val: SplitSide
    """Rasters for validation."""
    unlabelled: SplitSide
    """Rasters without labels; cells count their pixels with data."""
    read_test: ReadTest | None
    """Reads the rasters for the test, once the model is chosen; None if there are none."""
    normalization: NormalizationSpec
    """Mean and standard deviation of the training pixels, per band."""
    brightness: BrightnessSpec | None
    """How bright the training imagery is, and the target, by its colours; None where that says nothing of others."""
    value_range: tuple[float, float]
    """Lowest and highest band value, also of the target, for the augmentation of colours."""
    resolution_m: float | None
    """Ground resolution, if known and about the same in all images."""
    size_range_m: tuple[float, float] | None
    """Smallest and largest ground resolution in metres, if images differ in it."""
    scaling: ScalingSpec | None
    """Scale and offset of band values, if an image has them."""
    fingerprint: str
    """Digest of the files and of the settings by which they are read."""
    tag_sets: ClassSets = ()
    """Class indexes of each combination of tags of training images that have no labels; see `data/labels/tags.py`."""

    @property
    def sizes_m(self) -> tuple[float, float] | None:
        """Smallest and largest ground resolution in metres; None where it is unknown."""
        if self.size_range_m is None and self.resolution_m is not None:
            return self.resolution_m, self.resolution_m
        return self.size_range_m

    def side(self, split: Split, reporter: Reporter = SILENT) -> SplitSide:
        """The rasters of a side; those of the test are read by this.

        Raises:
            LabelError: if there is no test side.
        """
        if split != TEST:
            return self.val if split == "val" else self.train
        if self.read_test is None:
            raise LabelError("there is no test side: set data.split.test_share, or give some images the split test")
        return self.read_test(reporter)


def read_training_data(
    spec: TrainSpec,
    *,
    only: Split | None = None,
    scaling: ScalingSpec | None = None,
    store: Path | None = None,
    reporter: Reporter = SILENT,
) -> TrainingData:
    """Open, check, count and split all labelled images.

    Args:
        spec: names the images and labels.
        only: train, val or test, to score one side alone: others may be empty then, and classes may be missing.
        scaling: to which values are converted; default: that of the first image that has one.
        store: file for the class statistics of images that do not fit into memory; read if it is of the same files and
            settings.
        reporter: gets notices on the images and the split, and the pixels that have been read, as stage `reading`.

    Raises:
        LabelError: if labels cannot be used, a side of the split is empty, or a class has no training pixel.
        SceneError: if an image cannot be read.
        SpecError: if a setting does not go with these images.
    """
    everything = list_rasters(spec.data, reporter)
    check_side(spec, only, everything)
    listed, without_labels = to_read(everything, only), list_unlabelled(spec.data) if only is None else []
    tags = tag_sets(spec.classes, (one.tags for one in listed if one.tags is not None))
    grids, terms = inspect_images([entry.image for entry in listed], spec.data, scaling)
    for line in (*terms.notices(spec.data.resolution_m), *_notice_of_codes(spec.classes)):
        reporter.notice(line)
    rasters, counted, unmarked_px, disputed = _read_and_count(listed, grids, spec, terms.scaling, store, reporter)
    if spec.data.corrections:
        reporter.notice(count_corrections(listed, grids, spec).notice(spec.data.corrections))
    if unmarked_px:
        reporter.notice(f"labels: {unmarked_labels(unmarked_px)}")
    for line in (
        *(f"labels: {pixels:,} px {clause}" for clause, pixels in disputed.items()),
        *notices_of_tags(listed, grids, spec),
        *_notice_of_sets([one for one, entry in zip(counted, listed, strict=True) if entry.tags is None], spec),
        *_notice_of_bare(counted, listed, spec),
        *_notice_of_unlabelled(counted),
    ):
        reporter.notice(line)
    read = KnownRasters(listed, grids, rasters, counted, partial(_features, listed, grids, spec))
    known = read if only == TEST else add_unread(read, everything, spec) or read
    report_unread(known.listed, everything, reporter)
    split = split_parts(known, spec, CHOOSING if only is None else (only,))
    split = replace(split, has_test=split.has_test or any(one.split == TEST for one in everything))
    if only is None:
        report_split(spec, split, reporter)
        report_unplaced(spec, known, split, reporter)
        for line in (*_notice_of_sparse(counted, grids), *notices_of_marks(known.listed, known.grids, spec)):
            reporter.notice(line)
        check_sides(split, spec, unmarked_px, reporter, _tagged(known, split, spec))
    train = join_side(known.rasters, split.train, is_scored=only is not None)
    if only is None:
        check_window(spec, train)
    sides = {"train": split.train, "val": split.val, TEST: split.test}
    together = join_statistics(sides[only or "train"].statistics)
    unlabelled = read_unlabelled(without_labels, known, split, terms, spec, reporter)
    target = [count_some(one, TARGET_WINDOWS) for one in unlabelled.rasters] if spec.data.target else []
    return TrainingData(
        train=train,
        val=join_side(known.rasters, split.val, is_scored=True),
        unlabelled=unlabelled,
        read_test=_test_reader(known, split, everything, spec, terms.scaling),
        normalization=normalization_of(together),
        brightness=None if terms.scaling else brightness_of([*split.train.statistics, *target], spec.data.dtype),
        value_range=_value_range([together, *target], spec.data),
        resolution_m=spec.data.resolution_m or terms.resolution_m,
        size_range_m=terms.size_range_m,
        scaling=terms.scaling,
        fingerprint=fingerprint(listed, spec, without_labels),
        tag_sets=tags,
    )


def _tagged(known: KnownRasters, split: SplitParts, spec: TrainSpec) -> frozenset[int]:
    """Class indexes of the tags of images that windows are drawn from."""
    pairs = zip(known.listed, split.train.statistics, strict=True)
    found = [entry.tags for entry, own in pairs if entry.tags is not None and len(own.cells)]
    return frozenset(index for one in tag_sets(spec.classes, found) for index in one)


def _test_reader(
    known: KnownRasters,
    split: SplitParts,
    listed: Sequence[ListedRaster],
    spec: TrainSpec,
    scaling: ScalingSpec | None,
) -> ReadTest | None:
    """A function that gives the test side: what was drawn for it, or what is read from the images given as test."""
    if split.test.pixels:
        return lambda reporter: join_side(known.rasters, split.test, is_scored=True)
    if not any(one.split == TEST for one in listed):
        return None

    def read_given(reporter: Reporter) -> SplitSide:
        side = read_training_data(spec, only="test", scaling=scaling, reporter=reporter).side("test")
        if now_known := add_unread(known, listed, spec):
            _report_near(split, split_parts(now_known, spec, CHOOSING), reporter)
        return side

    return read_given


def _report_near(before: SplitParts, after: SplitParts, reporter: Reporter) -> None:
    """Report training pixels for which no guard band was kept, given the split without and with all test images."""
    near_px = before.train.pixels - after.train.pixels
    if near_px:
        reporter.notice(
            f"{pixels_in_words(near_px)} of the training pixels lie within {after.guard_px} px of test images that "
            "could not be opened before training: the model has learnt beside its test, whose scores flatter it"
        )


def _features(listed: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec) -> list[Features]:
    """The labelled features of every image, read from the label files."""
    rasters, pool = find_rasters(listed, grids, spec, None)
    features = [raster.features() for raster in rasters]
    pool.clear()
    return features


def _notice_of_sets(counted: Sequence[ClassStatistics], spec: TrainSpec) -> list[str]:
    """A notice that labels stand for several classes."""
    partial, whole = sum(int(one.partial.sum()) for one in counted), sum(int(one.counts.sum()) for one in counted)
    if not partial:
        return []
    sets = describe_sets(spec.classes, class_sets(spec.classes, spec.data.class_sets))
    return [
        f"{partial / (partial + whole):.1%} of the labelled pixels are of one of several classes ({sets}): they are "
        "learnt by the sum of these classes' probabilities, and count in no score and in no class"
    ]


def _notice_of_bare(counted: Sequence[ClassStatistics], listed: Sequence[ListedRaster], spec: TrainSpec) -> list[str]:
    """Notices that images show no label but the class of what lies outside of all labels."""
    outside = [outside_index(LabelRules.of_data(spec.data, entry.legend), spec.classes) for entry in listed]
    shown: Counter[int] = Counter()
    for one, entry, index in zip(counted, listed, outside, strict=True):
        if index < len(spec.classes) and entry.tags is None:
            counts = one.class_counts
            shown[index] += bool(counts[index]) and counts.sum() == counts[index]
    return [
        f"{bare} of {number_of(len(counted), 'image')} show no polygon: all of their valid pixels count as "
        f"{spec.classes[index].name}"
        for index, bare in shown.items()
        if bare
    ]


def _notice_of_unlabelled(counted: Sequence[ClassStatistics]) -> list[str]:
    """A notice that images have no labelled pixel."""
    empty = sum(not len(one.cells) for one in counted)
    return [f"{empty} of {number_of(len(counted), 'image')} left out: no pixel with data is labelled"] if empty else []


def _notice_of_sparse(counted: Sequence[ClassStatistics], grids: Sequence[PixelGrid]) -> list[str]:
    """A notice that few pixels are labelled: points and lines, or a few polygons."""
    labelled = sum(int(one.counts.sum() + one.partial.sum()) for one in counted)
    pixels = sum(grid.height * grid.width for grid in grids)
    if labelled >= SPARSE * pixels:
        return []
    return [
        f"{labelled / pixels:.2%} of the images' pixels are labelled: the others are unknown, not background, have "
        "no label to be learnt, and are not scored"
    ]


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
) -> tuple[Sequence[LabelledRaster], list[ClassStatistics], int, Counter[str]]:
    """All rasters, in memory if they fit; their class statistics; how many pixels their labels leave out as 255; and in
    how many labels of several classes lie, by what counts there."""
    on_disk, pool = find_rasters(listed, grids, spec, scaling)
    rasters: Sequence[LabelledRaster] = on_disk
    if fits_into_memory(rasters, spec.data):
        rasters, counted = read_and_count(rasters, spec, reporter)
    else:
        counted = count_or_load(rasters, listed, spec, store, reporter)
    unmarked_px, disputed = count_unmarked(on_disk, listed, spec), count_disputed(on_disk, listed, spec)
    if rasters is not on_disk:
        pool.clear()  # files that windows are read from stay open, and their decoded blocks in GDAL's cache
    return rasters, counted, unmarked_px, disputed


def _value_range(counted: Sequence[ClassStatistics], data: DataSpec) -> tuple[float, float]:
    """Range of the type for 8-bit values, else of the values that occur, without outliers.

    Values of a target count, too: those beyond the labelled ones would be clipped, and the model is to know them.
    """
    if data.dtype == "uint8":
        return 0.0, 255.0
    ranges = [_range_of(one) for one in counted if len(one.cells)]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _range_of(statistics: ClassStatistics) -> tuple[float, float]:
    found = normalization_of(statistics)
    mean, reach = np.array(found.mean), 6 * np.array(found.std)
    low = np.maximum(statistics.lowest.min(axis=0), mean - reach).min()
    high = np.minimum(statistics.highest.max(axis=0), mean + reach).max()
    return float(low), float(max(high, low + 1e-6))
