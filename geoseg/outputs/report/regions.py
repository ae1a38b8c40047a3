"""The page of regions that were left out: their scores, mean and range. In: scores of all regions. Out: a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.files import draft_of
from geoseg.metrics.region_scores import AllRegions
from geoseg.outputs.report.page import render_page
from geoseg.spec import ClassSpec


@dataclass(frozen=True)
class RegionsPage:
    """Contents of the page."""

    title: str
    """Heading of the page."""
    classes: Sequence[ClassSpec]
    """Classes by index."""
    found: AllRegions
    """Scores of all regions."""
    facts: Mapping[str, str]
    """What was trained and scored, and how."""
    settings: str
    """The resolved config as YAML."""


def write_regions_page(page: RegionsPage, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        OutputError: if it cannot be written there.
    """
    text = render_page(page, "regions.html.jinja", headline=page.found.pooled.headline)
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")  # file names may hold any bytes
