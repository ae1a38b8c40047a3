"""Charts of a report: figures over the epochs of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.outputs.report.axis import ChartAxis
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.curves import Line, Point, draw_line, is_drawable, place, spread

_CHART_PX, _CLASS_CHART_PX, _NAME_PX = 200, 280, 17
"""Height in CSS pixels of a small chart, of that of the classes at least, and of a class name beside it."""
_CURVES = "only", "second"
"""Classes in the style sheet of the curves of a small chart."""


@dataclass(frozen=True)
class Chart:
    """One diagram over the epochs."""

    title: str
    css: str
    height_px: int
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    x_name: str = "epoch"
    """What the x axis shows."""
    best_at: float | None = None
    """Position of the best epoch on the x axis; None if it is not shown."""
    best_point: tuple[float, float, str] | None = None
    """Point of the best epoch on a curve, and what to write there."""


def small_charts(report: Report) -> list[Chart]:
    """The small charts, without those that have no values."""
    charts = [
        _small_chart(report, "Validation mIoU", {"miou": "mIoU", "student_miou": "before averaging"}, point=True),
        _small_chart(report, "Loss", {"loss": "in training", "val_loss": "in validation"}),
        _small_chart(report, "Parts of the loss", {"labelled": "labelled", "unlabelled": "without labels"}),
        _small_chart(report, "Sure pixels", {"confident": "share of those without labels"}),
        _small_chart(report, "Learning rate", {"learning_rate": "learning rate"}),
    ]
    return [chart for chart in charts if chart]


def _small_chart(report: Report, title: str, names: Mapping[str, str], *, point: bool = False) -> Chart | None:
    """Curves of some columns, by their names, without those that have no values.

    With `point`, the value of the first in the best epoch is written beside it.
    """
    epochs = _epochs(report.history)
    found = {name: column(report.history, key) for key, name in names.items()}
    found = {name: values for name, values in found.items() if any(map(is_drawable, values))}
    if not found:
        return None
    x = ChartAxis.of_epochs(epochs)
    y = ChartAxis.spanning([value for values in found.values() for value in values if is_drawable(value)])
    curves = {name: place(epochs, values, x, y) for name, values in found.items()}
    first, values = next(iter(found.items()))
    return Chart(
        title=title,
        css="",
        height_px=_CHART_PX,
        x_ticks=x.ticks(),
        y_ticks=_upwards(y.ticks()),
        lines=[draw_line(name, css, points) for css, (name, points) in zip(_CURVES, curves.items(), strict=False)],
        best_at=_best_at(report.best_epoch, x),
        best_point=_point_of(report.best_epoch, epochs, values, curves[first]) if point else None,
    )


def class_chart(report: Report) -> Chart | None:
    """IoU of every class, with the names beside the ends of the curves."""
    epochs, y = _epochs(report.history), ChartAxis(0.0, 1.0, 0.2)
    x = ChartAxis.of_epochs(epochs or [0.0])
    curves = [place(epochs, column(report.history, f"iou {c.name}"), x, y) for c in report.classes]
    lines = [draw_line(report.classes[i].name, f"c{i}", points) for i, points in enumerate(curves) if any(points)]
    if not lines:
        return None
    height = max(_CLASS_CHART_PX, _NAME_PX * (len(lines) + 1))
    names_at = spread([line.end[1] for line in lines], 100 * _NAME_PX / height)
    return Chart(
        title="IoU by class",
        css="named",
        height_px=height,
        x_ticks=x.ticks(),
        y_ticks=_upwards(y.ticks()),
        lines=[replace(line, name_at=at) for line, at in zip(lines, names_at, strict=True)],
        best_at=_best_at(report.best_epoch, x),
    )


def _epochs(history: Sequence[Mapping[str, float | None]]) -> list[float]:
    return [float(line.get("epoch") or number) for number, line in enumerate(history, 1)]


def column(history: Sequence[Mapping[str, float | None]], key: str) -> list[float]:
    """Values of a key, epoch by epoch; NaN where there is none."""
    values = (line.get(key) for line in history)
    return [math.nan if value is None else float(value) for value in values]


def _upwards(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    return [(100 - at, text) for at, text in ticks]


def _best_at(best_epoch: int | None, x: ChartAxis) -> float | None:
    return x.at(best_epoch) if best_epoch is not None and x.low <= best_epoch <= x.high else None


def _point_of(
    epoch: int | None, epochs: Sequence[float], values: Sequence[float], points: Sequence[Point | None]
) -> tuple[float, float, str] | None:
    """Position and text of an epoch's value; None if there is no such epoch, or no value."""
    found = (p and (*p, f"{v:.3f}") for e, v, p in zip(epochs, values, points, strict=True) if e == epoch)
    return next(found, None)
