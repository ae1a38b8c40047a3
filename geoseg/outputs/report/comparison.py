"""The page of a comparison of models: scores and differences with their intervals. In: compared scores. Out: a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.files import draft_of
from geoseg.metrics.comparison import Estimate
from geoseg.outputs.comparison_table import ComparedModel
from geoseg.outputs.report.axis import ChartAxis
from geoseg.outputs.report.page import render_page
from geoseg.spec import ClassSpec


@dataclass(frozen=True)
class ComparisonPage:
    """Contents of the page."""

    title: str
    """Heading of the page."""
    classes: Sequence[ClassSpec]
    """Classes by index."""
    rows: Sequence[ComparedModel]
    """The models, the best first."""
    baseline: str
    """Name of the model from which differences are taken."""
    facts: Mapping[str, str]
    """What was compared, and how."""


@dataclass(frozen=True)
class Whisker:
    """An interval as a line in a chart, in percent of the chart's width."""

    at: float
    """The figure."""
    low: float
    """The lower end of its interval."""
    width: float
    """Width of its interval."""


def write_comparison_page(page: ComparisonPage, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        OutputError: if it cannot be written there.
    """
    text = render_comparison(page)
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")  # file names may hold any bytes


def render_comparison(page: ComparisonPage) -> str:
    """The HTML of the page."""
    mious = [row.compared.miou for row in page.rows]
    differences = [row.compared.miou_difference for row in page.rows]
    boundaries = [row.compared.boundary_miou_difference for row in page.rows]
    best = {
        one.name: max((row.compared.iou[one.name].value or 0.0 for row in page.rows), default=0.0)
        for one in page.classes
    }
    return render_page(
        page,
        "comparison.html.jinja",
        best=best,
        charts=[
            _chart("mIoU", mious),
            _chart(f"mIoU less that of {page.baseline}", differences, zero=True),
            *(
                [_chart(f"boundary mIoU less that of {page.baseline}", boundaries, zero=True)]
                if any(one.value is not None for one in boundaries)
                else []
            ),
        ],
    )


def _chart(title: str, estimates: Sequence[Estimate], *, zero: bool = False) -> tuple[Any, ...]:
    """A chart for the template: its title, its ticks, the lines of the models, and where 0 lies, if it is drawn."""
    axis = _axis([*estimates, Estimate(0.0, None)] if zero else estimates)
    return title, axis.ticks(), [whisker(one, axis) for one in estimates], axis.at(0.0) if zero else None


def _axis(estimates: Sequence[Estimate]) -> ChartAxis:
    """An axis that holds all figures and their intervals."""
    ends = [end for one in estimates if one.interval for end in (one.interval.low, one.interval.high)]
    return ChartAxis.spanning([*ends, *(one.value for one in estimates if one.value is not None)] or [0.0, 1.0])


def whisker(estimate: Estimate, axis: ChartAxis) -> Whisker | None:
    """The line of a figure; None if it has no value."""
    if estimate.value is None:
        return None
    if estimate.interval is None:
        return Whisker(axis.at(estimate.value), axis.at(estimate.value), 0.0)
    low, high = axis.at(estimate.interval.low), axis.at(estimate.interval.high)
    return Whisker(axis.at(estimate.value), low, high - low)
