"""The table of a comparison of models, as CSV: a row per model. In: compared scores. Out: the file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.core.files import draft_of
from geoseg.metrics.comparison import BOUNDARY, ComparedScores, Difference, Estimate


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison."""

    name: str
    """Its name in the table."""
    path: str
    """The model file."""
    bands: tuple[str, ...]
    """The bands that it takes."""
    resolution_m: float | None
    """Ground resolution that it was trained on, in metres."""
    compared: ComparedScores
    """Its scores, and their differences from the baseline's."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = self.compared
        return {
            "name": self.name,
            "path": self.path,
            "bands": list(self.bands),
            "resolution_m": self.resolution_m,
            "miou": asdict(found.miou),
            "miou_difference": asdict(found.miou_difference),
            "boundary_miou": asdict(found.boundary_miou),
            "boundary_miou_difference": asdict(found.boundary_miou_difference),
            "iou": {name: asdict(one) for name, one in found.iou.items()},
            "iou_difference": {name: asdict(one) for name, one in found.iou_difference.items()},
            "scores": found.scores.as_dict(),
        }


def write_comparison_table(rows: Sequence[ComparedModel], path: Path) -> None:
    """Write the table, atomically; figures have all digits, and are empty where there is nothing to divide by.

    Raises:
        OutputError: if it cannot be written there.
    """
    lines = [_line(row) for row in rows]
    with draft_of(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, lines[0])
        table.writeheader()
        table.writerows(lines)


def _line(row: ComparedModel) -> dict[str, str | float | None]:
    """The columns of a model."""
    found = row.compared
    line: dict[str, str | float | None] = {"model": row.name, "path": row.path, "bands": " ".join(row.bands)}
    line |= _estimate("miou", found.miou) | _difference("miou difference", found.miou_difference)
    line |= _estimate(BOUNDARY, found.boundary_miou) | _difference(
        f"{BOUNDARY} difference", found.boundary_miou_difference
    )
    line |= {name: value for name, value in found.scores.overall.items() if name not in ("miou", BOUNDARY)}
    for name, iou in found.iou.items():
        line |= _estimate(f"iou {name}", iou) | _difference(f"iou {name} difference", found.iou_difference[name])
    return line


def _estimate(name: str, found: Estimate) -> dict[str, float | None]:
    """A figure and the ends of its interval."""
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    return {name: found.value, f"{name} low": low, f"{name} high": high}


def _difference(name: str, found: Difference) -> dict[str, float | None]:
    """A difference, the ends of its interval, and p."""
    return _estimate(name, found) | {f"{name} p": found.p}
