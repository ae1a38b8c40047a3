"""Fields, waters, roads, sites, houses and trees, drawn on a sheet."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .layout import Plan, Sites, area, blob, halves, square, winding
from .surfaces import Look, Sheet, noise, scaled, varied, wave_of
from .task import (
    BARE_FIELD,
    BUILDING,
    CROPS,
    FARM,
    GRASS,
    GREENS,
    LEAVES,
    PAIR,
    PLANTS,
    QUARRY,
    ROAD,
    ROCKS,
    ROOFS,
    SOILS,
    WATER,
    WATERS,
    WOOD,
    WORKINGS,
    Colour,
    Points,
    Task,
)


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
        outline = blob(centre, radius, rng, 0.25)
        sheet.fill(centre + (outline - centre) * 1.12, bank)
        sheet.fill(outline, Look(WATER, varied(rng, WATERS), 2, 1.5, 3))


def draw_roads(sheet: Sheet, task: Task, sites: Sites, rng: np.random.Generator) -> list[Points]:
    """Two roads and a lane to each site; gives the roads."""
    roads = [course_through(task, sites, flip, rng) for flip in (False, True)]
    paths = np.concatenate(roads)
    for centre in sites.centres:
        nearest = paths[np.hypot(*(paths - centre).T).argmin()]
        _draw_road(sheet, winding(nearest, centre, rng, 0.06), 7, varied(rng, [(176, 164, 140)]))
    for road in roads:
        _draw_road(sheet, road, int(rng.integers(12, 17)), varied(rng, [(142, 140, 138), (160, 156, 150)]))
    return roads


def course_through(task: Task, sites: Sites, flip: bool, rng: np.random.Generator) -> Points:
    """Of some lines that wind through the scene, one that keeps clear of the sites."""
    courses = []
    for _ in range(16):
        start, end = rng.uniform(0.05, 0.95, 2) * task.side
        course = winding(np.array([-40.0, start]), np.array([task.side + 40.0, end]), rng, 0.05)
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
    waiting = [square((centre[0], centre[1]), task.site_px * 0.68, turn)]
    while waiting:
        strip = waiting.pop()
        if area(strip) > (task.site_px * rng.uniform(0.45, 0.75)) ** 2:
            waiting += halves(strip, turn, rng)
            continue
        rows = rng.uniform(8, 15), wave_of(rng.uniform(5, 8), direction_of(strip))
        sheet.fill(strip, Look(CROPS, varied(rng, PLANTS), 4, 4, 5, *rows, evidence=mark))
    yard = square((centre[0], centre[1]), task.site_px * 0.24, turn, 0.8)
    sheet.fill(yard, Look(ROAD, varied(rng, [(182, 172, 152)]), 5, 5, 5, evidence=mark))


def draw_quarry(sheet: Sheet, task: Task, centre: Points, sun: tuple[float, float], rng: np.random.Generator) -> None:
    """A pit with terraces and a pool, spoil heaps and a ramp."""
    mark, rock, size = 1 + QUARRY, varied(rng, ROCKS), task.site_px
    sheet.fill(blob(centre, size * 0.98, rng, 0.1), Look(WORKINGS, rock, 6, 7, 8, evidence=mark))
    turn = rng.uniform(0, 2 * math.pi)
    ahead = np.array([math.cos(turn), math.sin(turn)])
    outline = blob(np.zeros(2), size * 0.74, rng, 0.2)
    rim = outline * rng.uniform(0.85, 1)
    for level in (1.0, 0.83, 0.67, 0.5, 0.32):
        floor = centre + ahead * size * (0.12 + 0.2 * (1 - level))
        step = rng.uniform(0.05, 0.1)
        face, bench = floor + rim * level, floor + rim * (level - step) - step * 20 * np.array(sun)
        sheet.fill(face, Look(WORKINGS, scaled(rock, 0.5 + 0.12 * level), 6, 8, 3, evidence=mark))
        sheet.fill(bench, Look(WORKINGS, scaled(rock, 0.82 + 0.18 * level), 6, 6, 5, evidence=mark))
    pool = floor + rim * 0.19
    sheet.fill(pool, Look(WATER, varied(rng, [(84, 128, 128), (76, 104, 108)]), 2, 1.5, 3, evidence=mark))
    ramp = winding(floor, centre - ahead * size * 0.8, rng, 0.12)
    sheet.line(ramp, 8, Look(WORKINGS, scaled(rock, 1.08), 4, 3, 3, evidence=mark))
    number = int(rng.integers(4, 8))
    angles, out = turn + math.pi + rng.uniform(-1.7, 1.7, number), size * rng.uniform(0.55, 0.72, number)
    heaps = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * out[:, None]
    look = Look(WORKINGS, scaled(rock, 0.86), 6, 4, 2, height_m=4, evidence=mark)
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
    corners = square((centre[0], centre[1]), half, turn, 0.62)
    ridge = corners[[0, 1]] * 0.5 + corners[[3, 2]] * 0.5
    for slope, light in ((corners[[0, 1]], 1.1), (corners[[3, 2]], 0.78)):
        look = Look(BUILDING, scaled(roof, light), 3, 2, 2, height_m=5, evidence=evidence)
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
