"""The page of a report: contents rendered by templates, and written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray

from geoseg.core.files import draft_of
from geoseg.core.version import __version__
from geoseg.metrics.scores import ClassFigures, Figure, Scores
from geoseg.outputs.report.charts import class_chart, small_charts
from geoseg.outputs.report.colours import PAPER, legible
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.pictures import pictures, suspect_pictures
from geoseg.outputs.report.reliability import show_calibration
from geoseg.outputs.report.tables import matrix_row, mistakes, occurs, p_value, percent, score, shares, signed
from geoseg.spec import ClassSpec


def write_report(report: Report, path: Path) -> None:
    """Write the report to `path`, atomically.

    Raises:
        OutputError: if it cannot be written there.
    """
    page = render(report)
    with draft_of(path) as draft:
        draft.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")  # file names may hold any bytes


@cache
def _template() -> Template:
    loader = PackageLoader("geoseg.outputs.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"score": score, "signed": signed, "percent": percent, "p_value": p_value}
    return environment.get_template("page.html.jinja")


class Rules:
    """Rules of the style sheet for single elements, by the class that the element gets instead of an inline style.

    Attributes:
        classes: name of the class by its declarations, e.g. "top:12.5%".
    """

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}

    def add(self, declarations: str) -> str:
        """The name of the class with these declarations."""
        return self.classes.setdefault(declarations, f"s{len(self.classes)}")


class Titled(Protocol):
    """Contents of a page."""

    @property
    def title(self) -> str:
        """Heading of the page."""
        ...

    @property
    def classes(self) -> Sequence[ClassSpec]:
        """Classes by index, whose colours the page has."""
        ...


def render_page(report: Titled, body: str, **parts: Any) -> str:
    """The HTML of a page.

    Args:
        report: its contents.
        body: template of its body.
        parts: what that needs besides.
    """
    rules = Rules()
    return _template().render(
        report=report,
        body_template=body,
        version=__version__,
        rules=rules.classes,
        rule=rules.add,
        part=lambda share: rules.add(f"--part:{share:.3f}"),
        paper=PAPER,
        curve_colors=[{scheme: legible(c.color, paper) for scheme, paper in PAPER.items()} for c in report.classes],
        **parts,
    )


@dataclass(frozen=True)
class ShownScores:
    """The figures of one side of a split, as tables show them."""

    scores: Scores
    """All of them."""
    headline: Sequence[Figure[float | None]]
    """Over all classes."""
    columns: Sequence[Figure[ClassFigures]]
    """By class."""
    shares: Sequence[float]
    """Share of the labelled pixels per true class."""


def _shown(scores: Scores) -> ShownScores:
    return ShownScores(
        scores,
        [one for one in scores.headline if one.value is not None or not one.needs_boundaries],
        [one for one in scores.columns if occurs(one.value) or not one.needs_boundaries],
        shares(scores.confusion),
    )


def render(report: Report) -> str:
    """The HTML of a report."""
    examples = [*report.worst, *report.best]
    shown = _shown(report.scores)
    return render_page(
        report,
        "body.html.jinja",
        scores=report.scores,
        main=shown,
        calibration=report.calibration and show_calibration(report.calibration),
        test=report.test_scores and _shown(report.test_scores),
        headline=shown.headline,
        columns=shown.columns,
        shares=shown.shares,
        matrix=[matrix_row(row, true) for true, row in enumerate(report.scores.confusion)],
        mistakes=mistakes(report),
        charts=small_charts(report),
        class_chart=class_chart(report),
        windows=[
            ("Worst windows", [(one, pictures(one, report.classes)) for one in report.worst]),
            ("Best windows", [(one, pictures(one, report.classes)) for one in report.best]),
        ],
        suspects=[(one, suspect_pictures(one, report.classes)) for one in report.suspects],
        suspect_classes=_indexes([ids for one in report.suspects for ids in (one.label, one.predicted)]),
        shown=_indexes([ids for one in examples for ids in (one.label, one.predicted)]),
    )


def _indexes(pictured: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Class indexes that occur in any of some arrays."""
    return sorted({int(index) for indexes in pictured for index in np.unique(indexes)})
