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
from geoseg.data.class_statistics import ClassStatistics
from geoseg.spec import NODATA_ID, TrainSpec
from geoseg.training.data.split_sides import SplitSide


def guard_band(spec: TrainSpec) -> int:
    """Width in pixels of the guard band around validation pixels; by default no training window reaches one."""
    return spec.read_side if spec.data.split.guard_px is None else spec.data.split.guard_px


def report_split(spec: TrainSpec, guarded_px: int, train: Sequence[ClassStatistics], reporter: Reporter) -> None:
    """Report a random split or none, and the share of the labelled training pixels in the guard band."""
    if spec.data.split.by == "random":
        reporter.notice(
            "the split is random: validation pixels may lie beside training pixels, so that the scores say little of "
            "other places (data.split.by: blocks or scene)"
        )
    if not spec.data.split.validates:
        reporter.notice(
            "all labels are for training (data.split.by: none): the last epoch is kept, and nothing is measured of how "
            "well the model does"
        )
    share = guarded_px / max(1, guarded_px + sum(int(statistics.counts.sum()) for statistics in train))
    if share > 0.01:
        guard_px = guard_band(spec)
        where = f"lie within {guard_px} px of" if guard_px else "are also"
        reporter.notice(
            f"{share:.0%} of the labelled training pixels {where} validation pixels and are left out "
            "(data.split.guard_px)"
        )


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
        raise LabelError(
            f"no training pixel shows class {missing}: label some of it there, or change data.split "
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
