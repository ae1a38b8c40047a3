"""Scores as text: figures with their intervals, and a line on how these were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.cli.terminal import table

if TYPE_CHECKING:
    from geoseg.metrics.interval import Interval
    from geoseg.metrics.region_scores import AllRegions
    from geoseg.metrics.scores import Scores
    from geoseg.metrics.spread import ScoreSpread


def scores_text(scores: Scores) -> str:
    """Write all scores: over all classes, by class, and how their intervals were found."""
    parts = scores_line(scores), scores_table(scores), intervals_line(scores)
    return "\n".join(part for part in parts if part)


def scores_line(scores: Scores) -> str:
    """Write the scores over all classes on a line, and of how many classes they are if some are not labelled."""
    labelled, known = scores.labelled_classes, len(scores.confusion)
    of = f" ({labelled} of {known} classes are labelled)" if 0 < labelled < known else ""
    figures = (
        f"{figure.words.label} {with_interval(figure.value, scores.interval(figure.name))}"
        for figure in scores.headline
    )
    return ", ".join(figures) + of


def scores_table(scores: Scores) -> str:
    """Write the scores of each class as a table, intervals below figures, and below it the other names of columns."""
    columns = scores.columns
    rows = []
    for name in scores.iou:
        found = [scores.interval(column.name, name) for column in columns]
        rows.append((name, *(figure_of(column.value[name], one) for column, one in zip(columns, found, strict=True))))
        if any(found):
            rows.append(("", *("" if one is None else one.text("\N{EN DASH}") for one in found)))
    others = ", ".join(f"{column.words.label}: {column.words.also}" for column in columns if column.words.also)
    lines = table([("class", *(column.words.label for column in columns)), *rows])
    return f"{lines}\n  ({others})" if others else lines


def spread_table(spread: ScoreSpread) -> str:
    """Write the mean and the spread of every score as a table."""
    rows = [
        (label, *(score(value) for value in (one.mean, one.lowest, one.highest, one.deviation)))
        for label, one in spread.rows()
    ]
    return table([("score", "mean", "lowest", "highest", "standard deviation"), *rows])


def regions_text(found: AllRegions) -> str:
    """Write the scores of regions that were left out as a table, and their mean, range and the worst."""
    names = list(found.pooled.iou)
    rows = [
        (
            one.region,
            figure_of(one.scores.miou, one.scores.interval("miou")),
            *((score(None if one.home is None else one.home.miou),) if found.home_spread else ()),
            *(score(one.scores.iou[name]) for name in names),
        )
        for one in found.regions
    ]
    lines = table([("left out", "mIoU", *(("at home",) if found.home_spread else ()), *names), *rows])
    miou, home = found.spread.overall["miou"], found.home_spread
    at_home = "" if home is None else f"; at home {score(home.overall['miou'].mean)}"
    return (
        f"{lines}\nmIoU in regions that were left out: {score(miou.mean)} on average, {score(miou.lowest)} "
        f"({found.worst.region}) to {score(miou.highest)}{at_home}"
    )


def intervals_line(scores: Scores) -> str:
    """Write how intervals were found, or why there are none; nothing of scores for which none were wanted."""
    found = scores.intervals
    if found is None:
        return ""
    more = "; more with --block-px, as long as neighbouring ones are not alike"
    return found.describe() + ("" if found.is_known else more)


def with_interval(value: float | None, interval: Interval | None) -> str:
    """Write a score with its interval in brackets, if it has one."""
    ends = "" if interval is None else f" ({interval.text()})"
    return f"{figure_of(value, interval)}{ends}"


def figure_of(value: float | None, interval: Interval | None) -> str:
    """Write a score with a digit more than the ends of its interval."""
    return score(value) if value is None or interval is None else f"{value:.{min(4, interval.digits + 1)}f}"


def score(value: float | None) -> str:
    """Write a score with four digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"
