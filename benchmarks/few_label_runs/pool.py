"""A pool of windows of labelled tiles whose labels are revealed bit by bit, as an annotator would give them.

In: the CSV of a set of labelled tiles. Out: the CSV of the tiles with labels in the revealed windows alone.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from geoseg.spec import IGNORE

from .tiles import absolute

Place = tuple[str, int, int]
"""A window: path of its image, first row, first column."""


@dataclass(frozen=True)
class Pool:
    """The training tiles of a set, cut into windows."""

    rows: tuple[dict[str, str], ...]
    """The lines of the CSV, with absolute paths."""
    side: int
    """Side of a window in pixels."""

    @classmethod
    def of(cls, listing: Path, side: int) -> Pool:
        """The pool of a CSV with the columns image, label and split."""
        with listing.open(newline="", encoding="utf-8") as file:
            return cls(tuple(absolute(row, listing.parent) for row in csv.DictReader(file)), side)

    @property
    def tiles(self) -> list[dict[str, str]]:
        """The training tiles."""
        return [row for row in self.rows if row["split"] == "train"]

    def places(self) -> list[Place]:
        """All windows of the training tiles."""
        found = []
        for row in self.tiles:
            with rasterio.open(row["image"]) as image:
                starts = (range(0, length, self.side) for length in image.shape)
                found += [(row["image"], i, j) for i in next(starts) for j in range(0, image.width, self.side)]
        return found

    def first(self, count: int, seed: int) -> list[Place]:
        """So many windows drawn at random, in which each class that the tiles show occurs."""
        places, rng = self.places(), np.random.default_rng(seed)
        shown = [self._classes(place) for place in places]
        everything = set().union(*shown)
        while True:
            chosen = rng.permutation(len(places))[:count]
            if set().union(*(shown[i] for i in chosen)) == everything:
                return [places[i] for i in chosen]

    def more(self, count: int, known: Collection[Place], seed: int) -> list[Place]:
        """So many further windows drawn at random."""
        left = [place for place in self.places() if place not in set(known)]
        rng = np.random.default_rng((seed, len(known)))
        return [left[i] for i in rng.permutation(len(left))[:count]]

    def reveal(self, known: Sequence[Place], folder: Path) -> Path:
        """Write masks with the labels of some windows, and the CSV of these tiles and of the validation side."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [row for row in self.rows if row["split"] == "val"]
        for row in self.tiles:
            own = [(i, j) for image, i, j in known if image == row["image"]]
            path = folder / Path(row["label"]).name
            if own:
                self._write_mask(Path(row["label"]), own, path)
                lines.append(row | {"label": str(path)})
        listing = folder / "tiles.csv"
        with listing.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["image", "label", "split"], extrasaction="ignore")
            table.writeheader()
            table.writerows(lines)
        return listing

    def _write_mask(self, label: Path, own: Sequence[tuple[int, int]], path: Path) -> None:
        with rasterio.open(label) as file:
            ids, profile = file.read(1), file.profile
        shown = np.full_like(ids, IGNORE)
        for i, j in own:
            where = slice(i, i + self.side), slice(j, j + self.side)
            shown[where] = ids[where]
        with rasterio.open(path, "w", **{**profile, "nodata": IGNORE}) as file:
            file.write(shown, 1)

    def _classes(self, place: Place) -> set[int]:
        image, i, j = place
        label = next(row["label"] for row in self.tiles if row["image"] == image)
        with rasterio.open(label) as file:
            ids = file.read(1, window=((i, i + self.side), (j, j + self.side)))
        return {*np.unique(ids).tolist()} - {IGNORE}
