"""Which bands of a scene a model wants, and whether their values are of its kind. Pure functions on names and types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.wording import number_of

_INTEGERS = ("uint16", "int16", "uint32", "int32", "uint64", "int64", "int8")
_FAMILIES = {
    "uint8": ("uint8",),
    "uint16": _INTEGERS,
    "int16": _INTEGERS,
    "float32": ("float32", "float64", "float16"),
}
"""Types of a scene's values that a model of a type takes as they are."""
HIGHEST = {"uint8": 255.0, "uint16": 65535.0, "int16": 32767.0, "float32": 1.0}
"""Value that the bright end of --rescale becomes, per type of a model's values; the dark end becomes 0."""

_SYNONYMS = {
    "red": {"red", "r", "b04"},
    "green": {"green", "g", "b03"},
    "blue": {"blue", "b", "b02"},
    "nir": {"nir", "b08", "near infrared", "near-infrared", "infrared", "nearinfrared"},
}
"""What a band is called, in lower case; b02 to b08 are Sentinel-2's (Landsat writes B2, and counts otherwise)."""


@dataclass(frozen=True)
class BandChoice:
    """Which bands of a scene feed a model, and how that was decided."""

    indexes: tuple[int, ...]
    """Band numbers in the model's order, counted from 1."""
    by: str
    """'--bands', 'name', 'colour interpretation', or 'position'."""


def choose_bands(
    wanted: Sequence[str], colors: Sequence[str], descriptions: Sequence[str], override: Sequence[int] | None
) -> BandChoice:
    """Find a model's bands: as told, else by band names, by colour interpretation, by position.

    Names come first because somebody gave them on purpose; many writers mark the first three bands of anything as red,
    green and blue.

    Alpha is never imagery. By position at most one band may be left over (red, green, blue, infrared for an RGB model):
    among more than that, a guess would be wrong as often as right.

    Raises:
        ModelError: if the scene does not have them.
    """
    count = len(colors)
    if override is not None:
        return _told_bands(wanted, override, count)
    for by, names in (("name", descriptions), ("colour interpretation", colors)):
        if indexes := _bands_by_name(wanted, names):
            return BandChoice(indexes, by)
    imagery = tuple(i for i, color in enumerate(colors, 1) if color != "alpha")
    if len(wanted) <= len(imagery) <= len(wanted) + 1:
        return BandChoice(imagery[: len(wanted)], "position")
    told = "pass --bands with the numbers of those bands, or " if len(imagery) >= len(wanted) else ""
    raise ModelError(
        f"model expects {len(wanted)} bands ({', '.join(wanted)}), scene has {_summary(colors)}: "
        f"{told}choose a model for this scene's bands with --model"
    )


def _told_bands(wanted: Sequence[str], override: Sequence[int], count: int) -> BandChoice:
    if len(override) != len(wanted):
        raise ModelError(
            f"--bands names {len(override)} bands, model expects {len(wanted)} ({', '.join(wanted)}): name those"
        )
    if missing := [i for i in override if not 1 <= i <= count]:
        raise ModelError(f"--bands names band {missing[0]}, scene has bands 1 to {count}: name bands that exist")
    return BandChoice(tuple(override), "--bands")


def _bands_by_name(wanted: Sequence[str], names: Sequence[str]) -> tuple[int, ...] | None:
    known, sought = ([name.strip().lower() for name in some] for some in (names, wanted))
    found = [next((i for i, n in enumerate(known, 1) if n in _SYNONYMS.get(w, {w})), None) for w in sought]
    return tuple(i for i in found if i is not None) if None not in found else None


def _summary(colors: Sequence[str]) -> str:
    known = [color for color in colors if color != "undefined"][:8]
    marked = f"marked {', '.join(known)}" if known else "unmarked"
    return f"{number_of(len(colors), 'band')} ({marked})"


def looks_like_alpha(values: NDArray[Any], dtype: str) -> bool:
    """Tell whether a band that claims to be alpha is one: nearly all of its values are 0 or one highest value."""
    if not values.size or np.dtype(dtype).kind == "f":
        return True
    between = (values > 0) & (values < values.max())
    return bool(between.mean() < 0.05)


def fits_dtype(scene: str, model: str) -> bool:
    """Whether a model of a type takes a scene's values as they are."""
    return scene in _FAMILIES[model]


def check_dtype(scene: str, model: str, suggestion: tuple[float, float] | None) -> None:
    """Refuse a scene whose values are of another kind than the model's.

    Raises:
        ModelError: with a --rescale that fits the scene.
    """
    if fits_dtype(scene, model):
        return
    remedy = (
        f"pass --rescale {suggestion[0]:g},{suggestion[1]:g} (fits this scene)"
        if suggestion
        else "pass --rescale LOW,HIGH"
    )
    raise ModelError(
        f"model expects {model} values, scene has {scene}: {remedy}, or choose a {scene} model with --model"
    )
