"""The labelled tiles of two regions in one list: one to learn from, one to be scored on.

In: the CSV of each region's tiles, with the columns image, label and split. Out: a CSV whose column `legend` says how
the labels of a tile are read, and the images of the other region that have labels nobody learns.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from few_label_runs.tiles import Row, absolute

COLUMNS = ["image", "label", "split", "legend"]


@dataclass(frozen=True)
class Ground:
    """What a run learns from, and is scored on."""

    listing: Path
    """CSV: training tiles of one region, validation tiles of another, or of the same."""
    target: tuple[str, ...]
    """Training images of the region on which it is scored."""


def lay_ground(regions: Mapping[str, Path], learnt: str, scored: str, folder: Path) -> Ground:
    """Write the list of the training tiles of one region and the validation tiles of another.

    Args:
        regions: CSV of each region's tiles by its name.
        learnt: region whose labels are learnt.
        scored: region on which models are scored.
        folder: gets the CSV.
    """
    rows = [*_rows(regions[learnt], learnt, "train"), *_rows(regions[scored], scored, "val")]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{learnt}-{scored}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return Ground(path, tuple(row["image"] for row in _rows(regions[scored], scored, "train")))


def _rows(listing: Path, legend: str, side: str) -> list[Row]:
    with listing.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == side]
    return [absolute(row, listing.parent) | {"legend": legend} for row in rows]
