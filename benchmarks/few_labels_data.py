"""Few and weak labels, drawn by a script from full masks as an annotator would: points, scribbles, coarse products.

In: class ids (h, w), 255 where nothing is labelled. Out: the same with most of it 255, or with coarse pixels.

    python benchmarks/few_labels_data.py TILES.csv FOLDER points        # or scribbles, or "coarse 17": a pixel of 17 px
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

UNKNOWN = 255
"""Value of pixels without a label."""
LEAST_PX = 24
"""Smaller regions get no mark, unless their class has no other: nobody marks specks."""
POINT_PX = 1.5
"""Radius of a point."""
SCRIBBLE_PX = 1.0
"""Half the width of a scribble."""
LENGTHS_PX = 15, 60
"""Shortest and longest way from end to end of a scribble."""
TRIES = 5
"""Marks in succession that find no room before drawing ends."""
SHARE = 0.01
"""Most pixels of a mask that are marked."""

Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Draw = Callable[[Mask, NDArray[np.float64], np.random.Generator], Mask]
"""Draws a mark in a region (h, w), given how deep within it each pixel lies; a mask of its pixels."""


def points(labels: Ids, rng: np.random.Generator, share: float = SHARE) -> Ids:
    """Mark discs within regions, away from their borders; see `_marked`."""
    return _marked(labels, rng, share, _point)


def scribbles(labels: Ids, rng: np.random.Generator, share: float = SHARE) -> Ids:
    """Mark smooth curves along the middle of regions; see `_marked`."""
    return _marked(labels, rng, share, _scribble)


def coarse(labels: Ids, factor: int, classes: int) -> Ids:
    """Labels of pixels `factor` times as wide: the most frequent class of each, on the same grid (h, w).

    Unknown pixels have no vote; of classes that are equally frequent the first one counts.
    """
    height, width = labels.shape
    padded = np.pad(labels, ((0, -height % factor), (0, -width % factor)), constant_values=UNKNOWN)
    rows, cols = padded.shape[0] // factor, padded.shape[1] // factor
    cells = padded.reshape(rows, factor, cols, factor)
    votes = np.stack([(cells == index).sum(axis=(1, 3)) for index in range(classes)])
    found = np.where(votes.any(axis=0), votes.argmax(axis=0), UNKNOWN).astype(np.uint8)
    return found.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]


def from_masks(split_csv: Path, folder: Path, kind: str, seed: int = 0) -> Path:
    """Write weak masks of the training rows of a list, and a list with the same images; return its path.

    Args:
        split_csv: a list with the columns image, label (rasters of class ids, 255 where nothing is labelled) and split.
        folder: gets `masks/` and `tiles.csv`; images keep their place, and other rows their masks.
        kind: points, scribbles, or "coarse FACTOR".
        seed: of all draws; a mask depends on it and on its place in the list.
    """
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    with split_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        image, mask = ((split_csv.parent / row[name]).resolve() for name in ("image", "label"))
        row["image"], row["label"] = str(image), str(mask)
        if row["split"] == "train":
            row["label"] = str(_write_weak(mask, folder / "masks", kind, np.random.default_rng((seed, number))))
    path = folder / "tiles.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def _write_weak(mask: Path, folder: Path, kind: str, rng: np.random.Generator) -> Path:
    with rasterio.open(mask) as source:
        labels, profile = source.read(1), source.profile
    name, _, factor = kind.partition(" ")
    if name == "coarse":
        weak = coarse(labels, int(factor), int(labels[labels != UNKNOWN].max(initial=0)) + 1)
    else:
        weak = {"points": points, "scribbles": scribbles}[name](labels, rng)
    path = (folder / mask.name).with_suffix(".tif")
    profile |= {"driver": "GTiff", "nodata": UNKNOWN, "compress": "deflate"}
    with rasterio.open(path, "w", **profile) as target:
        target.write(weak, 1)
    return path


# ------------------------------------------------------------------------------------------------------------- drawing


def _marked(labels: Ids, rng: np.random.Generator, share: float, draw: Draw) -> Ids:
    """Draw marks while they are no more than a share of the pixels (h, w).

    The largest region of each class gets the first ones, then every other region that is no speck, the largest first,
    then regions by chance, as likely as they are large.
    """
    found = np.full_like(labels, UNKNOWN)
    regions = sorted(_regions(labels), key=lambda region: -int(region[1].sum()))
    ranks = [sum(one == index for one, _ in regions[:place]) for place, (index, _) in enumerate(regions)]
    first = sorted(range(len(regions)), key=lambda place: (ranks[place] > 0, place))
    waiting = iter([place for place in first if ranks[place] == 0 or regions[place][1].sum() >= LEAST_PX])
    areas = np.array([region.sum() for _, region in regions], float)
    depths: dict[int, NDArray[np.float64]] = {}
    failed = 0
    while regions and failed < TRIES:
        place = next(waiting, None)
        place = int(rng.choice(len(regions), p=areas / areas.sum())) if place is None else place
        index, region = regions[place]
        if place not in depths:
            depths[place] = distance_transform_edt(np.pad(region, 1, mode="edge"))[1:-1, 1:-1]
        mark = draw(region, depths[place], rng)
        fits = ((found != UNKNOWN) | mark).mean() <= share or index not in found
        failed = 0 if fits else failed + 1
        if fits:
            found[mark] = index
    return found


def _regions(labels: Ids) -> Iterator[tuple[int, Mask]]:
    """The class and the pixels (h, w) of each region of adjoining pixels."""
    for index in np.unique(labels[labels != UNKNOWN]).tolist():
        numbers, count = label(labels == index)
        yield from ((index, numbers == number) for number in range(1, count + 1))


def _point(region: Mask, depth: NDArray[np.float64], rng: np.random.Generator) -> Mask:
    """A disc about a pixel in the inner half of a region, as the deepest one is deep."""
    places = np.argwhere(region & (depth >= min(0.5 * depth.max(), 8.0)))
    return _disc(region, places[rng.integers(len(places))], POINT_PX)


def _scribble(region: Mask, depth: NDArray[np.float64], rng: np.random.Generator) -> Mask:
    """A curve between two pixels in the inner half of a region, along pixels that lie deep in it, smoothed."""
    inner = np.argwhere(region & (depth >= min(0.5 * depth.max(), 8.0)))
    start, length = inner[rng.integers(len(inner))], rng.uniform(*LENGTHS_PX)
    corner = np.maximum(start - int(length), 0)
    rows, cols = (slice(low, high) for low, high in zip(corner, start + int(length) + 1, strict=True))
    path = _way(region[rows, cols], depth[rows, cols], start - corner, length) + corner
    smooth = gaussian_filter1d(path.astype(float), sigma=3, axis=0, mode="nearest")
    found = np.zeros_like(region)
    for place in smooth:
        found |= _disc(region, place, SCRIBBLE_PX)
    return found if found.any() else _disc(region, start, SCRIBBLE_PX)


def _way(region: Mask, depth: NDArray[np.float64], start: NDArray[np.intp], length: float) -> NDArray[np.intp]:
    """Pixels (n, 2) from a start to a deep pixel of its region about a length away; deep pixels cost less."""
    numbers = np.full(region.shape, -1)
    places = np.argwhere(region)
    numbers[region] = np.arange(len(places))
    cost = 1 / (1 + depth) ** 2
    pairs, costs = [], []
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        both = region[one] & region[other]
        pairs.append(np.stack([numbers[one][both], numbers[other][both]]))
        costs.append((cost[one] + cost[other])[both])
    ends, weights = np.concatenate(pairs, axis=1), np.concatenate(costs)
    graph = coo_array((weights, (ends[0], ends[1])), shape=(len(places),) * 2).tocsr()
    first = int(numbers[tuple(start)])
    far, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    apart = np.hypot(*(places - start).T)
    last = int(np.argmin(np.where(np.isfinite(far), np.abs(apart - length) - depth[region], np.inf)))
    way = [last]
    while way[-1] != first:
        way.append(int(before[way[-1]]))
    return places[way]


def _disc(region: Mask, place: NDArray[np.floating] | NDArray[np.intp], radius: float) -> Mask:
    """Pixels of a region within a radius of a place (row, column)."""
    rows, cols = (slice(max(0, int(at - radius)), int(at + radius) + 2) for at in place)
    near = np.argwhere(region[rows, cols]) + np.array([rows.start, cols.start])
    kept = near[((near - place) ** 2).sum(axis=1) <= radius**2]
    disc = np.zeros_like(region)
    disc[tuple(kept.T)] = True
    return disc


if __name__ == "__main__":
    print(from_masks(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
