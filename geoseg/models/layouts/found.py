"""What a layout finds in a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError, SpecError, shown
from geoseg.spec import ImportSpec, parse_spec

NOTHING = ImportSpec()
"""What files say that hold weights alone."""


@dataclass(frozen=True)
class Example:
    """A small model in a layout, for tests."""

    path: Path
    """What `geoseg import` takes."""
    says: ImportSpec
    """What the files leave open."""


@dataclass(frozen=True)
class Found:
    """Weights, and what their files say of them."""

    weights: Mapping[str, Tensor]
    """Weights by the names in geoseg's body, e.g. encoder.conv1.weight; without those of losses and metrics."""
    says: ImportSpec = NOTHING
    """What the files say; None for the rest."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What may help to fill in a field that they leave open, by its name."""
    notices: tuple[str, ...] = ()
    """What was dropped, decided, or not run: a sentence each."""
    bands: int | None = None
    """Bands that the settings name; None where none do. The weights must have as many."""
    channels: int | None = None
    """Channels of the head, likewise."""


def example_says(**fields: Any) -> ImportSpec:
    """What examples leave open: three bands and four classes, and more."""
    usual: dict[str, Any] = {
        "bands": ("red", "green", "blue"),
        "dtype": "uint8",
        "mean": (0,),
        "std": (255,),
        "classes": ("water", "forest", "crops", "built"),
        "resolution": 0.5,
    }
    return ImportSpec(**usual | fields)


def count_in(settings: Mapping[str, Any], name: str, source: str) -> int | None:
    """A number of bands or classes in settings; None where they have none.

    Raises:
        ModelError: if it is no whole number above 0.
    """
    value = settings.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ModelError(f"{source}: {name} is {shown(value)} in its settings, which is no number of bands or classes")


def text_in(settings: Mapping[str, Any], name: str, source: str) -> str:
    """A text in settings.

    Raises:
        ModelError: if they have none.
    """
    value = settings.get(name)
    if isinstance(value, str) and value:
        return value
    what = "is missing" if value is None else f"is {shown(value)}"
    raise ModelError(f"{source}: {name} {what} in its settings, which must name the network: give its weights alone")


def said(values: Mapping[str, Any], source: str) -> ImportSpec:
    """What files say, validated.

    Raises:
        ModelError: if a value makes no sense.
    """
    try:
        return parse_spec(
            ImportSpec, {name: value for name, value in values.items() if value is not None}, source=source
        )
    except SpecError as error:
        raise ModelError(str(error)) from None


def without(weights: Mapping[str, Tensor], *beginnings: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights whose names begin otherwise, and the notices on those that were dropped."""
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(beginnings)}
    parts = sorted({name.partition(".")[0] for name in weights if name not in kept})
    return kept, tuple(f"{part} is dropped: it is no part of the network that classifies" for part in parts)


def stripped(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
