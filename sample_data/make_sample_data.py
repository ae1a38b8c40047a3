"""Makes the sample data of this folder: farmland that never existed, as an aerial camera would see it.

``make_scene(height, width, seed)`` gives an image (red, green, blue, infrared; uint8) and its land-cover classes at
0.6 m per pixel, the same for the same seed. Run as a script it writes ``scene.tif``, ``scene_labels.tif``,
``tiles/`` and ``tiles.csv`` next to itself. Needs numpy, scipy, rasterio and Pillow.

How a scene comes about: two roads, a creek and ponds are curves in rotated coordinates; the land between them is split
into parcels (crops, pasture, bare fields, woods); farmsteads and houses line the roads; trees are single crowns.
Everything tall is drawn into a height map, from which sunlight and shadows follow. Colours, textures at several scales,
their correlation between bands, the sizes of things and what their outlines take in were measured per class on labelled
NAIP images of southern Ohio; no pixel of them is used here. Open water is ponds there, of many colours; trees roof the
creeks.
"""

import csv
import itertools
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import ImageColor
from rasterio.enums import ColorInterp
from scipy import fft, ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Colour = tuple[float, float, float, float]
"""Red, green, blue, infrared, 0 to 255."""

BACKGROUND, BUILDING, ROAD, BARE, FOREST, WATER = range(6)
CLASSES = [
    {"id": BACKGROUND, "name": "background", "color": "#c8d6a0"},
    {"id": BUILDING, "name": "building", "color": "#d7301f"},
    {"id": ROAD, "name": "road", "color": "#6e6e6e"},
    {"id": BARE, "name": "bare land", "color": "#d9a860"},
    {"id": FOREST, "name": "forest", "color": "#1f7a3c"},
    {"id": WATER, "name": "water", "color": "#2b7fd0"},
]
PIXEL_M = 0.6

SUN_AZIMUTH_DEG = 98.0
"""East, a little south, as the shadows of the measured images have it."""
SUN_HEIGHT_DEG = 54.0
SHADE: Colour = (0.41, 0.44, 0.68, 0.44)
"""Share of a sunlit pixel's brightness that is left in the shadow: the sky lights it, so blue keeps most."""

GREENS: list[Colour] = [(119, 147, 95, 225), (129, 157, 103, 225), (133, 146, 103, 220), (144, 158, 112, 221)]
CROPS: list[Colour] = [(96, 124, 88, 226), (88, 116, 86, 224), (112, 140, 94, 227)]
DRY: list[Colour] = [(163, 161, 116, 215), (172, 166, 122, 212)]
SOILS: list[Colour] = [(203, 185, 151, 207), (183, 165, 131, 202), (194, 174, 142, 202), (195, 176, 134, 211)]
LEAVES: list[Colour] = [
    (90, 114, 88, 222),
    (99, 125, 90, 226),
    (83, 108, 90, 214),
    (112, 136, 93, 225),
    (86, 104, 94, 196),
    (72, 98, 92, 205),
]
UNDERGROWTH: Colour = (68, 86, 82, 176)
GRAVEL: Colour = (214, 210, 193, 204)
ASPHALT: Colour = (203, 201, 188, 192)
TRAIL: Colour = (186, 170, 130, 205)
ROOFS: list[Colour] = [
    (238, 238, 236, 230), (226, 228, 226, 220), (204, 207, 201, 205), (184, 180, 166, 196), (150, 161, 160, 156),
    (121, 127, 132, 112), (92, 100, 110, 96), (140, 126, 114, 170), (152, 120, 108, 186),
    (132, 148, 166, 168), (98, 116, 140, 150), (150, 172, 186, 176), (176, 148, 134, 196),
]  # fmt: skip
PONDS: list[Colour] = [
    (43, 53, 82, 2), (52, 56, 78, 2), (58, 67, 84, 3), (50, 77, 93, 3), (55, 83, 95, 5), (59, 76, 84, 2),
    (70, 78, 89, 3), (74, 82, 88, 3), (78, 81, 86, 5), (90, 88, 91, 8), (97, 103, 98, 6), (121, 109, 99, 20),
]  # fmt: skip
CREEKS: list[Colour] = [(69, 78, 88, 3), (78, 88, 90, 4), (77, 94, 95, 6), (86, 97, 94, 6)]
"""Running water stirs: neither the clearest nor the muddiest of the ponds."""
POOL: Colour = (110, 185, 215, 60)


@dataclass
class Canvas:
    """What has been drawn so far. A pixel is 0.6 m, row 0 lies in the north."""

    image: Floats
    """(4, H, W) sunlit brightness, 0 to 255."""
    ids: NDArray[np.uint8]
    """(H, W) class ids."""
    trees: Floats
    """(H, W) height of trees in metres."""
    roofs: Floats
    """(H, W) height of buildings in metres."""
    keep_clear: Mask
    """(H, W), True where no tree and no building may stand."""
    rng: np.random.Generator = field(repr=False)

    @classmethod
    def empty(cls, height: int, width: int, rng: np.random.Generator) -> "Canvas":
        """A canvas of background without colour."""
        flat = (height, width)
        trees, roofs = np.zeros(flat, np.float32), np.zeros(flat, np.float32)
        return cls(np.zeros((4, *flat), np.float32), np.zeros(flat, np.uint8), trees, roofs, np.zeros(flat, bool), rng)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.ids.shape[0], self.ids.shape[1]

    def pick(self, colours: list[Colour], jitter: float = 4.0) -> Floats:
        """One of the colours, a little varied: (4,)."""
        colour = np.array(colours[self.rng.integers(len(colours))], np.float32)
        return (colour + self.rng.normal(0, jitter) + self.rng.normal(0, jitter / 3, 4)).astype(np.float32)

    def paint(self, cover: Floats, colour: Floats, class_id: int | None, at: tuple[slice, slice] = np.s_[:, :]) -> None:
        """Lay a colour over the image.

        Args:
            cover: (h, w) share of each pixel that is covered, 0 to 1; from one half on the pixel gets the class.
            colour: (4,) or (4, h, w).
            class_id: None leaves the classes as they are.
            at: Where the (h, w) pixels lie.
        """
        part = self.image[:, at[0], at[1]]
        part += cover * (colour.reshape(4, *(colour.shape[1:] or (1, 1))) - part)
        if class_id is not None:
            self.ids[at][cover >= 0.5] = class_id

    def around(self, x: float, y: float, reach: float) -> tuple[tuple[slice, slice], Floats, Floats] | None:
        """Window of ``reach`` pixels round a point, with each pixel's offset from it; None outside of the scene."""
        rows = slice(max(0, int(y - reach)), min(self.shape[0], int(y + reach) + 1))
        cols = slice(max(0, int(x - reach)), min(self.shape[1], int(x + reach) + 1))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return None
        dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(y)
        dx = np.arange(cols.start, cols.stop, dtype=np.float32)[None, :] - np.float32(x)
        return (rows, cols), dx, dy


# --- noise -----------------------------------------------------------------------------------------------------------


def _spline_taps(length: int, wavelength: float, offset: float) -> tuple[NDArray[np.int64], Floats]:
    """First of the four coarse values that each pixel mixes, (length,), and their B-spline weights, (4, length)."""
    at = np.arange(length) / wavelength + offset
    first = np.floor(at).astype(np.int64)
    t = at - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    return first, (np.stack(weights) / 6).astype(np.float32)


def _spread(knots: Floats, length: int, wavelength: float, offset: float) -> Floats:
    """Coarse values (n, m) spread smoothly over ``length`` rows: (length, m)."""
    first, weights = _spline_taps(length, wavelength, offset)
    total = weights[0][:, None] * knots[first]
    for tap in (1, 2, 3):
        total += weights[tap][:, None] * knots[first + tap]
    return total


def noise(rng: np.random.Generator, shape: tuple[int, int], wavelength: float) -> Floats:
    """Smooth random values, mean 0 and deviation 1, whose bumps are about ``wavelength`` pixels wide: (H, W)."""
    knots = rng.standard_normal([math.ceil(length / wavelength) + 5 for length in shape], np.float32)
    across = _spread(np.ascontiguousarray(knots.T), shape[1], wavelength, rng.random())
    full = _spread(np.ascontiguousarray(across.T), shape[0], wavelength, rng.random())
    return full / np.float32(0.48)  # 0.48: what the spline leaves of the deviation


def fractal(rng: np.random.Generator, shape: tuple[int, int], coarsest: float, finest: float, gain: float) -> Floats:
    """Noise of halving wavelengths, each ``gain`` as strong as the one before; deviation 1: (H, W)."""
    octaves = max(1, round(math.log2(coarsest / finest)) + 1)
    weights = gain ** np.arange(octaves)
    total = np.zeros(shape, np.float32)
    for octave, weight in enumerate(weights):
        total += np.float32(weight) * noise(rng, shape, coarsest / 2**octave)
    return total / np.float32(np.sqrt((weights**2).sum()))


def profile(rng: np.random.Generator, wavelength: float, reach: int = 4000) -> Floats:
    """Smooth random values along a line of ``2 * reach`` pixels, mean 0 and deviation 1."""
    knots = rng.standard_normal((math.ceil(2 * reach / wavelength) + 5, 1), np.float32)
    return _spread(knots, 2 * reach, wavelength, rng.random())[:, 0] / np.float32(0.69)  # as above, in one dimension


def along(values: Floats, at: Floats) -> Floats:
    """Look a profile up at positions counted from its middle."""
    position = at + len(values) // 2
    return np.interp(position, np.arange(len(values)), values).astype(np.float32)


def _cover(distance: Floats) -> Floats:
    """Share of a pixel inside an outline ``distance`` pixels away, negative inside."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


# --- the plan: where things lie --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A road or a creek: across = bend(along), in coordinates turned by ``angle``."""

    centre: tuple[float, float]
    """x and y, in pixels, of the origin of the turned coordinates."""
    angle: float
    """Direction of the curve in radians."""
    bend: Floats = field(repr=False)
    """Offset across the direction in pixels, by the place along it."""

    def local(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Place along the curve and signed distance from it, both in pixels."""
        dx, dy = x - self.centre[0], y - self.centre[1]
        place = (dx * math.cos(self.angle) + dy * math.sin(self.angle)).astype(np.float32)
        across = (dy * math.cos(self.angle) - dx * math.sin(self.angle)).astype(np.float32)
        slope = np.gradient(self.bend)
        return place, (across - along(self.bend, place)) / np.sqrt(1 + along(slope, place) ** 2)

    def point(self, place: float, distance: float) -> tuple[float, float, float]:
        """x, y and direction at a place along the curve, ``distance`` pixels beside it."""
        middle = len(self.bend) // 2
        index = int(np.clip(place + middle, 1, len(self.bend) - 2))
        turn = math.atan(float(self.bend[index + 1] - self.bend[index - 1]) / 2)
        across = float(self.bend[index]) + distance * math.cos(turn)
        place = place - distance * math.sin(turn)
        x = self.centre[0] + place * math.cos(self.angle) - across * math.sin(self.angle)
        y = self.centre[1] + place * math.sin(self.angle) + across * math.cos(self.angle)
        return x, y, self.angle + turn


@dataclass(frozen=True)
class Plan:
    """The lines of the landscape, and every pixel's place on them."""

    road: Curve
    side_road: Curve
    creek: Curve
    road_place: Floats
    road_distance: Floats
    side_place: Floats
    side_distance: Floats
    creek_place: Floats
    creek_distance: Floats
    creek_width: Floats
    """(H, W) half width of the creek in pixels; negative where it runs dry."""


def make_plan(canvas: Canvas) -> Plan:
    """Lay out two roads that cross and a creek that crosses neither more often than it must."""
    rng, (height, width) = canvas.rng, canvas.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(-0.9, 0.9)
    middle = (width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65))
    road = Curve(middle, angle, profile(rng, 700) * 34)
    side = Curve(middle, angle + math.pi / 2 + rng.normal(0, 0.15), profile(rng, 450) * 40)
    shift = rng.choice([-1, 1]) * rng.uniform(0.22, 0.34) * min(height, width)
    x0, y0, turn = road.point(0, shift)
    meanders = profile(rng, 300) * 34 + profile(rng, 110) * 20 + profile(rng, 45) * 5
    creek = Curve((x0, y0), turn + rng.normal(0, 0.12), meanders)
    creek_place, creek_distance = creek.local(x, y)
    creek_width = rng.uniform(3, 5) + 1.2 * along(profile(rng, 90), creek_place)
    places = [*road.local(x, y), *side.local(x, y), creek_place, creek_distance]
    return Plan(road, side, creek, *places, creek_width.astype(np.float32))


@dataclass(frozen=True)
class Parcel:
    """A field: its pixels and which way it is worked."""

    pixels: NDArray[np.int64]
    """Flat indices."""
    kind: str
    direction: float
    """Direction of its rows in radians."""


@dataclass(frozen=True)
class Parcels:
    """All fields and the borders between them."""

    fields: list[Parcel]
    border: Floats
    """(H, W) pixels to the next border between fields."""
    hedge: Floats
    """(H, W) pixels to the next border with trees on it."""


KINDS = ["pasture", "hay", "crop", "dry", "bare", "woods"]
KIND_SHARES = [0.24, 0.14, 0.11, 0.06, 0.25, 0.20]


def split_parcels(canvas: Canvas, plan: Plan) -> Parcels:
    """Split the land again and again, first along the roads, until the fields have a usual size."""
    rng, (height, width) = canvas.rng, canvas.shape
    border = np.full(height * width, 1e3, np.float32)
    hedge = border.copy()
    wobble = 7 * noise(rng, canvas.shape, 150)
    u = (plan.side_distance + wobble).ravel()
    v = (plan.road_distance + 7 * noise(rng, canvas.shape, 170)).ravel()
    fields: list[Parcel] = []
    waiting = [np.arange(height * width)]
    first = [(u, 0.0), (v, 0.0)]  # the roads themselves are borders
    for values, cut in first:
        waiting = [part for one in waiting for part in (one[values[one] < cut], one[values[one] >= cut])]
    while waiting:
        pixels = waiting.pop()
        if len(pixels) == 0:
            continue
        if len(pixels) < rng.uniform(22_000, 110_000):
            kind = str(rng.choice(KINDS, p=KIND_SHARES))
            turned = plan.road.angle + rng.choice([0, math.pi / 2]) + rng.normal(0, 0.06)
            fields.append(Parcel(pixels, kind, turned))
            continue
        span_u, span_v = np.ptp(u[pixels]), np.ptp(v[pixels])
        main, other = (u, v) if span_u > span_v * rng.uniform(0.7, 1.4) else (v, u)
        sheared = main[pixels] + np.float32(rng.normal(0, 0.12)) * other[pixels]
        from_cut = sheared - np.quantile(sheared, rng.uniform(0.32, 0.68))
        border[pixels] = np.minimum(border[pixels], np.abs(from_cut))
        if rng.random() < 0.4:
            hedge[pixels] = np.minimum(hedge[pixels], np.abs(from_cut))
        waiting += [pixels[from_cut < 0], pixels[from_cut >= 0]]
    return Parcels(fields, border.reshape(height, width), hedge.reshape(height, width))


# --- ground ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Textures:
    """Noise fields shared by all ground, each (H, W) with deviation 1."""

    terrain: Floats
    patches: Floats
    blotches: Floats
    grain: Floats
    blueness: Floats
    greenness: Floats


def make_textures(canvas: Canvas) -> Textures:
    """Draw the noise once; fields differ by how they mix it."""
    rng, shape = canvas.rng, canvas.shape
    return Textures(
        fractal(rng, shape, 500, 120, 0.6),
        fractal(rng, shape, 90, 22, 0.7),
        fractal(rng, shape, 30, 7, 0.75),
        fractal(rng, shape, 6, 1.6, 0.9),
        fractal(rng, shape, 90, 7, 0.8),
        fractal(rng, shape, 90, 7, 0.8),
    )


@dataclass(frozen=True)
class Ground:
    """How one kind of field looks: colours, and brightness in grey levels of each texture."""

    colours: list[Colour]
    other: Colour
    """Colour of its patches of another growth."""
    patchiness: float
    """0 to 1: how much of the other colour shows."""
    blotch: float
    grain: float
    rows: float
    """Strength of the stripes that machines leave."""
    stripe_px: tuple[float, float]


GROUNDS = {
    "pasture": Ground(GREENS, (160, 158, 112, 214), 0.22, 2.4, 6.5, 0.8, (9, 14)),
    "hay": Ground(GREENS, (176, 168, 122, 212), 0.22, 2.2, 5.5, 2.0, (10, 17)),
    "crop": Ground(CROPS, (130, 150, 96, 225), 0.16, 2.0, 5.5, 1.4, (8, 15)),
    "dry": Ground(DRY, (138, 148, 102, 219), 0.38, 2.6, 5.5, 1.6, (9, 14)),
    "bare": Ground(SOILS, (168, 154, 118, 206), 0.20, 1.6, 4.2, 1.6, (7, 14)),
    "woods": Ground([(108, 130, 90, 222)], (150, 152, 108, 218), 0.25, 3.4, 5.5, 0.0, (9, 14)),
    "lawn": Ground([(124, 144, 96, 221), (134, 150, 102, 220)], (166, 158, 116, 212), 0.20, 2.6, 6.5, 1.4, (5, 8)),
}


def ground_colour(
    canvas: Canvas, textures: Textures, look: Ground, direction: float, pixels: NDArray[np.int64]
) -> Floats:
    """Colours of a field's pixels, (4, n)."""
    rng = canvas.rng
    rows, cols = np.divmod(pixels, canvas.shape[1])
    patches, blotches, grain, terrain = (
        part.ravel()[pixels] for part in (textures.patches, textures.blotches, textures.grain, textures.terrain)
    )
    stripes = machine_stripes(rng, rows, cols, direction, look.stripe_px) * (1 + 0.5 * patches)
    base, other = canvas.pick(look.colours, 5), np.array(look.other, np.float32)
    mixed = np.clip(
        look.patchiness * (0.6 + 0.8 * patches + 0.6 * blotches + 0.35 * grain + 0.7 * terrain * rng.choice([-1, 1])),
        0,
        1,
    )
    colour = base[:, None] + mixed * (other - base)[:, None]
    tufts = rng.uniform(6, 26) * np.clip(np.abs(grain) - 1.9, 0, None) * -np.sign(grain - 0.5)  # weeds, bare spots
    bright = 4 * terrain + tufts + look.blotch * blotches + look.grain * grain + look.rows * stripes
    colour += bright * np.array([[1.0], [0.92], [0.8], [0.28]], np.float32)
    colour[1] += 2.6 * textures.greenness.ravel()[pixels]
    colour[2] += 4.0 * textures.blueness.ravel()[pixels]
    return colour


def machine_stripes(
    rng: np.random.Generator,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    direction: float,
    spacing: tuple[float, float],
) -> Floats:
    """Brightness of mowing swaths and crop rows at each pixel: even stripes and streaks that follow them, (n,)."""
    across = (rows * math.cos(direction) - cols * math.sin(direction)).astype(np.float32)
    place = (rows * math.sin(direction) + cols * math.cos(direction)).astype(np.float32)
    across += along(profile(rng, 260) * 7, place)  # the driver follows the slope, not a ruler
    width = rng.uniform(*spacing)
    even = np.sin(across * (2 * math.pi / width)) * (0.5 + 0.5 * along(profile(rng, 80), across))
    tracks = np.where(np.abs((across / (width * 2)) % 1 - 0.5) < 0.045, 1.3, 0)
    return (0.8 * even + 0.9 * along(profile(rng, 4), across) + tracks).astype(np.float32)


def paint_fields(canvas: Canvas, textures: Textures, parcels: Parcels) -> None:
    """Colour every field; bare ones get their class, woods become ground that trees will hide."""
    flat_image, flat_ids = canvas.image.reshape(4, -1), canvas.ids.reshape(-1)
    for one in parcels.fields:
        flat_image[:, one.pixels] = ground_colour(canvas, textures, GROUNDS[one.kind], one.direction, one.pixels)
        if one.kind == "bare":
            flat_ids[one.pixels] = BARE


def paint_margins(canvas: Canvas, textures: Textures, parcels: Parcels, plan: Plan) -> None:
    """Rank grass between fields and along roads and the creek."""
    width = 2.2 + 1.1 * textures.blotches
    verge = np.minimum(np.abs(plan.road_distance), np.abs(plan.side_distance)) - 15 - 2 * textures.patches
    bank = np.abs(plan.creek_distance) - plan.creek_width - 9 - 5 * textures.patches
    distance = np.minimum(np.minimum(parcels.border - width, verge), bank)
    grass = np.array([118, 140, 92, 222], np.float32)[:, None, None] + 7 * textures.blotches + 5 * textures.grain
    grass[3] = 222 + 2 * textures.blotches
    canvas.paint(_cover(distance * 0.6), grass, BACKGROUND)


def paint_trails(canvas: Canvas) -> None:
    """A few paths that cattle and tractors wore into the grass; they keep the class below them."""
    rng, (height, width) = canvas.rng, canvas.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(max(1, height * width // 200_000)):
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        bend = profile(rng, 160) * 14 + profile(rng, 60) * 5
        place, distance = Curve(centre, rng.uniform(0, math.pi), bend).local(x, y)
        length = rng.uniform(60, 180)
        worn = 0.55 + 0.25 * along(profile(rng, 40), place)
        cover = _cover(np.abs(distance) - 0.9) * worn * (np.abs(place) < length)
        canvas.paint(np.clip(cover, 0, 1).astype(np.float32), canvas.pick([TRAIL]), None)


def paint_dirt(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """A worn patch of soil, as at gates and feeders."""
    place = canvas.around(x, y, radius * 2)
    if place is None:
        return
    at, dx, dy = place
    ragged = noise(canvas.rng, (dy.shape[0], dx.shape[1]), 6)
    cover = np.clip(1.2 - np.hypot(dx, dy) / radius + 0.35 * ragged, 0, 0.85).astype(np.float32)
    canvas.paint(cover, canvas.pick([TRAIL]), None, at)


def paint_terrain(canvas: Canvas, textures: Textures) -> None:
    """Slopes that face the sun are a little brighter."""
    relief = np.gradient(ndimage.gaussian_filter(textures.terrain, 8), axis=1) * 120
    canvas.image[:3] *= 1 + 0.035 * np.clip(relief, -2, 2)


# --- water -----------------------------------------------------------------------------------------------------------


def paint_water(canvas: Canvas, distance: Floats, colours: list[Colour], textures: Textures, clear: float) -> None:
    """Water inside ``distance`` < 0 (H, W), of one of the colours, with a bank of grass and some mud round it.

    No tree and no building stands less than ``clear`` pixels away.
    """
    rng = canvas.rng
    rim = np.array([120, 138, 94, 216], np.float32)[:, None, None] + 5 * textures.blotches + 4 * textures.grain
    rim[3] = 214
    canvas.paint(_cover((distance - 7 - 4 * textures.patches) / 5), rim, BACKGROUND)
    mud = np.clip(1.1 - np.abs(distance - 0.5) / 2.2, 0, 1) * np.clip(0.3 + 0.4 * textures.patches, 0, 0.8)
    canvas.paint(mud.astype(np.float32), canvas.pick([(150, 140, 112, 170)]), None)
    water = canvas.pick(colours, 3)[:, None, None] + 2.0 * textures.terrain + 1.2 * textures.patches
    water[3] = np.clip(water[3], 1, 30)
    reach, brown = rng.uniform(3, 10), rng.uniform(4, 22)
    shallow = np.exp(np.minimum(distance, 0) / reach) * brown  # the ground shows through near the bank
    water = water + shallow * np.array([1.0, 0.8, 0.25, 0.6], np.float32)[:, None, None]
    canvas.paint(_cover(distance / 1.5), np.maximum(water, 1).astype(np.float32), WATER)
    canvas.keep_clear |= distance < clear


def creek_outline(plan: Plan, textures: Textures) -> Floats:
    """Signed distance to the creek's bank in pixels, (H, W)."""
    return np.abs(plan.creek_distance) - plan.creek_width - 0.9 * textures.blotches


def pond_outlines(canvas: Canvas, plan: Plan) -> list[Floats]:
    """Signed distance to the bank of each of some ponds away from roads, (H, W), roughly in pixels."""
    rng, (height, width) = canvas.rng, canvas.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bays = 0.22 * noise(rng, canvas.shape, 45) + 0.1 * noise(rng, canvas.shape, 18)
    result: list[Floats] = []
    clear = np.minimum(np.abs(plan.road_distance), np.abs(plan.side_distance))
    for _ in range(max(1, round(height * width / 260_000))):
        radius = rng.uniform(24, 62)
        spots = np.argwhere(clear[::8, ::8] > radius * 1.7 + 14)
        if len(spots) == 0:
            continue
        row, col = spots[rng.integers(len(spots))] * 8
        angle, squash = rng.uniform(0, math.pi), rng.uniform(0.55, 0.9)
        dx, dy = x - col, y - row
        p = dx * math.cos(angle) + dy * math.sin(angle)
        q = (dy * math.cos(angle) - dx * math.sin(angle)) / squash
        result.append(((np.hypot(p, q) / radius - 1 + bays) * radius * squash).astype(np.float32))
    return result


# --- roads -----------------------------------------------------------------------------------------------------------


def paint_roads(canvas: Canvas, plan: Plan, textures: Textures) -> None:
    """The side road of gravel, then the paved main road over it."""
    rng = canvas.rng
    gravel = canvas.rng.random() < 0.6
    _paint_road(canvas, plan.side_place, plan.side_distance, rng.uniform(4.0, 5.2), GRAVEL, textures)
    surface = GRAVEL if gravel else ASPHALT
    half = rng.uniform(5.2, 6.6)
    _paint_road(canvas, plan.road_place, plan.road_distance, half, surface, textures)
    for distance, strength in (
        (np.abs(plan.road_distance), 12.0),
        (np.abs(np.abs(plan.road_distance) - half + 1.2), 16.0),
    ):
        canvas.image[:3] += strength * np.clip(0.8 - distance, 0, 1)  # centre line and edge lines, barely seen
    wheels = np.exp(-(((np.abs(plan.road_distance) - half * 0.48) / 1.1) ** 2))
    canvas.image -= 6 * wheels * (canvas.ids == ROAD)


def _paint_road(
    canvas: Canvas, place: Floats, distance: Floats, half: float, colour: Colour, textures: Textures
) -> None:
    """A road of ``half`` pixels to each side, with worn shoulders."""
    rng = canvas.rng
    shade = (5 * along(profile(rng, 120), place) + 1.5 * textures.grain + 2 * textures.blotches).astype(np.float32)
    edge = np.abs(distance) - half - 0.35 * textures.blotches
    shoulder = np.clip(1 - edge / 2.5, 0, 1) * np.clip(0.4 + 0.3 * textures.blotches, 0, 0.8)
    canvas.paint(shoulder.astype(np.float32), canvas.pick([(172, 168, 130, 208)]), None)
    canvas.paint(_cover(edge), canvas.pick([colour], 3)[:, None, None] + shade, ROAD)
    canvas.keep_clear |= edge < 3


def paint_lane(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], half: float, colour: Floats
) -> None:
    """A driveway that bends a little (a Bezier curve), wider where it leaves the road."""
    sway = canvas.rng.normal(0, 0.16)
    bow = ((start[0] + end[0]) / 2 - sway * (end[1] - start[1]), (start[1] + end[1]) / 2 + sway * (end[0] - start[0]))
    steps = np.linspace(0, 1, 7)[:, None]
    points = (1 - steps) ** 2 * np.array(start) + 2 * steps * (1 - steps) * np.array(bow) + steps**2 * np.array(end)
    for number, (one, next_) in enumerate(itertools.pairwise(points)):
        _paint_straight(canvas, tuple(one), tuple(next_), half * (1.5 if number == 0 else 1), colour)


def _paint_straight(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], half: float, colour: Floats
) -> None:
    """A straight piece of a driveway with a ragged edge."""
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    length = math.dist(start, end)
    place = canvas.around(*middle, length / 2 + half + 4)
    if place is None or length < 1:
        return
    at, dx, dy = place
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    beyond = np.maximum(np.abs(dx * ux + dy * uy) - length / 2, 0)
    ragged = noise(canvas.rng, (dy.shape[0], dx.shape[1]), 9) * 0.5
    cover = _cover(np.hypot(beyond, dy * ux - dx * uy) - half + ragged)
    canvas.paint(cover, colour, ROAD, at)
    canvas.keep_clear[at] |= cover > 0


def paint_cars(canvas: Canvas, curve: Curve, number: int) -> None:
    """Cars as tiny spots, mostly white or dark, with a shadow."""
    rng = canvas.rng
    paints: list[Colour] = [(240, 240, 240, 220), (60, 64, 72, 60), (225, 226, 228, 200), (190, 60, 55, 150)]
    for _ in range(number):
        x, y, turn = curve.point(rng.uniform(-1, 1) * max(canvas.shape) * 0.7, rng.choice([-1, 1]) * 2.6)
        stamp_box(canvas, x - 1.6, y - 0.7, turn, (3.9, 1.7), np.array([95, 98, 104, 90], np.float32), None)
        stamp_box(canvas, x, y, turn, (3.9, 1.6), canvas.pick(paints), None)


def stamp_box(
    canvas: Canvas, x: float, y: float, turn: float, half: tuple[float, float], colour: Floats, class_id: int | None
) -> None:
    """A turned rectangle, half as long and half as wide as ``half``."""
    place = canvas.around(x, y, math.hypot(*half) + 2)
    if place is None:
        return
    at, dx, dy = place
    canvas.paint(_cover(_box_distance(dx, dy, turn, half)[0]), colour, class_id, at)


def _box_distance(dx: Floats, dy: Floats, turn: float, half: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Distance to a turned rectangle, negative inside, and the offsets along and across it."""
    p = dx * math.cos(turn) + dy * math.sin(turn)
    q = dy * math.cos(turn) - dx * math.sin(turn)
    return np.maximum(np.abs(p) - half[0], np.abs(q) - half[1]), p, q


# --- buildings -------------------------------------------------------------------------------------------------------


def sun_vector() -> tuple[float, float, float]:
    """Unit vector towards the sun: x to the east, y to the south, z up."""
    azimuth, height = math.radians(SUN_AZIMUTH_DEG), math.radians(SUN_HEIGHT_DEG)
    return math.sin(azimuth) * math.cos(height), -math.cos(azimuth) * math.cos(height), math.sin(height)


def stamp_building(
    canvas: Canvas, x: float, y: float, turn: float, half: tuple[float, float], eaves_m: float, colour: Floats
) -> None:
    """A house with a gabled roof: the half that faces the sun is brighter, the ridge a fine line."""
    place = canvas.around(x, y, math.hypot(*half) + 2)
    if place is None:
        return
    at, dx, dy = place
    distance, _, across = _box_distance(dx, dy, turn, half)
    pitch = canvas.rng.uniform(0.28, 0.55)
    sun_x, sun_y, sun_z = sun_vector()
    side = np.clip(across / 0.7, -1, 1)  # -1 and 1 on the two slopes, in between on the ridge
    tilt = pitch * (-sun_x * math.sin(turn) + sun_y * math.cos(turn))
    light = (sun_z + side * tilt) / (sun_z * math.sqrt(1 + pitch**2))
    seams = 1 + 0.08 * noise(canvas.rng, (dy.shape[0], dx.shape[1]), 1.5)
    bright = np.clip(0.2 + 0.82 * light, 0.3, 1.25) * seams
    canvas.paint(_cover(distance), np.clip(colour[:, None, None] * bright, 0, 246).astype(np.float32), BUILDING, at)
    height = eaves_m + pitch * PIXEL_M * np.clip(half[1] - np.abs(across), 0, None)
    canvas.roofs[at] = np.maximum(canvas.roofs[at], np.where(distance < 0, height, 0))
    canvas.keep_clear[at] |= distance < 4


def is_free(canvas: Canvas, x: float, y: float, reach: float) -> bool:
    """Whether nothing stands or flows within ``reach`` pixels, and the place lies in the scene."""
    place = canvas.around(x, y, reach)
    return place is not None and not canvas.keep_clear[place[0]].any()


def build_house(
    canvas: Canvas, textures: Textures, road: Curve, along_px: float, side: float
) -> list[tuple[float, float]]:
    """A house on its lawn with driveway, often a shed, seldom a pool. Returns where yard trees go."""
    rng = canvas.rng
    back = side * rng.uniform(30, 58)
    x, y, turn = road.point(along_px, back)
    if not is_free(canvas, x, y, 15):
        return []
    paint_lawn(canvas, textures, (x, y), turn, (rng.uniform(28, 38), abs(back) - 8))
    shift = rng.uniform(9, 14)
    gate, door = road.point(along_px + shift, 0)[:2], road.point(along_px + shift, back)[:2]
    paint_lane(canvas, gate, door, rng.uniform(1.9, 2.7), canvas.pick([GRAVEL, GRAVEL, ASPHALT]))
    turn += rng.normal(0, 0.12) + rng.choice([0, 0, math.pi / 2])
    roof = canvas.pick(ROOFS[2:])  # white metal is for barns
    half = (rng.uniform(10, 15), rng.uniform(6, 8.5))
    stamp_building(canvas, x, y, turn, half, 3.2, roof)
    if rng.random() < 0.55:
        end = rng.choice([-1, 1]) * half[0] * 0.6
        wing = (x + end * math.cos(turn) - 6 * math.sin(turn), y + end * math.sin(turn) + 6 * math.cos(turn))
        stamp_building(canvas, *wing, turn + math.pi / 2, (rng.uniform(8, 11), rng.uniform(4.5, 6)), 3.0, roof)
    build_sheds(canvas, road, along_px, back, rng.integers(0, 3))
    litter(canvas, x, y, 30, rng.integers(2, 9))
    if rng.random() < 0.3:
        dig_pool(canvas, *road.point(along_px - 12, back + side * 20)[:2])
    return [road.point(along_px + rng.normal(0, 26), back + rng.normal(0, 22))[:2] for _ in range(rng.integers(2, 7))]


def build_sheds(canvas: Canvas, road: Curve, along_px: float, back: float, number: int) -> None:
    """Small outbuildings behind a house."""
    rng = canvas.rng
    for _ in range(number):
        x, y, turn = road.point(along_px + rng.uniform(-26, 26), back * rng.uniform(1.35, 1.7))
        if is_free(canvas, x, y, 7):
            half = (rng.uniform(3, 7), rng.uniform(2.5, 4.5))
            stamp_building(canvas, x, y, turn + rng.normal(0, 0.2), half, 2.4, canvas.pick(ROOFS))


def build_farm(
    canvas: Canvas, textures: Textures, road: Curve, along_px: float, side: float
) -> list[tuple[float, float]]:
    """Barns round a gravel yard, a silo or two, and a lane from the road. Returns where yard trees go."""
    rng = canvas.rng
    back = side * rng.uniform(70, 100)
    x, y, turn = road.point(along_px, back)
    if not is_free(canvas, x, y, 40):
        return []
    paint_lawn(canvas, textures, (x, y), turn, (68, 62))
    gravel = canvas.pick([GRAVEL])
    paint_lane(canvas, road.point(along_px, 0)[:2], (x, y), 2.8, gravel)
    paint_lane(canvas, road.point(along_px - 18, back)[:2], road.point(along_px + 20, back)[:2], 10, gravel)
    for shift, beyond in ((-38, 4), (34, 14), (-6, 36), (30, -24), (-34, -28)):
        if rng.random() < 0.75:
            bx, by, _ = road.point(along_px + shift + rng.normal(0, 3), back + side * beyond)
            half = (rng.uniform(12, 24), rng.uniform(7.5, 12))
            quarter = rng.choice([0, math.pi / 2])
            stamp_building(
                canvas, bx, by, turn + quarter, half, rng.uniform(4, 6), canvas.pick(ROOFS[:5] * 2 + ROOFS[8:])
            )
    for _ in range(rng.integers(0, 3)):
        build_silo(canvas, *road.point(along_px - 16 + rng.uniform(-4, 4), back + side * rng.uniform(52, 62))[:2])
    paint_dirt(canvas, *road.point(along_px + 52, back + side * 30)[:2], radius=16)
    litter(canvas, x, y, 62, rng.integers(12, 30))
    return [road.point(along_px + rng.normal(0, 50), back + rng.normal(0, 40))[:2] for _ in range(6)]


def litter(canvas: Canvas, x: float, y: float, reach: float, number: int) -> None:
    """Parked cars, trailers, bushes, heaps: the small things that lie about where people live."""
    rng = canvas.rng
    paints: list[Colour] = [(235, 235, 232, 215), (70, 74, 82, 80), (92, 112, 88, 205), (180, 168, 140, 190)]
    for _ in range(number):
        px, py, turn = x + rng.normal(0, reach / 2), y + rng.normal(0, reach / 2), rng.uniform(0, math.pi)
        if is_free(canvas, px, py, 2):
            half = (rng.uniform(0.9, 3.6), rng.uniform(0.8, 1.8))
            stamp_box(canvas, px - 1.2, py - 0.5, turn, half, np.array([74, 86, 84, 140], np.float32), None)
            stamp_box(canvas, px, py, turn, half, canvas.pick(paints, 10), None)


def build_silo(canvas: Canvas, x: float, y: float) -> None:
    """A round roof that casts a long shadow."""
    place = canvas.around(x, y, 9)
    if place is None:
        return
    at, dx, dy = place
    sun_x, sun_y, _ = sun_vector()
    light = 1 + 0.06 * (dx * sun_x + dy * sun_y) / 5
    roof = np.array([222, 224, 222, 214], np.float32)[:, None, None] * light
    inside = _cover(np.hypot(dx, dy) - 5)
    canvas.paint(inside, roof.astype(np.float32), BUILDING, at)
    canvas.roofs[at] = np.maximum(canvas.roofs[at], 13 * (inside >= 0.5))
    canvas.keep_clear[at] |= inside > 0


def dig_pool(canvas: Canvas, x: float, y: float) -> None:
    """A swimming pool, which counts as water."""
    if not is_free(canvas, x, y, 7):
        return
    turn = canvas.rng.uniform(0, math.pi)
    stamp_box(canvas, x, y, turn, (6.5, 5), np.array([205, 204, 198, 190], np.float32), None)
    stamp_box(canvas, x, y, turn, (4.5, 3), np.array(POOL, np.float32), WATER)
    canvas.keep_clear[max(0, int(y) - 8) : int(y) + 9, max(0, int(x) - 8) : int(x) + 9] = True


def paint_lawn(
    canvas: Canvas, textures: Textures, at_xy: tuple[float, float], turn: float, half: tuple[float, float]
) -> None:
    """The mown lot round a house; roads and water stay."""
    place = canvas.around(*at_xy, math.hypot(*half) + 12)
    if place is None:
        return
    at, dx, dy = place
    outline = _box_distance(dx, dy, turn, half)[0] + 5 * noise(canvas.rng, (dy.shape[0], dx.shape[1]), 28)
    kept = np.isin(canvas.ids[at], (ROAD, WATER, BUILDING))
    cover = np.where(kept, 0, _cover(outline / 5)).astype(np.float32)
    pixels = np.arange(canvas.ids.size).reshape(canvas.shape)[at].ravel()
    colour = ground_colour(canvas, textures, GROUNDS["lawn"], turn + canvas.rng.choice([0, 1.2, math.pi / 2]), pixels)
    canvas.paint(cover, colour.reshape(4, *cover.shape), BACKGROUND, at)


def settle(canvas: Canvas, textures: Textures, plan: Plan) -> list[tuple[float, float]]:
    """A farm or two at the roads and a hamlet along the side road. Returns where yard trees go."""
    rng = canvas.rng
    reach = max(canvas.shape) * 0.62
    trees: list[tuple[float, float]] = []
    for _ in range(max(1, canvas.ids.size // 250_000)):
        road = plan.road if rng.random() < 0.6 else plan.side_road
        trees += build_farm(canvas, textures, road, rng.uniform(-reach, reach), rng.choice([-1, 1]))
    hamlet = rng.uniform(-0.4, 0.4) * reach
    for side in (-1, 1):
        for along_px in np.arange(hamlet - 210, hamlet + 210, 62):
            if rng.random() < 0.72:
                trees += build_house(canvas, textures, plan.side_road, along_px + rng.normal(0, 7), side)
        for along_px in np.arange(-reach, reach, 90):
            if rng.random() < 0.22:
                trees += build_house(canvas, textures, plan.road, along_px + rng.normal(0, 14), side)
    return trees


# --- trees -----------------------------------------------------------------------------------------------------------


def wooded(canvas: Canvas, plan: Plan, parcels: Parcels, textures: Textures) -> Mask:
    """Where trees stand close together: woods, tree lines on field borders, the creek's banks, whose crowns roof it."""
    flat = np.zeros(canvas.ids.size, bool)
    for one in parcels.fields:
        if one.kind == "woods":
            flat[one.pixels] = True
    ragged = 9 * textures.patches + 10 * textures.terrain + 3 * textures.blotches
    woods = flat.reshape(canvas.shape) & (parcels.border + ragged > 10)
    woods |= (textures.terrain + 0.35 * textures.patches > 1.7) & (np.abs(plan.road_distance) > 60)
    hedges = parcels.hedge < 3.5 + 3.5 * textures.patches
    bank = np.abs(plan.creek_distance) - np.maximum(plan.creek_width, 0)
    riparian = bank < 12 + 16 * textures.patches + 8 * textures.terrain
    yards = ndimage.binary_dilation(canvas.roofs[::4, ::4] > 0, iterations=8)
    yards = yards.repeat(4, 0).repeat(4, 1)[: canvas.shape[0], : canvas.shape[1]]
    verge = np.minimum(np.abs(plan.road_distance), np.abs(plan.side_distance)) - 22 - 5 * textures.patches
    found = (woods | hedges | riparian) & (verge > 0) & ~canvas.keep_clear & ~yards
    return ndimage.maximum_filter(ndimage.minimum_filter(found, 5), 5)  # drops slivers too thin for a crown


def plant_woods(canvas: Canvas, where: Mask, textures: Textures) -> None:
    """Undergrowth, and a crown on every few pixels of a shaken grid."""
    rng, (height, width) = canvas.rng, canvas.shape
    inside = ndimage.gaussian_filter(where.astype(np.float32), 1.0)
    rim = np.clip(3 * ndimage.gaussian_filter(where.astype(np.float32), 4.0), 0, 1) * (canvas.ids == BARE)
    grass = np.array([112, 134, 90, 221], np.float32)[:, None, None] + 6 * textures.blotches + 4 * textures.grain
    canvas.paint(rim, grass, BACKGROUND)
    floor = np.array(UNDERGROWTH, np.float32)[:, None, None] + 6 * textures.grain
    canvas.paint(inside, floor.astype(np.float32), FOREST)
    canvas.trees[where] = np.maximum(canvas.trees[where], 3)
    spacing = 6.0
    rows, cols = np.mgrid[0:height:spacing, 0:width:spacing]
    y = (rows + rng.uniform(-0.5, 0.5, rows.shape) * spacing * 1.1).ravel()
    x = (cols + rng.uniform(-0.5, 0.5, cols.shape) * spacing * 1.1).ravel()
    at = np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)
    chosen = where[at] & (rng.random(y.size) < 0.92)
    age = 1 + 0.16 * textures.patches[at]
    stand = textures.terrain[at]
    for px, py, older, place in zip(x[chosen], y[chosen], age[chosen], stand[chosen], strict=True):
        radius = float(np.clip(rng.gamma(5.5, 0.95) * older, 2.4, 12))
        plant_tree(canvas, px, py, radius, 5.5 + 0.8 * radius + rng.normal(0, 1.7), leaves(canvas, place))


def leaves(canvas: Canvas, stand: float) -> Floats:
    """Colour of one crown: neighbours are alike, and each is a little different."""
    index = int(np.clip(2 + stand + canvas.rng.normal(0, 1.3), 0, len(LEAVES) - 1))
    return canvas.pick([LEAVES[index]], 6) * np.float32(1 + 0.07 * stand)


def plant_tree(canvas: Canvas, x: float, y: float, radius: float, top_m: float, colour: Floats) -> None:
    """A crown: a lumpy dome that hides whatever is lower."""
    place = canvas.around(x, y, radius * 1.3)
    if place is None:
        return
    at, dx, dy = place
    angle = np.arctan2(dy, dx)
    phase = canvas.rng.uniform(0, 6.3, 2)
    outline = radius * (1 + 0.13 * np.sin(3 * angle + phase[0]) + 0.08 * np.sin(5 * angle + phase[1]))
    distance = np.hypot(dx, dy) / outline
    height = top_m - (0.75 * radius) * distance**2.2
    shown = (distance < 1) & (height > canvas.trees[at]) & (canvas.roofs[at] == 0)
    cover = np.where(shown, np.clip((1 - distance) * radius + 0.2, 0, 1), 0).astype(np.float32)
    canvas.paint(cover, colour, FOREST, at)
    canvas.trees[at] = np.where(shown, height, canvas.trees[at])


def plant_lone_trees(canvas: Canvas, yards: list[tuple[float, float]]) -> None:
    """Trees in yards and pastures, and bushes."""
    rng, (height, width) = canvas.rng, canvas.shape
    number = canvas.ids.size // 27_000
    strays = list(zip(rng.uniform(0, width, number), rng.uniform(0, height, number), strict=True))
    for x, y in yards + strays:
        radius = rng.uniform(4.5, 11)
        inside = 0 <= x < width and 0 <= y < height
        if inside and canvas.ids[int(y), int(x)] == BACKGROUND and is_free(canvas, x, y, radius * 0.6):
            plant_tree(canvas, x, y, radius, 3 + 1.1 * radius, leaves(canvas, rng.normal()))


def paint_bales(canvas: Canvas, parcels: Parcels) -> None:
    """Round bales on some mown fields."""
    rng = canvas.rng
    for one in parcels.fields:
        if one.kind in ("hay", "bare") and rng.random() < 0.35:
            for pixel in rng.choice(one.pixels, max(1, len(one.pixels) // 2500)):
                y, x = divmod(int(pixel), canvas.shape[1])
                if canvas.ids[y, x] in (BACKGROUND, BARE):
                    stamp_box(canvas, x - 1.2, y - 0.5, 0, (1.0, 0.8), np.array([96, 98, 84, 150], np.float32), None)
                    stamp_box(canvas, x, y, 0, (1.1, 1.0), np.array([202, 186, 146, 205], np.float32), None)


# --- light and camera ------------------------------------------------------------------------------------------------


def light_crowns(canvas: Canvas, textures: Textures) -> None:
    """Brighten the crowns' sides that face the sun (Lambert), darken the others."""
    trees = canvas.trees
    lumps = trees + (trees > 0) * (0.6 * textures.grain + 0.4 * textures.blotches)
    smooth = ndimage.gaussian_filter(lumps, 0.6)
    down, right = np.gradient(smooth, PIXEL_M)
    sun_x, sun_y, sun_z = sun_vector()
    facing = (sun_z - 0.6 * (right * sun_x + down * sun_y)) / (sun_z * np.sqrt(1 + 0.36 * (right**2 + down**2)))
    light = np.clip(0.62 + 0.38 * facing, 0.45, 1.45)
    crowns = trees > 0
    for band, strength in enumerate((1.0, 0.95, 0.7, 0.42)):
        canvas.image[band] = np.where(crowns, canvas.image[band] * (1 + strength * (light - 1)), canvas.image[band])


def shadow(heights: Floats) -> Floats:
    """How deep each pixel lies in the shadow of whatever stands towards the sun, 0 to 1: (H, W)."""
    sun_x, sun_y, sun_z = sun_vector()
    flat = math.hypot(sun_x, sun_y)
    rise = PIXEL_M * sun_z / flat
    blocked = np.zeros_like(heights)
    for step in range(1, int(heights.max() / rise) + 1):
        shift = round(step * sun_y / flat), round(step * sun_x / flat)
        target, source = _overlap(heights.shape[0], shift[0]), _overlap(heights.shape[1], shift[1])
        part = blocked[target[0], source[0]]
        np.maximum(part, heights[target[1], source[1]] - np.float32(step * rise), out=part)
    return ndimage.gaussian_filter(np.clip((blocked - heights) / 1.2, 0, 1), 0.6)


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """Pixels of a side, and the pixels ``shift`` further on."""
    return slice(max(0, -shift), length - max(0, shift)), slice(max(0, shift), length + min(0, shift))


def annotate(canvas: Canvas) -> NDArray[np.uint8]:
    """Class ids as people outline them on such images: (H, W).

    Trees are outlined together with their shadow on the ground, smoothly, and with whatever slivers of water they leave
    open; roads a pixel and roofs two pixels generously, a roof with the rim of its shadow.
    """
    ids = canvas.ids.copy()
    land = np.isin(ids, (BACKGROUND, BARE))
    trees = (ids == FOREST) | (land & (shadow(canvas.trees) > 0.5))
    smooth = ndimage.gaussian_filter(trees.astype(np.float32), 2) > 0.5
    ids[land & smooth] = FOREST
    ids[(ids == FOREST) & ~smooth] = BACKGROUND
    ids[slivers(ids == WATER) & ndimage.maximum_filter(trees, 7)] = FOREST
    rims = [
        (ROAD, ndimage.binary_dilation(ids == ROAD)),
        (BUILDING, ndimage.binary_dilation(ids == BUILDING, iterations=2)),
        (BUILDING, ndimage.binary_dilation(ids == BUILDING, iterations=4) & (shadow(canvas.roofs) > 0.5)),
    ]
    for class_id, grown in rims:
        ids[grown & land & (ids != BUILDING)] = class_id
    return ids


def slivers(water: Mask) -> Mask:
    """Water too thin, or in pieces too small, to be outlined: (H, W)."""
    wide = ndimage.maximum_filter(ndimage.minimum_filter(water, 5), 5) & water
    pieces, _ = ndimage.label(wide)
    found: Mask = water & (~wide | (np.bincount(pieces.ravel())[pieces] < 500))
    return found


def cast_shadows(canvas: Canvas) -> None:
    """Darken what lies in the shadow; its class stays. Light passes leaves, and water is dark already."""
    depth = shadow(np.maximum(canvas.trees, canvas.roofs))
    depth = depth * np.where(canvas.trees > 0, 0.65, np.where(canvas.ids == WATER, 0.35, 1.0))
    for band, left in enumerate(SHADE):
        canvas.image[band] *= 1 - depth * np.float32(1 - left)


LUMA = np.array(
    [[0.299, 0.587, 0.114, 0], [-0.169, -0.331, 0.5, 0], [0.5, -0.419, -0.081, 0], [0, 0, 0, 1]], np.float32
)
"""Red, green, blue, infrared to luma, two chromas and infrared, as JPEG stores them."""


def photograph(canvas: Canvas) -> NDArray[np.uint8]:
    """Blur, the sharpening that the measured images had, sensor noise and lossy compression: (4, H, W)."""
    rng = canvas.rng
    soft = np.stack([ndimage.gaussian_filter(band, 0.7, truncate=3) for band in canvas.image])
    soft[3] = ndimage.gaussian_filter(soft[3], 0.55, truncate=3)
    sharp = soft + 0.45 * (soft - ndimage.gaussian_filter(soft, (0, 1.2, 1.2), truncate=3))
    stored = np.tensordot(LUMA, sharp, 1)
    for channel, finest in enumerate((8, 4, 4, 8)):
        grain = rng.standard_normal(canvas.shape, np.float32) * np.float32(0.6)
        stored[channel] = compress(stored[channel] + grain, finest)
    seen = np.tensordot(np.linalg.inv(LUMA), stored, 1)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def compress(band: Floats, finest: int) -> Floats:
    """Round the cosine coefficients of 8 x 8 pixel blocks, as JPEG does, the finer the pattern the coarser.

    Coefficients from ``finest`` on are dropped: 4 does to a chroma what halving its resolution does.
    """
    height, width = band.shape
    padded = np.pad(band, ((0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8)
    rank = np.arange(8)
    steps = (3.2 + 1.8 * (rank[:, None] + rank[None, :])).astype(np.float32)[None, :, None, :]
    spectrum = np.rint(fft.dctn(blocks, axes=(1, 3), norm="ortho") / steps) * steps
    spectrum[:, finest:], spectrum[:, :, :, finest:] = 0, 0
    restored = fft.idctn(spectrum, axes=(1, 3), norm="ortho")
    return restored.reshape(padded.shape)[:height, :width]


def make_scene(height: int, width: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a landscape.

    Args:
        height: Rows; a pixel is 0.6 m.
        width: Columns.
        seed: The same seed and size give the same scene.

    Returns:
        Image (4, H, W) with red, green, blue and infrared, and class ids (H, W).
    """
    canvas = Canvas.empty(height, width, np.random.default_rng(seed))
    plan, textures = make_plan(canvas), make_textures(canvas)
    parcels = split_parcels(canvas, plan)
    paint_fields(canvas, textures, parcels)
    paint_trails(canvas)
    paint_margins(canvas, textures, parcels, plan)
    paint_bales(canvas, parcels)
    paint_terrain(canvas, textures)
    paint_water(canvas, creek_outline(plan, textures), CREEKS, textures, 0)
    for outline in pond_outlines(canvas, plan):
        paint_water(canvas, outline, PONDS, textures, 2)
    paint_roads(canvas, plan, textures)
    yards = settle(canvas, textures, plan)
    plant_woods(canvas, wooded(canvas, plan, parcels, textures), textures)
    plant_lone_trees(canvas, yards)
    for road in (plan.road, plan.side_road):
        paint_cars(canvas, road, max(2, canvas.ids.size // 200_000))
    light_crowns(canvas, textures)
    ids = annotate(canvas)
    cast_shadows(canvas)
    return photograph(canvas), ids


# --- files -----------------------------------------------------------------------------------------------------------

CRS = "EPSG:32617"
SCENE_SEED, SCENE_SHAPE = 32, (864, 1152)
ORIGIN = (267_600.0, 4_301_400.0)
"""Easting and northing of the scene's upper left corner: Brown County, Ohio."""
TRAIN_SEEDS, VAL_SEEDS = (101, 102, 103, 104, 105, 106), (201, 202)
"""One landscape each, none of them the scene's: tiles of one landscape never stand in both splits."""
TILE, TILES_A_SCENE = 192, 4
TILE_SCENE_SHAPE = (TILE * 3, TILE * 4)


def transform_at(origin: tuple[float, float], row: int = 0, col: int = 0) -> Affine:
    """Pixel to map, for a window that begins at (``row``, ``col``) of the scene at ``origin``."""
    return Affine(PIXEL_M, 0, origin[0] + col * PIXEL_M, 0, -PIXEL_M, origin[1] - row * PIXEL_M)


def _profile(array: NDArray[np.uint8], transform: Affine) -> dict[str, object]:
    """What image and label files have in common."""
    height, width = array.shape[-2:]
    block = min(256, height // 16 * 16)
    return {
        "driver": "GTiff", "height": height, "width": width, "dtype": "uint8", "crs": CRS, "transform": transform,
        "tiled": True, "blockxsize": block, "blockysize": block, "compress": "deflate", "zlevel": 9,
    }  # fmt: skip


def write_image(path: Path, image: NDArray[np.uint8], transform: Affine) -> None:
    """Write red, green, blue and infrared; the fourth band is no alpha."""
    extra = {"count": 4, "predictor": 2, "photometric": "RGB", "alpha": "unspecified", "interleave": "band"}
    with rasterio.open(path, "w", **_profile(image, transform), **extra) as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
        file.descriptions = ("red", "green", "blue", "nir")
        file.write(image)


def write_labels(path: Path, ids: NDArray[np.uint8], transform: Affine) -> None:
    """Write class ids with their colours and names."""
    with rasterio.open(path, "w", **_profile(ids, transform), count=1, nodata=255) as file:
        file.write(ids, 1)
        file.write_colormap(1, {one["id"]: ImageColor.getrgb(one["color"]) for one in CLASSES})
        file.update_tags(GEOSEG_CLASSES=json.dumps(CLASSES))


def most_varied(ids: NDArray[np.uint8], number: int) -> list[tuple[int, int]]:
    """Corners of the tiles that show most classes, and of these the most evenly."""

    def variety(corner: tuple[int, int]) -> tuple[int, float]:
        row, col = corner
        counts = np.bincount(ids[row : row + TILE, col : col + TILE].ravel(), minlength=len(CLASSES)) / TILE**2
        shown = counts[counts > 0.002]
        return len(shown), -float((shown * np.log(shown)).sum())

    corners = [(r, c) for r in range(0, ids.shape[0], TILE) for c in range(0, ids.shape[1], TILE)]
    return sorted(sorted(corners, key=variety)[-number:])


def write_tiles(folder: Path, seed: int, origin: tuple[float, float], split: str) -> Iterator[dict[str, str]]:
    """Write the tiles of one landscape and yield their rows of the table."""
    image, ids = make_scene(*TILE_SCENE_SHAPE, seed)
    for number, (row, col) in enumerate(most_varied(ids, TILES_A_SCENE)):
        name = f"{split}_{seed}_{number}.tif"
        at = np.s_[..., row : row + TILE, col : col + TILE]
        write_image(folder / "tiles/images" / name, image[at], transform_at(origin, row, col))
        write_labels(folder / "tiles/labels" / name, ids[at], transform_at(origin, row, col))
        yield {"image": f"tiles/images/{name}", "label": f"tiles/labels/{name}", "split": split}


def write_all(folder: Path) -> None:
    """Write the scene, its labels, the tiles and their table."""
    image, ids = make_scene(*SCENE_SHAPE, SCENE_SEED)
    write_image(folder / "scene.tif", image, transform_at(ORIGIN))
    write_labels(folder / "scene_labels.tif", ids, transform_at(ORIGIN))
    shutil.rmtree(folder / "tiles", ignore_errors=True)
    for kind in ("images", "labels"):
        (folder / "tiles" / kind).mkdir(parents=True)
    seeds = [(seed, "train") for seed in TRAIN_SEEDS] + [(seed, "val") for seed in VAL_SEEDS]
    with (folder / "tiles.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["image", "label", "split"], lineterminator="\n")
        table.writeheader()
        for place, (seed, split) in enumerate(seeds, start=1):
            origin = (ORIGIN[0] + 1200.0 * place, ORIGIN[1])
            table.writerows(write_tiles(folder, seed, origin, split))


if __name__ == "__main__":
    write_all(Path(__file__).parent)
