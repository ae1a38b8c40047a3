"""Land cover as an aerial camera sees it, in which bare soil is a field or a quarry's by what lies far away.

Sites lie in a country of pastures, woods, ponds, roads and houses: farms amid striped crops, and quarries with pits,
spoil heaps and sheds. Bare parcels lie at least ``reach_px`` from every site, and belong to the class of the nearest.
One function, which does not know the class, draws colour, texture and outline of all bare parcels, and parcels of both
classes come in pairs of like size: what a pixel sees within ``reach_px`` holds nothing of its class. A network that
sees no farther finds the bare parcels and guesses their class by a coin: IoU 1/3 for each of the two, and 1 at best.

    python benchmarks/quarries.py FOLDER --scenes 20 --reach 400      # scenes, their list tiles.csv, and previews
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFilter
from rasterio.transform import from_origin

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
"""(n, 2) x and y in pixels."""
Colour = tuple[float, float, float]

GRASS, WOOD, WATER, ROAD, BUILDING, CROPS, WORKINGS, BARE_FIELD, BARE_QUARRY = range(9)
CLASSES = [
    {"id": GRASS, "name": "grass", "color": "#b7d38c"},
    {"id": WOOD, "name": "wood", "color": "#1f7a3c"},
    {"id": WATER, "name": "water", "color": "#2b7fd0"},
    {"id": ROAD, "name": "road", "color": "#6e6e6e"},
    {"id": BUILDING, "name": "building", "color": "#d7301f"},
    {"id": CROPS, "name": "crops", "color": "#f0d848"},
    {"id": WORKINGS, "name": "workings", "color": "#9a6fc0"},
    {"id": BARE_FIELD, "name": "bare field", "color": "#a5713c"},
    {"id": BARE_QUARRY, "name": "bare quarry", "color": "#f4a6c8"},
]
PAIR = BARE_FIELD, BARE_QUARRY
"""The classes that look the same from near by."""
FARM, QUARRY = 0, 1
"""Kinds of sites; ``PAIR[kind]`` is the class of bare parcels whose nearest site is of that kind."""
PIXEL_M = 0.5

GREENS: list[Colour] = [(104, 128, 72), (118, 138, 80), (96, 120, 74), (132, 144, 88), (140, 142, 90), (112, 126, 84)]
SOILS: list[Colour] = [(150, 124, 96), (178, 154, 120), (166, 152, 132), (160, 122, 96), (140, 122, 104)]
PLANTS: list[Colour] = [(206, 190, 92), (188, 168, 104), (70, 112, 58), (94, 138, 98), (122, 150, 66)]
ROOFS: list[Colour] = [(168, 92, 72), (150, 84, 70), (110, 108, 112), (186, 178, 166), (132, 116, 104)]
LEAVES: list[Colour] = [(58, 84, 46), (70, 98, 52), (50, 74, 48), (84, 104, 56), (76, 92, 60)]
WATERS: list[Colour] = [(52, 70, 76), (66, 84, 80), (58, 72, 62), (80, 92, 82)]
ROCKS: list[Colour] = [(204, 190, 164), (196, 184, 168), (190, 168, 136)]

GUARD_PX = 14
"""How far roughened outlines may stray, twice."""
LEAST_BARE, TRIES = 4, 20
"""Bare parcels that a scene has at least, and layouts that are tried to find room for them."""
STRIP = 64
"""Rows that are worked on at a time: what fits into the caches."""


@dataclass(frozen=True)
class Task:
    """How far the evidence lies, and how large things are; all lengths in pixels of 0.5 m."""

    reach_px: int = 400
    """Least distance of a bare pixel from the nearest pixel of a site."""
    side: int = 2048
    """Side of a scene."""
    parcel_px: int = 90
    """Usual side of a parcel; bare ones among them."""
    site_px: int = 120
    """Radius of a site."""
    spread_px: int = 260
    """A bare pixel lies at most ``reach_px + spread_px`` from the nearest site."""
    margin_px: int = 100
    """So much farther than the nearest site is the nearest of the other kind, at least."""
    bare_share: float = 1.0
    """Share of the parcels at the right distance that are bare, as far as each finds its partner."""

    @property
    def sites(self) -> int:
        """Sites in a scene, half of them farms."""
        pitch = 1.5 * (self.reach_px + self.site_px + self.spread_px)
        return max(2, round((self.side / pitch) ** 2 / 2) * 2)


@dataclass(frozen=True)
class Scene:
    """What a scene shows, and why."""

    image: NDArray[np.uint8]
    """(3, side, side) red, green and blue."""
    labels: NDArray[np.uint8]
    """(side, side) class ids."""
    evidence: NDArray[np.uint8]
    """(side, side) 0, or 1 + the kind of the site that a pixel belongs to."""


# --- surfaces --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """Class and look of a surface."""

    class_id: int
    colour: Colour
    grain: float = 4.0
    """Deviation of the brightness from pixel to pixel."""
    clumps: float = 4.0
    """The same over some 5 pixels."""
    patches: float = 5.0
    """The same over some 40 pixels."""
    rows: float = 0.0
    """Amplitude of the rows."""
    wave: tuple[float, float] = (0.0, 0.0)
    """Radians of the rows per pixel in x and in y."""
    height_m: float = 0.0
    evidence: int = 0


class Sheet:
    """Surfaces drawn over each other: a raster of numbers, and what each number looks like."""

    def __init__(self, surfaces: NDArray[np.int32], looks: list[Look]) -> None:
        self.raster, self.looks = Image.fromarray(surfaces), looks
        self.pen = ImageDraw.Draw(self.raster)

    def _number(self, look: Look) -> int:
        self.looks.append(look)
        return len(self.looks) - 1

    def fill(self, outline: Points, look: Look) -> None:
        """Fill a polygon."""
        self.pen.polygon([(x, y) for x, y in outline.tolist()], fill=self._number(look))

    def line(self, points: Points, width: int, look: Look) -> None:
        """Draw a line with round joints."""
        path = [(x, y) for x, y in points.tolist()]
        self.pen.line(path, fill=self._number(look), width=width, joint="curve")

    def domes(self, centres: Points, radii: Points, looks: list[Look], sun: tuple[float, float]) -> None:
        """Draw round things that take turns in their looks, as three discs: brighter the nearer they lie to the sun."""
        shades = [
            [self._number(replace(look, colour=_scaled(look.colour, light))) for light in (0.72, 1.0, 1.25)]
            for look in looks
        ]
        for (x, y), radius, shade in zip(centres.tolist(), radii.tolist(), itertools.cycle(shades)):
            for number, (size, shift) in zip(shade, ((1.0, 0.0), (0.78, 0.18), (0.42, 0.36)), strict=True):
                r, cx, cy = radius * size, x + sun[0] * radius * shift, y + sun[1] * radius * shift
                self.pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=number)

    def surfaces(self) -> NDArray[np.int32]:
        """Number of the surface of each pixel: (side, side)."""
        return np.asarray(self.raster)

    def classes(self) -> NDArray[np.uint8]:
        """Class ids: (side, side)."""
        return np.array([look.class_id for look in self.looks], np.uint8)[self.surfaces()]


def _scaled(colour: Colour, light: float) -> Colour:
    red, green, blue = colour
    return red * light, green * light, blue * light


def varied(rng: np.random.Generator, colours: list[Colour], by: float = 6.0) -> Colour:
    """One of the colours, a little brighter or darker, and of a slightly other hue."""
    red, green, blue = np.array(colours[rng.integers(len(colours))]) + rng.normal(0, by) + rng.normal(0, by / 3, 3)
    return float(red), float(green), float(blue)


def wave_of(spacing_px: float, angle: float) -> tuple[float, float]:
    """Radians per pixel in x and in y of rows at an angle."""
    return 2 * math.pi / spacing_px * math.sin(angle), 2 * math.pi / spacing_px * math.cos(angle)


def noise(rng: np.random.Generator, side: int, wavelength: float) -> Floats:
    """Smooth random values of deviation 1 whose bumps are about ``wavelength`` pixels wide: (side, side)."""
    knots = math.ceil(side / wavelength) + 4
    coarse = Image.fromarray(rng.standard_normal((knots, knots), np.float32))
    box = (1.5, 1.5, 1.5 + side / wavelength, 1.5 + side / wavelength)
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC, box)) / np.float32(0.75)


# --- where things lie ------------------------------------------------------------------------------------------------


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
    waiting, parcels = [_square((task.side / 2, task.side / 2), half, turn)], []
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


def _square(centre: tuple[float, float], half: float, turn: float, aspect: float = 1.0) -> Points:
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half, half * aspect)
    cos, sin = math.cos(turn), math.sin(turn)
    return corners @ np.array([(cos, sin), (-sin, cos)]) + centre


def _blob(centre: Points, radius: float, rng: np.random.Generator, rough: float = 0.12) -> Points:
    """A rounded outline that stays inside of the radius."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    bays = sum(rng.uniform(0, rough / k) * (1 - np.cos(k * angles + rng.uniform(0, 7))) for k in (1, 2, 3, 5))
    return centre + radius * np.clip(1 - bays, 0.3, 1)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def _winding(start: Points, end: Points, rng: np.random.Generator, bends: float) -> Points:
    """A line that winds from start to end."""
    place = np.linspace(0, 1, 60)
    across = np.array([start[1] - end[1], end[0] - start[0]])
    bend = sum(rng.normal(0, bends / k) * np.sin(k * math.pi * place) for k in (1, 2, 3, 4, 7))
    return start + place[:, None] * (end - start) + bend[:, None] * across


# --- drawing ---------------------------------------------------------------------------------------------------------


def grassland(rng: np.random.Generator, turn: float) -> Look:
    """A pasture or a meadow, mown or not."""
    mown = rng.random() < 0.3
    rows, wave = (rng.uniform(2, 4), wave_of(rng.uniform(9, 16), turn)) if mown else (0.0, (0.0, 0.0))
    return Look(GRASS, varied(rng, GREENS), 4, rng.uniform(3, 7), rng.uniform(4, 9), rows, wave)


def bare(rng: np.random.Generator, turn: float) -> Look:
    """Bare soil that was ploughed or graded; nothing in it depends on what it belongs to."""
    spacing, angle = rng.uniform(5, 9), turn + rng.integers(2) * math.pi / 2 + rng.normal(0, 0.05)
    texture = 5.0, rng.uniform(3, 6), rng.uniform(5, 10), rng.uniform(2, 7)
    return Look(BARE_FIELD, varied(rng, SOILS, 10), *texture, wave_of(spacing, angle))


def direction_of(parcel: Points) -> float:
    """Direction of the longest edge."""
    edges = np.roll(parcel, -1, axis=0) - parcel
    x, y = edges[np.hypot(*edges.T).argmax()]
    return math.atan2(y, x)


def draw_land(sheet: Sheet, task: Task, plan: Plan, rng: np.random.Generator) -> None:
    """Pastures, woods and bare parcels."""
    woodland = noise(rng, task.side, task.side / 5)
    for number, parcel in enumerate(plan.parcels):
        turn = direction_of(parcel)
        x, y = parcel.mean(axis=0).clip(0, task.side - 1).astype(int)
        look = grassland(rng, turn)
        if woodland[y, x] + rng.normal(0, 0.3) > 1.1:
            look = Look(WOOD, varied(rng, [(56, 70, 44)]), 5, 6, 6)
        if number in plan.bare:
            look = replace(bare(rng, turn), class_id=PAIR[plan.bare[number]])
        sheet.fill(parcel, look)


def draw_waters(sheet: Sheet, task: Task, sites: Sites, rng: np.random.Generator) -> None:
    """A river and some ponds, in which the bank's mud shows."""
    bank = Look(GRASS, varied(rng, [(112, 116, 82)]), 4, 6, 6)
    course, width = course_through(task, sites, bool(rng.integers(2)), rng), int(rng.integers(14, 26))
    sheet.line(course, width + 9, bank)
    sheet.line(course, width, Look(WATER, varied(rng, WATERS), 2, 1.5, 3))
    for _ in range(rng.poisson((task.side / 700) ** 2 / 2) + 1):
        centre, radius = rng.uniform(0, task.side, 2), rng.uniform(18, 55)
        outline = _blob(centre, radius, rng, 0.25)
        sheet.fill(centre + (outline - centre) * 1.12, bank)
        sheet.fill(outline, Look(WATER, varied(rng, WATERS), 2, 1.5, 3))


def draw_roads(sheet: Sheet, task: Task, sites: Sites, rng: np.random.Generator) -> list[Points]:
    """Two roads and a lane to each site; gives the roads."""
    roads = [course_through(task, sites, flip, rng) for flip in (False, True)]
    paths = np.concatenate(roads)
    for centre in sites.centres:
        nearest = paths[np.hypot(*(paths - centre).T).argmin()]
        _draw_road(sheet, _winding(nearest, centre, rng, 0.06), 7, varied(rng, [(176, 164, 140)]))
    for road in roads:
        _draw_road(sheet, road, int(rng.integers(12, 17)), varied(rng, [(142, 140, 138), (160, 156, 150)]))
    return roads


def course_through(task: Task, sites: Sites, flip: bool, rng: np.random.Generator) -> Points:
    """Of some lines that wind through the scene, one that keeps clear of the sites."""
    courses = []
    for _ in range(16):
        start, end = rng.uniform(0.05, 0.95, 2) * task.side
        course = _winding(np.array([-40.0, start]), np.array([task.side + 40.0, end]), rng, 0.05)
        courses.append(course[:, ::-1] if flip else course)
    return max(courses, key=lambda course: min(60.0, _from_sites(sites, course).min() - task.site_px))


def _draw_road(sheet: Sheet, course: Points, width: int, colour: Colour) -> None:
    sheet.line(course, width + 5, Look(GRASS, (136, 138, 98), 4, 6, 4))
    sheet.line(course, width, Look(ROAD, colour, 3, 2, 3))


def _from_sites(sites: Sites, points: Points) -> Points:
    """Distance of each point from the centre of the nearest site."""
    nearest: Points = np.hypot(*(points[:, None] - sites.centres[None]).transpose(2, 0, 1)).min(axis=1)
    return nearest


def draw_farm(sheet: Sheet, task: Task, centre: Points, rng: np.random.Generator) -> None:
    """Narrow fields of crops round a yard."""
    turn, mark = rng.uniform(0, math.pi), 1 + FARM
    waiting = [_square((centre[0], centre[1]), task.site_px * 0.68, turn)]
    while waiting:
        strip = waiting.pop()
        if area(strip) > (task.site_px * rng.uniform(0.45, 0.75)) ** 2:
            waiting += halves(strip, turn, rng)
            continue
        rows = rng.uniform(8, 15), wave_of(rng.uniform(5, 8), direction_of(strip))
        sheet.fill(strip, Look(CROPS, varied(rng, PLANTS), 4, 4, 5, *rows, evidence=mark))
    yard = _square((centre[0], centre[1]), task.site_px * 0.24, turn, 0.8)
    sheet.fill(yard, Look(ROAD, varied(rng, [(182, 172, 152)]), 5, 5, 5, evidence=mark))


def draw_quarry(sheet: Sheet, task: Task, centre: Points, sun: tuple[float, float], rng: np.random.Generator) -> None:
    """A pit with terraces and a pool, spoil heaps and a ramp."""
    mark, rock, size = 1 + QUARRY, varied(rng, ROCKS), task.site_px
    sheet.fill(_blob(centre, size * 0.98, rng, 0.1), Look(WORKINGS, rock, 6, 7, 8, evidence=mark))
    turn = rng.uniform(0, 2 * math.pi)
    ahead = np.array([math.cos(turn), math.sin(turn)])
    outline = _blob(np.zeros(2), size * 0.74, rng, 0.2)
    rim = outline * rng.uniform(0.85, 1)
    for level in (1.0, 0.83, 0.67, 0.5, 0.32):
        floor = centre + ahead * size * (0.12 + 0.2 * (1 - level))
        step = rng.uniform(0.05, 0.1)
        face, bench = floor + rim * level, floor + rim * (level - step) - step * 20 * np.array(sun)
        sheet.fill(face, Look(WORKINGS, _scaled(rock, 0.5 + 0.12 * level), 6, 8, 3, evidence=mark))
        sheet.fill(bench, Look(WORKINGS, _scaled(rock, 0.82 + 0.18 * level), 6, 6, 5, evidence=mark))
    pool = floor + rim * 0.19
    sheet.fill(pool, Look(WATER, varied(rng, [(84, 128, 128), (76, 104, 108)]), 2, 1.5, 3, evidence=mark))
    ramp = _winding(floor, centre - ahead * size * 0.8, rng, 0.12)
    sheet.line(ramp, 8, Look(WORKINGS, _scaled(rock, 1.08), 4, 3, 3, evidence=mark))
    number = int(rng.integers(4, 8))
    angles, out = turn + math.pi + rng.uniform(-1.7, 1.7, number), size * rng.uniform(0.55, 0.72, number)
    heaps = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * out[:, None]
    look = Look(WORKINGS, _scaled(rock, 0.86), 6, 4, 2, height_m=4, evidence=mark)
    sheet.domes(heaps, size * rng.uniform(0.07, 0.16, number), [look], sun)


def draw_barns(sheet: Sheet, task: Task, centre: Points, kind: int, rng: np.random.Generator) -> None:
    """Barns on a farm's yard, sheds in a quarry."""
    turn, out = rng.uniform(0, 2 * math.pi), task.site_px * (0.17 if kind == FARM else 0.76)
    for shift in (0.0, 2.1, 4.2) if kind == FARM else (0.0, 0.32):
        place = centre + out * np.array([math.cos(turn + shift), math.sin(turn + shift)])
        half = task.site_px * rng.uniform(0.09, 0.14)
        _draw_house(sheet, place, half, turn, varied(rng, ROOFS[2:]), evidence=1 + kind)


def _draw_house(sheet: Sheet, centre: Points, half: float, turn: float, roof: Colour, evidence: int = 0) -> None:
    """A gabled roof whose slopes are lit differently."""
    corners = _square((centre[0], centre[1]), half, turn, 0.62)
    ridge = corners[[0, 1]] * 0.5 + corners[[3, 2]] * 0.5
    for slope, light in ((corners[[0, 1]], 1.1), (corners[[3, 2]], 0.78)):
        look = Look(BUILDING, _scaled(roof, light), 3, 2, 2, height_m=5, evidence=evidence)
        sheet.fill(np.concatenate([slope, ridge[::-1]]), look)


def draw_hamlets(sheet: Sheet, task: Task, sites: Sites, roads: list[Points], rng: np.random.Generator) -> None:
    """Houses in loose rows along the roads, on grass."""
    taken = sheet.classes()
    for road in roads:
        crowd = np.convolve(rng.normal(0, 1, len(road) + 8), np.ones(9) / 3, "valid")
        for (one, next_), many in zip(itertools.pairwise(road), crowd[:-1], strict=True):
            along = next_ - one
            across = np.array([-along[1], along[0]]) / np.hypot(*along)
            for side in (-1, 1) if many > 0.2 else ():
                place = one + along * rng.uniform(0.3, 0.7) + across * side * rng.uniform(26, 44)
                if not _is_grass(taken, place) or _from_sites(sites, place[None])[0] < task.site_px + 30:
                    continue
                turn = math.atan2(along[1], along[0]) + rng.normal(0, 0.1) + rng.integers(2) * math.pi / 2
                _draw_house(sheet, place, rng.uniform(8, 14), turn, varied(rng, ROOFS))


def _is_grass(taken: NDArray[np.uint8], place: Points) -> bool:
    x, y = place.astype(int)
    around = taken[max(0, y - 12) : y + 13, max(0, x - 12) : x + 13]
    return around.size == 625 and bool((around == GRASS).all())


def plant_trees(sheet: Sheet, task: Task, plan: Plan, sun: tuple[float, float], rng: np.random.Generator) -> None:
    """Crowns all over the woods, along some borders of parcels, and here and there."""
    grid = np.stack(np.mgrid[0 : task.side : 9, 0 : task.side : 9], -1).reshape(-1, 2)[:, ::-1]
    taken = sheet.classes()
    in_woods = grid[taken[grid[:, 1], grid[:, 0]] == WOOD]
    places = [in_woods + rng.uniform(-3.5, 3.5, in_woods.shape), rng.uniform(0, task.side, (task.side**2 // 60_000, 2))]
    for parcel in plan.parcels:
        for one, next_ in zip(parcel, np.roll(parcel, -1, axis=0), strict=True):
            if rng.random() < 0.16:
                number = int(np.hypot(*(next_ - one)) / 8) + 1
                places.append(one + rng.random((number, 1)) * (next_ - one) + rng.normal(0, 1.5, (number, 2)))
    centres = rng.permutation(np.concatenate(places))
    below = taken[tuple(centres.clip(0, task.side - 1).astype(int).T[::-1])]
    centres = centres[np.isin(below, (GRASS, WOOD)) & (_from_sites(plan.sites, centres) > task.site_px + 20)]
    looks = [Look(WOOD, varied(rng, LEAVES, 5), 7, 6, 3, height_m=rng.uniform(5, 9)) for _ in range(40)]
    sheet.domes(centres, rng.uniform(3.5, 7.5, len(centres)), looks, sun)


# --- light and camera ------------------------------------------------------------------------------------------------


def roughened(surfaces: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
    """Move every pixel a little, so that outlines look grown: (side, side)."""
    side = len(surfaces)
    place = np.arange(side, dtype=np.float32)
    strays = [2.2 * noise(rng, side, 70) + 0.7 * noise(rng, side, 9) for _ in range(2)]
    most = np.float32(GUARD_PX / 2 - 1)
    rows, cols = (
        np.rint(at + stray.clip(-most, most)).clip(0, side - 1).astype(np.int32)
        for at, stray in zip((place[:, None], place[None]), strays, strict=True)
    )
    return surfaces[rows, cols]


def photographed(sheet: Sheet, sun: tuple[float, float], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Texture at several scales, shadows, uneven light, the blur of the optics and the noise of the sensor."""
    surfaces, side = sheet.surfaces(), sheet.raster.width
    clumps, patches, bends = (
        noise(rng, side, 5),
        noise(rng, side, 40) + 0.6 * noise(rng, side, 15),
        noise(rng, side, 60),
    )
    light = lighting(sheet, sun, rng)
    colours, grain, clump, patch, rows = (
        np.array([getattr(look, name) for look in sheet.looks], np.float32)
        for name in ("colour", "grain", "clumps", "patches", "rows")
    )
    waves = np.array([look.wave for look in sheet.looks], np.float32)
    scene = np.empty((side, side, 3), np.uint8)
    for top in range(0, side, STRIP):
        at = slice(top, top + STRIP)
        here, (y, x) = surfaces[at], np.ogrid[at, :side]
        along = waves[:, 0][here] * x.astype(np.float32) + waves[:, 1][here] * y.astype(np.float32)
        texture = grain[here] * rng.standard_normal(here.shape, np.float32) + clump[here] * clumps[at]
        texture += patch[here] * patches[at] + rows[here] * np.sin(along + np.float32(0.7) * bends[at])
        scene[at] = ((colours[here] + texture[..., None]) * light[at, :, None]).clip(0, 255)
    seen = np.asarray(Image.fromarray(scene).filter(ImageFilter.GaussianBlur(0.8)))
    image = np.empty((3, side, side), np.uint8)
    for top in range(0, side, STRIP):
        part = seen[top : top + STRIP].transpose(2, 0, 1)
        noisy = part + np.float32(2.5) * rng.standard_normal(part.shape, np.float32)
        image[:, top : top + STRIP] = np.rint(noisy).clip(0, 255)
    return image


def lighting(sheet: Sheet, sun: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Share of the light that arrives: a gradient, hills, and shadows: (side, side)."""
    side = sheet.raster.width
    heights = np.array([look.height_m for look in sheet.looks], np.float32)[sheet.surfaces()]
    place = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    tilt = rng.normal(0, 0.04, 2).astype(np.float32)
    light: Floats = (1 + np.float32(0.025) * noise(rng, side, 300)) + (tilt[0] * place[:, None] + tilt[1] * place)
    return light * (1 - np.float32(0.5) * shadows(heights, sun))


def shadows(heights: Floats, sun: tuple[float, float]) -> Floats:
    """Where something that stands towards the sun takes the light away, 0 to 1: (side, side)."""
    blocked = np.zeros_like(heights)
    for step in range(2, 15, 2):
        shift = round(-sun[1] * step), round(-sun[0] * step)
        np.maximum(blocked, np.roll(heights, shift, (0, 1)) - np.float32(step * PIXEL_M * 1.1), out=blocked)
    return np.clip(blocked - heights, 0, 1)


# --- scenes and files ------------------------------------------------------------------------------------------------


def make_scene(task: Task, rng: np.random.Generator) -> Scene:
    """Draw a scene; the same task and state of the generator give the same."""
    return draw_scene(task, make_plan(task, rng), rng)


def draw_scene(task: Task, plan: Plan, rng: np.random.Generator) -> Scene:
    """Draw what was planned; the kinds of the sites change nothing but the sites and the classes of bare parcels."""
    sites, azimuth = plan.sites, rng.uniform(0.6, 2.5)
    sun = math.cos(azimuth), math.sin(azimuth)
    each = list(zip(sites.centres, sites.kinds.tolist(), rng.spawn(len(sites.kinds)), strict=True))
    land = Sheet(np.zeros((task.side, task.side), np.int32), [Look(GRASS, GREENS[0])])
    draw_land(land, task, plan, rng)
    draw_waters(land, task, sites, rng)
    roads = draw_roads(land, task, sites, rng)
    for centre, kind, apart in each:
        land.fill(_blob(centre, task.site_px * 1.1, rng, 0.05), grassland(rng, 0.0))
        if kind == FARM:
            draw_farm(land, task, centre, apart)
        else:
            draw_quarry(land, task, centre, sun, apart)
    sheet = Sheet(roughened(land.surfaces(), rng), land.looks)
    for centre, kind, apart in each:
        draw_barns(sheet, task, centre, kind, apart)
    draw_hamlets(sheet, task, sites, roads, rng)
    plant_trees(sheet, task, plan, sun, rng)
    evidence = np.array([look.evidence for look in sheet.looks], np.uint8)[sheet.surfaces()]
    return Scene(photographed(sheet, sun, rng), sheet.classes(), evidence)


def write_scenes(folder: Path, task: Task, counts: dict[str, int], seed: int = 0) -> Path:
    """Write so many scenes for each split (train, val), far apart from each other, and give the CSV that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,label,split"]
    for number_of_split, (split, count) in enumerate(sorted(counts.items())):
        for number in range(count):
            name, left = f"{split}_{number:03d}", task.side * len(lines)
            scene = make_scene(task, np.random.default_rng([seed, number_of_split, number]))
            _write(folder / f"{name}.tif", scene.image, left)
            _write(folder / f"{name}_labels.tif", scene.labels[None], left)
            lines.append(f"{name}.tif,{name}_labels.tif,{split}")
    path = folder / "tiles.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _write(path: Path, values: NDArray[np.uint8], left_m: float) -> None:
    transform = from_origin(300_000 + left_m, 4_300_000, PIXEL_M, PIXEL_M)
    profile: dict[str, Any] = {"crs": "EPSG:32617", "transform": transform, "tiled": True, "compress": "deflate"}
    count, height, width = values.shape
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", zlevel=1, **profile) as file:
        file.write(values)


def preview(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Image.Image:
    """The image beside its classes."""
    colours = np.array([ImageColor.getrgb(str(one["color"])) for one in CLASSES], np.uint8)
    return Image.fromarray(np.concatenate([np.moveaxis(image, 0, 2), colours[labels]], axis=1))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--scenes", default=20, show_default=True, help="Scenes; a fifth of them validate.")
@click.option("--reach", default=Task.reach_px, show_default=True, help="Pixels to the evidence.")
@click.option("--side", default=Task.side, show_default=True, help="Side of a scene in pixels.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other scenes.")
def main(folder: Path, scenes: int, reach: int, side: int, seed: int) -> None:
    """Write scenes, their list and a preview of each into FOLDER."""
    val = scenes // 5
    path = write_scenes(folder, Task(reach_px=reach, side=side), {"train": scenes - val, "val": val}, seed)
    for line in path.read_text().splitlines()[1:]:
        image, labels, _ = line.split(",")
        with rasterio.open(folder / image) as one, rasterio.open(folder / labels) as other:
            preview(one.read(), other.read(1)).save(folder / image.replace(".tif", ".png"))
    click.echo(path)


if __name__ == "__main__":
    main()
