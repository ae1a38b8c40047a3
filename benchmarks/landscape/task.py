"""What a drawn scene is to show: its classes, and how far the evidence lies from what it decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
