"""Checks of a split before training: empty sides, missing classes, guard band, window size.

In: the class statistics of both sides. Out: notices, or an error that says what to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SpecError
from geoseg.core.events import Reporter
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.data.class_statistics import ClassStatistics
from geoseg.spec import NODATA_ID, TrainSpec
from geoseg.training.data.split_parts import SplitParts
from geoseg.training.data.split_sides import SideParts, SplitSide


def check_side(spec: TrainSpec, only: str | None) -> None:
    """Refuse to score a side that the settings do not name.

    Args:
        spec: the settings.
        only: the side that is wanted; None for both.

    Raises:
        SpecError: if the folds of a cross-validation are meant all at once.
        LabelError: if only validation rasters are wanted and the split has none.
    """
    split = spec.data.split
    if split.folds is not None and split.fold is None:
        raise SpecError(
            f"data.split.folds = {split.folds}: say which of them validates, 1 to {split.folds}, in data.split.fold"
        )
    if only == "val" and not split.validates:
        raise LabelError(
            "data.split.by is none, which leaves no validation rasters: score the training ones (--split train), or "
            "change it"
        )


def report_split(spec: TrainSpec, split: SplitParts, reporter: Reporter) -> None:
    """Report what is special about a split: random, by polygons or none, and the guard band."""
    _report_way(spec, split, reporter)
    guard_px, learnt = split.guard_px, sum(int(statistics.counts.sum()) for statistics in split.train.statistics)
    if split.too_wide_px is not None:
        reporter.notice(
            f"a guard band of {split.too_wide_px} px, which no training window crosses, would leave a class without "
            f"training pixels: it has {guard_px} px, and training windows are shown nothing of the validation areas "
            "(data.split.guard_px)"
        )
    share = split.guarded_px / max(1, split.guarded_px + learnt)
    if share > 0.01:
        where = f"lie within {guard_px} px of" if guard_px else "are also"
        reporter.notice(
            f"{share:.0%} of the labelled training pixels {where} validation pixels and are left out "
            "(data.split.guard_px)"
        )


def _report_way(spec: TrainSpec, split: SplitParts, reporter: Reporter) -> None:
    """Report a split that is random, by polygons or none."""
    if spec.data.split.by == "random":
        reporter.notice(
            "the split is random: validation pixels may lie beside training pixels, so that the scores say little of "
            "other places (data.split.by: blocks or scene)"
        )
    if not spec.data.split.validates:
        reporter.notice(
            "all labels are for training (data.split.by: none): the last epoch is kept, and this run measures nothing "
            "of how well the model does"
        )
    if split.by == "polygons":
        train, val = map(_amount, (split.train, split.val))
        reporter.notice(
            f"split by polygons: {train} for training, {val} for validation, at least {split.guard_px} px apart; "
            "training windows are shown nothing of the latter (data.split.guard_px)"
        )


def _amount(side: SideParts) -> str:
    pixels = sum(int(statistics.counts.sum()) for statistics in side.statistics)
    return f"{number_of(side.polygons or 0, 'polygon')} ({pixels_in_words(pixels)})"


def check_sides(
    train: Sequence[ClassStatistics],
    val: Sequence[ClassStatistics],
    spec: TrainSpec,
    unmarked_px: int,
    reporter: Reporter,
) -> None:
    """Refuse an empty side and classes without training pixels; report classes without validation pixels.

    Raises:
        LabelError: saying what to change.
    """
    counts = [
        sum((statistics.class_counts for statistics in side), np.zeros(len(spec.classes))) for side in (train, val)
    ]
    for side, found in zip(("training", "validation"), counts, strict=True):
        if not found.any() and (side == "training" or spec.data.split.validates):
            raise LabelError(
                f"no labelled {side} pixels are left: label more, or change data.split (val_share, block_px, guard_px)"
            )
    missing, unscored = (
        ", ".join(f"{c.id} {c.name}" for c, count in zip(spec.classes, found, strict=True) if not count)
        for found in counts
    )
    if missing and unmarked_px:
        raise LabelError(
            f"no training pixel shows class {missing}, but the labels hold 255 in {unmarked_px:,} px, which count "
            f"as not labelled: if 255 is that class, name all values in data.label_values "
            f"({_with_255(spec, counts[0])})"
        )
    if missing:
        absent = [c.name for c, count in zip(spec.classes, counts[0], strict=True) if not count]
        is_rest = spec.data.outside is None and len(absent) == 1 and len(spec.classes) == 2
        hint = f" (if it is all that lies outside of the polygons, say data.outside: {absent[0]})" if is_rest else ""
        raise LabelError(
            f"no training pixel shows class {missing}: label some of it there{hint}, or change data.split "
            "(larger blocks, a smaller guard_px or window), or take the class out of `classes`"
        )
    if unscored and spec.data.split.validates:
        reporter.notice(f"no validation pixel shows class {unscored}: nothing can be said of how well it is found")


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
