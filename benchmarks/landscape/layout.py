"""Where things lie in a scene: sites, parcels, and the class of bare ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .task import FARM, GUARD_PX, LEAST_BARE, QUARRY, TRIES, Floats, Points, Task


@dataclass(frozen=True)
class Sites:
    """Farms and quarries."""

    centres: Points
    kinds: NDArray[np.int64]

    def distances(self, task: Task, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Distance of each place from the nearest farm and from the nearest quarry."""
        from_each = np.hypot(x[..., None] - self.centres[:, 0], y[..., None] - self.centres[:, 1]) - task.site_px
        return from_each[..., self.kinds == FARM].min(axis=-1), from_each[..., self.kinds == QUARRY].min(axis=-1)

    def room(self, task: Task, x: Floats, y: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where bare ground of each kind may lie."""
        farm, quarry = self.distances(task, x, y)
        near, far = task.reach_px + GUARD_PX, task.reach_px + task.spread_px - GUARD_PX
        fits = [
            (own > near) & (own < far) & (other > own + task.margin_px)
            for own, other in ((farm, quarry), (quarry, farm))
        ]
        return fits[FARM], fits[QUARRY]


def lay_out_sites(task: Task, rng: np.random.Generator) -> Sites:
    """Of many random layouts, the one that leaves most room for bare parcels of the kind that finds less."""
    y, x = np.mgrid[0 : task.side : 32, 0 : task.side : 32].astype(np.float32)
    kinds = np.arange(task.sites) % 2
    edge = task.site_px + GUARD_PX
    layouts = []
    for _ in range(60):
        sites = Sites(rng.uniform(edge, task.side - edge, (task.sites, 2)), kinds)
        between = np.hypot(*(sites.centres[:, None] - sites.centres[None]).transpose(2, 0, 1))
        apart = between[np.triu_indices(task.sites, 1)].min() > 2 * edge
        layouts.append((apart * min(float(fits.sum()) for fits in sites.room(task, x, y)), sites))
    return max(layouts, key=lambda layout: layout[0])[1]


def split_land(task: Task, rng: np.random.Generator) -> list[Points]:
    """Split the land again and again until the parcels have their usual size; all are convex, and cover the scene."""
    turn, half = rng.uniform(0, math.pi / 2), task.side * 0.75
    waiting, parcels = [square((task.side / 2, task.side / 2), half, turn)], []
    while waiting:
        parcel = waiting.pop()
        if parcel.max() < 0 or (parcel.min(axis=0) > task.side).any() or (parcel.max(axis=0) < 0).any():
            continue
        if area(parcel) < task.parcel_px**2 * rng.uniform(0.7, 2.4):
            parcels.append(parcel)
        else:
            waiting += halves(parcel, turn, rng)
    return parcels


def halves(parcel: Points, turn: float, rng: np.random.Generator) -> list[Points]:
    """Cut a convex polygon across its longer side."""
    along = [np.ptp(parcel @ (math.cos(a), math.sin(a))) for a in (turn, turn + math.pi / 2)]
    angle = turn + (math.pi / 2 if along[1] > along[0] * rng.uniform(0.75, 1.3) else 0) + rng.normal(0, 0.09)
    normal = np.array([math.cos(angle), math.sin(angle)])
    places = parcel @ normal
    cut = places.min() + np.ptp(places) * rng.uniform(0.34, 0.66)
    return [clipped(parcel, normal, cut), clipped(parcel, -normal, -cut)]


def clipped(parcel: Points, normal: Points, cut: float) -> Points:
    """The part of a convex polygon where place @ normal <= cut."""
    kept = []
    for one, next_ in zip(parcel, np.roll(parcel, -1, axis=0), strict=True):
        a, b = one @ normal - cut, next_ @ normal - cut
        if a <= 0:
            kept.append(one)
        if a * b < 0:
            kept.append(one + (next_ - one) * a / (a - b))
    return np.array(kept)


def area(outline: Points) -> float:
    """Square pixels inside of a polygon."""
    x, y = outline.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def choose_bare(task: Task, sites: Sites, parcels: list[Points], rng: np.random.Generator) -> dict[int, int]:
    """Which parcels are bare, and the kind of each: as many farms' as quarries', in pairs of like size."""
    y, x = np.mgrid[2 : task.side : 4, 2 : task.side : 4].astype(np.float32)
    numbers = Image.new("I", (x.shape[1], x.shape[0]))
    pen = ImageDraw.Draw(numbers)
    for number, parcel in enumerate(parcels, start=1):
        pen.polygon([(px, py) for px, py in (parcel / 4).tolist()], fill=number)
    inside = np.asarray(numbers).ravel()
    sizes = np.bincount(inside, minlength=len(parcels) + 1)
    found = []
    for fits in sites.room(task, x, y):
        room = np.bincount(inside, fits.ravel(), len(parcels) + 1)
        whole = np.nonzero((sizes > task.parcel_px**2 / 16 / 4) & (room == sizes))[0]
        found.append([int(number) for number in rng.permutation(whole[whole > 0])])
    one = int(rng.integers(2))
    pairs = _paired(found[one], found[1 - one], sizes, task.bare_share)
    return {number - 1: kind for pair in pairs for number, kind in zip(pair, (one, 1 - one), strict=True)}


def _paired(ones: list[int], others: list[int], sizes: NDArray[np.int64], share: float) -> Iterator[tuple[int, int]]:
    """Pairs of parcels whose sizes differ by a quarter at most; parcels that find no partner are left out."""
    free = list(others)
    for one in ones[: math.ceil(len(ones) * share)]:
        if not free:
            return
        partner = min(free, key=lambda other: abs(math.log(sizes[other] / sizes[one])))
        if max(sizes[partner], sizes[one]) <= 1.25 * min(sizes[partner], sizes[one]):
            free.remove(partner)
            yield one, partner


@dataclass(frozen=True)
class Plan:
    """What lies where, and of which kind it is."""

    sites: Sites
    parcels: list[Points]
    bare: dict[int, int]
    """Kind of each bare parcel by its index."""


def make_plan(task: Task, rng: np.random.Generator) -> Plan:
    """Lay out sites and parcels.

    Raises:
        ValueError: Scenes are too small for bare parcels so far from the sites.
    """
    for _ in range(TRIES):
        sites, parcels = lay_out_sites(task, rng), split_land(task, rng)
        bare_kinds = choose_bare(task, sites, parcels, rng)
        if len(bare_kinds) >= LEAST_BARE:
            return Plan(sites, parcels, bare_kinds)
    raise ValueError(
        f"No room for bare parcels {task.reach_px} pixels from the sites in scenes {task.side} pixels wide: "
        "choose a larger side or a shorter reach."
    )


def square(centre: tuple[float, float], half: float, turn: float, aspect: float = 1.0) -> Points:
    """A turned square, or a rectangle of another aspect."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half, half * aspect)
    cos, sin = math.cos(turn), math.sin(turn)
    return corners @ np.array([(cos, sin), (-sin, cos)]) + centre


def blob(centre: Points, radius: float, rng: np.random.Generator, rough: float = 0.12) -> Points:
    """A rounded outline that stays inside of the radius."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    bays = sum(rng.uniform(0, rough / k) * (1 - np.cos(k * angles + rng.uniform(0, 7))) for k in (1, 2, 3, 5))
    return centre + radius * np.clip(1 - bays, 0.3, 1)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def winding(start: Points, end: Points, rng: np.random.Generator, bends: float) -> Points:
    """A line that winds from start to end."""
    place = np.linspace(0, 1, 60)
    across = np.array([start[1] - end[1], end[0] - start[0]])
    bend = sum(rng.normal(0, bends / k) * np.sin(k * math.pi * place) for k in (1, 2, 3, 4, 7))
    return start + place[:, None] * (end - start) + bend[:, None] * across
