"""Surfaces of one class and look, and the sheet on which they are drawn."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .task import Colour, Floats, Points


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
            [self._number(replace(look, colour=scaled(look.colour, light))) for light in (0.72, 1.0, 1.25)]
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


def scaled(colour: Colour, light: float) -> Colour:
    """The colour in another light."""
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
