"""The calibration in a report: the reliability diagram, and the figures with the temperature and without.

In: a calibration. Out: a chart, and rows of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.metrics.calibration.calibration import Calibration, CalibrationFigures
from geoseg.metrics.metric import Wording
from geoseg.outputs.report.axis import ChartAxis
from geoseg.outputs.report.charts import Chart
from geoseg.outputs.report.curves import Line, Point, draw_line

_HEIGHT_PX = 280
"""Height of the diagram in CSS pixels."""
LEAST_SHARE = 0.001
"""Share of all pixels below which a bin is no point of the diagram: of so few, the share of right ones is chance."""


@dataclass(frozen=True)
class CalibrationRow:
    """A figure with the temperature and without."""

    words: Wording
    """Its wording."""
    value: float | None
    """With the temperature."""
    plain: float | None
    """Without."""


@dataclass(frozen=True)
class ShownCalibration:
    """The calibration as a report shows it."""

    temperature: float
    """The model's temperature."""
    chart: Chart
    """The reliability diagram."""
    rows: Sequence[CalibrationRow]
    """The figures over all classes."""
    classes: Sequence[tuple[str, Sequence[CalibrationRow]]]
    """The figures of each class, by its name."""

    @property
    def is_warmed(self) -> bool:
        """Whether the temperature changes anything."""
        return self.temperature != 1


def show_calibration(found: Calibration) -> ShownCalibration:
    """The diagram and the tables of a calibration."""
    overall = zip(found.figures.headline, found.plain.headline, strict=True)
    columns = list(zip(found.figures.columns, found.plain.columns, strict=True))
    names = list(columns[0][0].value) if columns else []
    return ShownCalibration(
        found.temperature,
        reliability_chart(found),
        [CalibrationRow(own.words, own.value, plain.value) for own, plain in overall],
        [
            (name, [CalibrationRow(own.words, own.value[name], plain.value[name]) for own, plain in columns])
            for name in names
        ],
    )


def reliability_chart(found: Calibration) -> Chart:
    """Share of right pixels by confidence; on the diagonal a confidence is what it says."""
    axis = ChartAxis(0.0, 1.0, 0.2)
    curves = {"with temperature": found.figures, "without": found.plain}
    if found.temperature == 1:
        curves = {"this model": found.figures}
    lines = [Line("as it should be", "ideal", "M0 100L100 0", "", (100.0, 0.0), 0.0)]
    for css, (name, figures) in zip(("only", "second"), curves.items(), strict=False):
        if points := _points(figures, axis):
            lines.append(draw_line(name, css, points))
    return Chart(
        title="Right pixels by confidence",
        css="",
        height_px=_HEIGHT_PX,
        x_ticks=axis.ticks(),
        y_ticks=[(100 - at, text) for at, text in axis.ticks()],
        lines=lines,
        x_name="sure",
    )


def _points(figures: CalibrationFigures, axis: ChartAxis) -> list[Point]:
    """Positions of the bins that hold enough pixels."""
    least = LEAST_SHARE * sum(one.pixels for one in figures.bins)
    return [(axis.at(one.confidence), 100 - axis.at(one.right)) for one in figures.bins if one.pixels >= least]
