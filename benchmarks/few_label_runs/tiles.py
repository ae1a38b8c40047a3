"""Lists of tiles of which only some are labelled.

In: the CSV of a set of labelled tiles. Out: the CSV of a part of them, and the images of the others.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from few_labels_data import from_masks

Row = dict[str, str]


@dataclass(frozen=True)
class PartlyLabelled:
    """A set of tiles of whose training side some are labelled."""

    listing: Path
    """CSV of the labelled tiles and those of the other sides."""
    unlabelled: tuple[str, ...]
    """Images of the training tiles that are not labelled."""


def label_some(listing: Path, share: float, seed: int, folder: Path) -> PartlyLabelled:
    """Choose a share of the training tiles at random, so that each class that they show is among them.

    Args:
        listing: CSV with the columns image, label and split, and pixels by class in columns n0_..., n1_....
        share: of the training tiles that are labelled.
        seed: of the choice; equal seeds give equal tiles, whatever is trained on them.
        folder: gets the CSV.
    """
    with listing.open(newline="", encoding="utf-8") as file:
        rows = [absolute(row, listing.parent) for row in csv.DictReader(file)]
    training = [row for row in rows if row["split"] == "train"]
    chosen = _with_all_classes(training, round(share * len(training)), np.random.default_rng(seed))
    labelled = {row["image"] for row in chosen}
    kept = [row for row in rows if row["split"] != "train" or row["image"] in labelled]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"labelled-{share:g}-{seed}.csv"
    _write(path, [row for row in kept if row["split"] in ("train", "val")])
    return PartlyLabelled(path, tuple(row["image"] for row in training if row["image"] not in labelled))


def weak_labels(listing: Path, marks: str, seed: int, folder: Path) -> Path:
    """Write the CSV of all tiles, with marks instead of full masks on the training side; once for each seed.

    Args:
        listing: CSV with the columns image, label and split.
        marks: points, scribbles, or "coarse 17": pixels as wide as 17.
        seed: of the draw.
        folder: gets the masks and the CSV.
    """
    own = folder / f"{marks.replace(' ', '-')}-{seed}"
    found = own / "part.csv"
    if not found.exists():
        with from_masks(listing, own, marks, seed).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        _write(found, [row for row in rows if row["split"] in ("train", "val")])
    return found


def absolute(row: Row, folder: Path) -> Row:
    """A line of a CSV with absolute paths, given the folder of the CSV."""
    return row | {key: str((folder / row[key]).absolute()) for key in ("image", "label")}


def _with_all_classes(rows: Sequence[Row], count: int, rng: np.random.Generator) -> list[Row]:
    pixels = np.array([[int(value) for key, value in row.items() if _counts(key)] for row in rows])
    while True:
        chosen = rng.permutation(len(rows))[:count]
        if ((pixels[chosen].sum(axis=0) > 0) == (pixels.sum(axis=0) > 0)).all():
            return [rows[i] for i in sorted(chosen)]


def _counts(column: str) -> bool:
    return column[:1] == "n" and column[1:2].isdigit()


def _write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["image", "label", "split"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
