"""Selection of a scene's bands for a model, and a check of their types. Pure functions on names and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ModelError
from geoseg.core.wording import number_of
from geoseg.raster.bands.names import (
    ALPHA,
    NO_BAND,
    RECENT,
    Reading,
    agreed_roles,
    band_code,
    counts_bands,
    fits,
    readings,
    word_role,
)

_INTEGERS = ("uint16", "int16", "uint32", "int32", "uint64", "int64", "int8")
_FAMILIES = {
    "uint8": ("uint8",),
    "int8": ("int8",),
    "uint16": _INTEGERS,
    "int16": _INTEGERS,
    "float32": ("float32", "float64", "float16"),
}
"""Types of a scene's values that a model takes unchanged, by the type of the model's."""
HIGHEST = {"uint8": 255.0, "int8": 127.0, "uint16": 65535.0, "int16": 32767.0, "float32": 1.0}
"""Value to which --rescale maps HIGH, by the type of a model's values; LOW becomes 0."""

_USUAL_MARKS = "red", "green", "blue"
"""Colour interpretation that many writers give the first three bands of any raster."""
_SHOWN_BANDS, _SHOWN_LETTERS = 8, 40
FITS = "fits this scene"
"""Why a --rescale is suggested that was sampled."""
_MOST_LISTED = 16
"""Bands that are all named in one line; of more, the first and the last are."""


@dataclass(frozen=True)
class BandChoice:
    """The bands of a scene for a model, and how they were found."""

    indexes: tuple[int, ...]
    """Band numbers in the model's order, counted from 1."""
    by: str
    """'--bands', 'name', 'colour interpretation', 'name and colour interpretation', or 'position'."""

    def describe(self, wanted: Sequence[str], names: Sequence[str]) -> str:
        """The chosen bands on one line, with a remedy if they were found by their position only."""
        parts = [
            f"{name} = band {i}" + (f" {names[i - 1][:_SHOWN_LETTERS]!r}" if names[i - 1] else "")
            for name, i in zip(wanted, self.indexes, strict=True)
        ]
        if len(parts) > _MOST_LISTED:
            parts[_SHOWN_BANDS:-1] = [f"... of {len(parts)}"]
        remedy = (
            " (no name or colour identifies them: pass --bands if they are others)" if self.by == "position" else ""
        )
        return f"bands by {self.by}: {', '.join(parts)}{remedy}"


def choose_bands(
    wanted: Sequence[str], colors: Sequence[str], descriptions: Sequence[str], override: Sequence[int] | None
) -> BandChoice:
    """Find a model's bands: as given, else by band names, by colour interpretation, by position.

    Names come first because they were given on purpose; many writers mark the first three bands of any raster as red,
    green and blue. So colours are ignored where a name contradicts one of them, and these three marks do not prevent a
    guess by position.

    Alpha is never imagery. By position at most one band may be left over (red, green, blue, infrared for an RGB model):
    among more than that, a guess would be wrong as often as right. Nor is a guess made that contradicts a name or a
    colour.

    Raises:
        ModelError: if the scene does not have them, or leaves open which they are.
    """
    if override is not None:
        return _given_bands(wanted, override, len(colors))
    if complete := _complete_readings(wanted, descriptions):
        if len(complete) > 1:
            raise _unclear(wanted, colors, descriptions)
        return BandChoice(complete.pop(), "name")
    named = _find(wanted, descriptions, agreed_roles(descriptions))
    marks = _trusted(colors, descriptions)
    colored = _find(wanted, marks, [word_role(mark) for mark in marks])
    if _is_complete(found := colored | named, wanted):
        by = "name and colour interpretation" if named else "colour interpretation"
        return BandChoice(tuple(found[name] for name in wanted), by)
    if tuple(marks[:3]) == _USUAL_MARKS:
        return _guess(wanted, colors, descriptions, named, [""] * len(colors))
    return _guess(wanted, colors, descriptions, found, marks)


def _complete_readings(wanted: Sequence[str], names: Sequence[str]) -> set[tuple[int, ...]]:
    """The bands (from 1) found by names, for each sensor that the numbers may belong to; several where these differ.

    Includes () if a recent sensor contradicts the bands found. Names B1, B2, ... may just count the bands.
    """
    possible = readings(names)
    found = [_find(wanted, names, reading.roles) for reading in possible]
    complete = {tuple(places[name] for name in wanted) for places in found if _is_complete(places, wanted)}
    if complete and counts_bands(names) and len(names) <= len(wanted) + 1:
        complete.add(tuple(range(1, len(wanted) + 1)))
    against = [r for r in possible if r.sensor in RECENT and not all(_agrees(r, one, wanted) for one in complete)]
    return complete | {()} if against else complete


def _agrees(reading: Reading, indexes: Sequence[int], wanted: Sequence[str]) -> bool:
    """Whether the roles of some bands match the wanted ones, as far as both are known."""
    roles = [reading.roles[i - 1] for i in indexes]
    return all(
        role is None or own is None or fits(role, own) for role, own in zip(agreed_roles(wanted), roles, strict=True)
    )


def _find(wanted: Sequence[str], names: Sequence[str], roles: Sequence[str | None]) -> dict[str, int]:
    """Bands (from 1) by wanted name: with that name, else with that role; left out where several match."""
    wanted_roles = agreed_roles(wanted)
    places = {name: _place(name, role, names, roles) for name, role in zip(wanted, wanted_roles, strict=True)}
    return {name: place for name, place in places.items() if place is not None}


def _place(wanted: str, wanted_role: str | None, names: Sequence[str], roles: Sequence[str | None]) -> int | None:
    same_name = [i for i, name in enumerate(names, 1) if wanted.strip().lower() in _own_names(name)]
    same_role = [i for i, role in enumerate(roles, 1) if role is not None and role == wanted_role]
    candidates = same_name or same_role or [i for i, role in enumerate(roles, 1) if fits(wanted_role, role)]
    return candidates[0] if len(candidates) == 1 else None


def _own_names(name: str) -> set[str]:
    """A name, and its first word if that is a band's number, as in "B04 red"; in lower case."""
    text = name.strip().lower()
    first = text.partition(" ")[0]
    return {text, first} if band_code(first) else {text}


def _is_complete(found: Mapping[str, int], wanted: Sequence[str]) -> bool:
    return len(found) == len(set(found.values())) == len(wanted)


def _trusted(colors: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """Colour interpretation per band; all empty if any band's name may contradict its colour."""
    for reading in readings(names):
        pairs = zip(map(word_role, colors), reading.roles, strict=True)
        if any(mark and role and mark != role for mark, role in pairs):
            return [""] * len(colors)
    return colors


def _guess(
    wanted: Sequence[str],
    colors: Sequence[str],
    names: Sequence[str],
    found: Mapping[str, int],
    marks: Sequence[str],
) -> BandChoice:
    """The first bands of a scene, if it has at most one more than wanted and no name or colour contradicts them."""
    wanted_roles = agreed_roles(wanted)
    known = [
        {word_role(mark), *roles} - {None}
        for mark, *roles in zip(marks, *(each.roles for each in readings(names)), strict=True)
    ]
    other = {ALPHA} if {None, NO_BAND} & set(wanted_roles) else {ALPHA, NO_BAND}
    imagery = [i for i, roles in enumerate(known, 1) if colors[i - 1] != ALPHA and not roles & other]
    if not len(wanted) <= len(imagery) <= len(wanted) + 1:
        raise _missing(wanted, colors, names, len(imagery))
    for name, role, index in zip(wanted, wanted_roles, imagery, strict=False):
        is_other = not all(role is None or fits(role, one) for one in known[index - 1])
        if is_other or found.get(name, index) != index:
            raise _unclear(wanted, colors, names)
    return BandChoice(tuple(imagery[: len(wanted)]), "position")


def _missing(wanted: Sequence[str], colors: Sequence[str], names: Sequence[str], imagery: int) -> ModelError:
    remedy = "pass --bands with the numbers of those bands, or " if imagery >= len(wanted) else ""
    files = "name a file for each band (RED.tif+GREEN.tif+BLUE.tif), or " if imagery == 1 < len(wanted) else ""
    return ModelError(
        f"model expects {len(wanted)} bands ({', '.join(wanted)}), scene has {describe_bands(colors, names)}: "
        f"{remedy}{files}choose a model for this scene's bands with --model"
    )


def _unclear(wanted: Sequence[str], colors: Sequence[str], names: Sequence[str]) -> ModelError:
    sensors = [str(reading.sensor) for reading in readings(names)]
    why = f", which stand for other bands with {' and '.join(sensors)}" if len(sensors) > 1 else ""
    return ModelError(
        f"model expects {', '.join(wanted)}, and it is not certain which bands of the scene these are "
        f"({_listed(colors, names)}{why}): pass --bands with their numbers in this order"
    )


def _given_bands(wanted: Sequence[str], override: Sequence[int], count: int) -> BandChoice:
    if len(override) != len(wanted):
        raise ModelError(
            f"--bands names {len(override)} bands, model expects {len(wanted)} ({', '.join(wanted)}): name those"
        )
    if missing := [i for i in override if not 1 <= i <= count]:
        raise ModelError(f"--bands names band {missing[0]}, scene has bands 1 to {count}: name bands that exist")
    return BandChoice(tuple(override), "--bands")


def describe_bands(colors: Sequence[str], names: Sequence[str]) -> str:
    """Number of a file's bands, with their names or colours, for messages."""
    known = [color for color in colors if color != "undefined"][:_SHOWN_BANDS]
    marked = f"named {_listed(colors, names)}" if any(names) else f"marked {', '.join(known)}" if known else "unmarked"
    return f"{number_of(len(colors), 'band')} ({marked})"


def _listed(colors: Sequence[str], names: Sequence[str]) -> str:
    """Bands with their names, or their colours where they have none."""
    shown = list(enumerate(zip(colors, names, strict=True), 1))[:_SHOWN_BANDS]
    texts = [f"{i} {name[:_SHOWN_LETTERS]!r}" if name else f"{i} {color}" for i, (color, name) in shown]
    return ", ".join(texts + ["..."] * (len(colors) > _SHOWN_BANDS))


def looks_like_alpha(values: NDArray[Any], dtype: str) -> bool:
    """Whether a band marked as alpha is one: nearly all of its values are 0 or the highest value."""
    if not values.size or np.dtype(dtype).kind == "f":
        return True
    between = (values > 0) & (values < values.max())
    return bool(between.mean() < 0.05)


def fits_dtype(scene: str, model: str) -> bool:
    """Whether a model takes a scene's values unchanged, given both types."""
    return scene in _FAMILIES[model]


def check_dtype(scene: str, model: str, suggestion: tuple[float, float] | None, why: str = FITS) -> None:
    """Refuse a scene whose type of values the model does not take.

    Args:
        scene: type of its values.
        model: type that the model takes.
        suggestion: a suitable --rescale.
        why: what that one suits.

    Raises:
        ModelError: with a suitable --rescale.
    """
    if fits_dtype(scene, model):
        return
    if "int8" in (scene, model):
        raise ModelError(
            f"model expects {model} values, scene has {scene}: bytes with a sign have a meaning of their own, which no "
            f"--rescale makes of others: choose a {scene} model with --model"
        )
    remedy = f"pass --rescale {suggestion[0]:g},{suggestion[1]:g} ({why})" if suggestion else "pass --rescale LOW,HIGH"
    raise ModelError(
        f"model expects {model} values, scene has {scene}: {remedy}, or choose a {scene} model with --model"
    )
