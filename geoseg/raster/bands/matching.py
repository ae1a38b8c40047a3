"""Which bands of a scene a model wants, and whether their values are of its kind. Pure functions on names and types."""

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
    counts_bands,
    fits,
    readings,
    word_role,
)

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

_USUAL_MARKS = "red", "green", "blue"
"""What many writers mark the first three bands of anything as."""
_SHOWN_BANDS, _SHOWN_LETTERS = 8, 40


@dataclass(frozen=True)
class BandChoice:
    """Which bands of a scene feed a model, and how that was decided."""

    indexes: tuple[int, ...]
    """Band numbers in the model's order, counted from 1."""
    by: str
    """'--bands', 'name', 'colour interpretation', 'name and colour interpretation', or 'position'."""

    def describe(self, wanted: Sequence[str], names: Sequence[str]) -> str:
        """Which bands were chosen, on a line; and what to do where only their position speaks for them."""
        parts = [
            f"{name} = band {i}" + (f" {names[i - 1][:_SHOWN_LETTERS]!r}" if names[i - 1] else "")
            for name, i in zip(wanted, self.indexes, strict=True)
        ]
        doubt = " (no name or colour tells them: pass --bands if they are others)" if self.by == "position" else ""
        return f"bands by {self.by}: {', '.join(parts)}{doubt}"


def choose_bands(
    wanted: Sequence[str], colors: Sequence[str], descriptions: Sequence[str], override: Sequence[int] | None
) -> BandChoice:
    """Find a model's bands: as told, else by band names, by colour interpretation, by position.

    Names come first because somebody gave them on purpose; many writers mark the first three bands of anything as red,
    green and blue, so that colours tell nothing where a name contradicts one of them, and these three marks speak
    against no guess.

    Alpha is never imagery. By position at most one band may be left over (red, green, blue, infrared for an RGB model):
    among more than that, a guess would be wrong as often as right. Nor is there a guess that a name or a colour speaks
    against.

    Raises:
        ModelError: if the scene does not have them, or leaves open which they are.
    """
    if override is not None:
        return _told_bands(wanted, override, len(colors))
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
    """The bands that names tell, by each sensor that their numbers may be of; several where these differ.

    A recent sensor also speaks against what another one tells. Names B1, B2, ... may just count the bands.
    """
    told = readings(names)
    found = [_find(wanted, names, reading.roles) for reading in told]
    complete = {tuple(places[name] for name in wanted) for places in found if _is_complete(places, wanted)}
    if complete and counts_bands(names) and len(names) <= len(wanted) + 1:
        complete.add(tuple(range(1, len(wanted) + 1)))
    against = [r for r in told if r.sensor in RECENT and not all(_agrees(r, one, wanted) for one in complete)]
    return complete | {()} if against else complete


def _agrees(reading: Reading, indexes: Sequence[int], wanted: Sequence[str]) -> bool:
    """Whether bands stand for what is wanted, as far as both are known."""
    roles = [reading.roles[i - 1] for i in indexes]
    return all(
        role is None or own is None or fits(role, own) for role, own in zip(agreed_roles(wanted), roles, strict=True)
    )


def _find(wanted: Sequence[str], names: Sequence[str], roles: Sequence[str | None]) -> dict[str, int]:
    """Bands (from 1) by what is wanted: by the very name, else by role; none where several would do."""
    wanted_roles = agreed_roles(wanted)
    places = {name: _place(name, role, names, roles) for name, role in zip(wanted, wanted_roles, strict=True)}
    return {name: place for name, place in places.items() if place is not None}


def _place(wanted: str, wanted_role: str | None, names: Sequence[str], roles: Sequence[str | None]) -> int | None:
    same_name = [i for i, name in enumerate(names, 1) if name.strip().lower() == wanted.strip().lower()]
    same_role = [i for i, role in enumerate(roles, 1) if role is not None and role == wanted_role]
    candidates = same_name or same_role or [i for i, role in enumerate(roles, 1) if fits(wanted_role, role)]
    return candidates[0] if len(candidates) == 1 else None


def _is_complete(found: Mapping[str, int], wanted: Sequence[str]) -> bool:
    return len(found) == len(set(found.values())) == len(wanted)


def _trusted(colors: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """Colour interpretation; nothing where a band's name may say another colour than its mark."""
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
    """The first bands of a scene, if there are hardly more than are wanted and no name or mark speaks against it."""
    wanted_roles = agreed_roles(wanted)
    told = [
        {word_role(mark), *roles} - {None}
        for mark, *roles in zip(marks, *(each.roles for each in readings(names)), strict=True)
    ]
    other = {ALPHA} if {None, NO_BAND} & set(wanted_roles) else {ALPHA, NO_BAND}
    imagery = [i for i, roles in enumerate(told, 1) if colors[i - 1] != ALPHA and not roles & other]
    if not len(wanted) <= len(imagery) <= len(wanted) + 1:
        raise _missing(wanted, colors, names, len(imagery))
    for name, role, index in zip(wanted, wanted_roles, imagery, strict=False):
        is_other = not all(role is None or fits(role, one) for one in told[index - 1])
        if is_other or found.get(name, index) != index:
            raise _unclear(wanted, colors, names)
    return BandChoice(tuple(imagery[: len(wanted)]), "position")


def _missing(wanted: Sequence[str], colors: Sequence[str], names: Sequence[str], imagery: int) -> ModelError:
    remedy = "pass --bands with the numbers of those bands, or " if imagery >= len(wanted) else ""
    return ModelError(
        f"model expects {len(wanted)} bands ({', '.join(wanted)}), scene has {describe_bands(colors, names)}: "
        f"{remedy}choose a model for this scene's bands with --model"
    )


def _unclear(wanted: Sequence[str], colors: Sequence[str], names: Sequence[str]) -> ModelError:
    sensors = [str(reading.sensor) for reading in readings(names)]
    why = f", which stand for other bands with {' and '.join(sensors)}" if len(sensors) > 1 else ""
    return ModelError(
        f"model expects {', '.join(wanted)}, and it is not certain which bands of the scene these are "
        f"({_listed(colors, names)}{why}): pass --bands with their numbers in this order"
    )


def _told_bands(wanted: Sequence[str], override: Sequence[int], count: int) -> BandChoice:
    if len(override) != len(wanted):
        raise ModelError(
            f"--bands names {len(override)} bands, model expects {len(wanted)} ({', '.join(wanted)}): name those"
        )
    if missing := [i for i in override if not 1 <= i <= count]:
        raise ModelError(f"--bands names band {missing[0]}, scene has bands 1 to {count}: name bands that exist")
    return BandChoice(tuple(override), "--bands")


def describe_bands(colors: Sequence[str], names: Sequence[str]) -> str:
    """How many bands a file has, and how they are named or marked."""
    known = [color for color in colors if color != "undefined"][:_SHOWN_BANDS]
    marked = f"named {_listed(colors, names)}" if any(names) else f"marked {', '.join(known)}" if known else "unmarked"
    return f"{number_of(len(colors), 'band')} ({marked})"


def _listed(colors: Sequence[str], names: Sequence[str]) -> str:
    """Bands with their names, or how they are marked where they have none."""
    shown = list(enumerate(zip(colors, names, strict=True), 1))[:_SHOWN_BANDS]
    texts = [f"{i} {name[:_SHOWN_LETTERS]!r}" if name else f"{i} {color}" for i, (color, name) in shown]
    return ", ".join(texts + ["..."] * (len(colors) > _SHOWN_BANDS))


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
