"""Checks of a split before training: empty sides, missing classes, guard band, window size.

In: the class statistics of both sides. Out: notices, or an error that says what to change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SpecError
from geoseg.core.events import Reporter
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.data.listing import TEST, ListedRaster
from geoseg.data.unseen_overlaps import count_unplaced
from geoseg.spec import NODATA_ID, TrainSpec
from geoseg.training.data.split_parts import KnownRasters, SplitParts
from geoseg.training.data.split_sides import SideParts, SplitSide

LEAST_SHOWN = 0.01
"""Smallest share of the pixels that is said as a number."""


def check_side(spec: TrainSpec, only: str | None, listed: Sequence[ListedRaster]) -> None:
    """Refuse to score a side that the settings do not name.

    Args:
        spec: the settings.
        only: the side that is wanted; None for all that training reads.
        listed: the labelled rasters.

    Raises:
        SpecError: if the folds of a cross-validation are meant all at once.
        LabelError: if only validation or test rasters are wanted and the split has none.
    """
    split = spec.data.split
    if split.folds is not None and split.fold is None and only != TEST:
        raise SpecError(
            f"data.split.folds = {split.folds}: say which of them validates, 1 to {split.folds}, in data.split.fold"
        )
    if only == "val" and not split.validates:
        raise LabelError(
            f"{_no_validation(spec)}, which leaves no validation rasters: score the training ones (--split train), or "
            "change it"
        )
    if only == TEST and not split.test_share and not any(one.split == TEST for one in listed):
        raise LabelError(
            f"there is no test side: write {TEST} in column {split.column}, or as split of a scene, for some images "
            "from which nothing is learnt, or set data.split.test_share before training"
        )


def _no_validation(spec: TrainSpec) -> str:
    """The setting by which there is no validation side."""
    return "data.split.by is none" if spec.data.split.by == "none" else "data.split.val_share is 0"


def report_split(spec: TrainSpec, split: SplitParts, reporter: Reporter) -> None:
    """Report what is special about a split: random, by polygons or none, and the guard band."""
    _report_way(spec, split, reporter)
    guard_px, learnt = split.guard_px, split.train.pixels
    if split.too_wide_px is not None:
        reporter.notice(
            f"a guard band of {split.too_wide_px} px, which no training window crosses, would leave a class without "
            f"training pixels: it has {guard_px} px, and training windows are shown nothing of the validation areas "
            "(data.split.guard_px)"
        )
    if split.guarded_px:
        where = f"lie within {guard_px} px of" if guard_px else "are also"
        kept = {"validation": spec.data.split.validates, "test": split.has_test}
        sides = " or ".join(side for side, is_kept in kept.items() if is_kept)
        share = split.guarded_px / (split.guarded_px + learnt)
        percent = f"{share:.0%}" if share > LEAST_SHOWN else f"less than {LEAST_SHOWN:.0%}"
        reporter.notice(
            f"{percent} of the labelled training pixels ({pixels_in_words(split.guarded_px)}) {where} {sides} pixels "
            "and are left out (data.split.guard_px)"
        )
    if split.tested_px:
        reporter.notice(
            f"{pixels_in_words(split.tested_px)} of the labelled validation pixels are also on the test side, and "
            "count for the test alone"
        )
    if split.unseen_polygons:
        reporter.notice(
            f"{number_of(split.unseen_polygons, 'polygon')} of which no image shows a pixel with data left out"
        )


def report_unplaced(spec: TrainSpec, known: KnownRasters, split: SplitParts, reporter: Reporter) -> None:
    """Report images without a place on a map, beside others of another side that have one."""
    if spec.data.split.by == "random":  # where training pixels lie beside what is scored in any case
        return
    learnt, validated, tested = (
        [grid for grid, one in zip(known.grids, side.statistics, strict=True) if len(one.cells)]
        for side in (split.train, split.val, split.test)
    )
    unread = [grid for grid, one in zip(known.grids, known.listed, strict=True) if one.split == TEST]
    scored = [*validated, *tested, *unread]
    lost, unplaced = (
        count_unplaced(own, [one for one in others if one.is_on_map])
        for own, others in ((learnt, scored), (scored, learnt))
    )
    if lost or unplaced:
        reporter.notice(
            f"{number_of(lost, 'training image')} and {number_of(unplaced, 'image')} with validation or test labels "
            "have no coordinates or no coordinate system, and others have: where they overlap is not seen, no guard "
            "band lies between them, and scores may be flattered (gdal_edit -a_srs gives a file its coordinate system)"
        )


def _report_way(spec: TrainSpec, split: SplitParts, reporter: Reporter) -> None:
    """Report a split that is random, by polygons or none."""
    if spec.data.split.by == "random":
        sides = "validation and test" if spec.data.split.test_share else "validation"
        reporter.notice(
            f"the split is random: {sides} pixels may lie beside training pixels, so that the scores say little of "
            "other places (data.split.by: blocks or scene)"
        )
    if not spec.data.split.validates:
        measured = "only the test scores" if split.has_test else "nothing scores"
        others = "all other labels" if split.has_test else "all labels"
        reporter.notice(
            f"{others} are for training, none for validation: the last epoch is kept, and {measured} this model itself "
            "on labels that it has not learnt"
        )
    if split.by == "polygons":
        train, val, test = map(_amount, (split.train, split.val, split.test))
        tested = f", {test} for the test" if split.test.polygons else ""
        others = "those of validation and test" if tested else "the latter"
        reporter.notice(
            f"split by polygons: {train} for training, {val} for validation{tested}, at least {split.guard_px} px "
            f"apart; training windows are shown nothing of {others} (data.split.guard_px)"
        )


def _amount(side: SideParts) -> str:
    return f"{number_of(side.polygons or 0, 'polygon')} ({pixels_in_words(side.pixels)})"


def check_sides(
    split: SplitParts,
    spec: TrainSpec,
    unmarked_px: int,
    reporter: Reporter,
    tagged: Collection[int] = (),
) -> None:
    """Refuse an empty side and classes without training pixels; report classes without validation or test pixels.

    Classes of some indexes need no training pixel, as training images have tags of them.

    Raises:
        LabelError: saying what to change.
    """
    counts = [
        sum((statistics.class_counts for statistics in side.statistics), np.zeros(len(spec.classes)))
        for side in (split.train, split.val, split.test)
    ]
    wanted = {"training": True, "validation": spec.data.split.validates, "test": spec.data.split.test_share > 0}
    for side, found in zip(wanted, counts, strict=True):
        if not found.any() and wanted[side] and not (side == "training" and tagged):
            raise LabelError(
                f"no labelled {side} pixels are left: label more, or change data.split (val_share, test_share, "
                "block_px, guard_px)"
            )
    of_tags = np.isin(np.arange(len(spec.classes)), list(tagged))
    shown = counts[0] + of_tags, *counts[1:]
    missing, unscored, untested = (
        ", ".join(f"{c.id} {c.name}" for c, count in zip(spec.classes, found, strict=True) if not count)
        for found in shown
    )
    if missing and unmarked_px:
        raise LabelError(
            f"no training pixel shows class {missing}, but the labels hold 255 in {unmarked_px:,} px, which count "
            f"as not labelled: if 255 is that class, name all values in data.label_values "
            f"({_with_255(spec, counts[0])})"
        )
    if missing:
        absent = [c.name for c, count in zip(spec.classes, shown[0], strict=True) if not count]
        is_rest = spec.data.outside is None and len(absent) == 1 and len(spec.classes) == 2
        hint = f" (if it is all that lies outside of the polygons, say data.outside: {absent[0]})" if is_rest else ""
        raise LabelError(
            f"no training pixel shows class {missing}: label some of it there{hint}, or change data.split "
            "(larger blocks, a smaller guard_px or window), or take the class out of `classes`"
        )
    if unscored and spec.data.split.validates:
        reporter.notice(f"no validation pixel shows class {unscored}: nothing can be said of how well it is found")
    if untested and spec.data.split.test_share:
        reporter.notice(f"no test pixel shows class {untested}: the test can say nothing of how well it is found")


def _with_255(spec: TrainSpec, counts: NDArray[Any]) -> str:
    """Suggest data.label_values in which 255 is the first class without training pixels."""
    absent = next(c for c, count in zip(spec.classes, counts, strict=True) if not count)
    values = spec.data.label_values or {c.id: c.name for c in spec.classes if c is not absent}
    return ", ".join(f"{value}: {name}" for value, name in (values | {NODATA_ID: absent.name}).items())


def check_window(spec: TrainSpec, train: SplitSide) -> None:
    """Refuse windows larger than all training rasters, rounded up to the network's multiple.

    Raises:
        SpecError: naming the largest side that fits.
    """
    longest = max(max(raster.height, raster.width) for raster in train.rasters)
    fitting = -(-longest // spec.network.multiple) * spec.network.multiple
    if spec.window > fitting:
        raise SpecError(
            f"window {spec.window} is larger than all training rasters, whose longest side is {longest} px: "
            f"take {fitting}"
        )
