"""What an aerial camera sees of a sheet: grown outlines, texture, light, shadows, blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .surfaces import Sheet, noise
from .task import GUARD_PX, PIXEL_M, STRIP, Floats


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
