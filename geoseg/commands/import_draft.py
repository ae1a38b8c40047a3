"""The draft of a model's description that `geoseg import` writes where files leave something open.

In: what is known, and what is missing. Out: a YAML file to be filled in and given as --spec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.files import draft_of
from geoseg.core.version import __version__
from geoseg.models.layouts.head import Counts
from geoseg.spec import ImportSpec

GAP = "FILL IN"
ALWAYS = "architecture", "encoder", "bands", "dtype", "mean", "std", "classes", "resolution"
"""Fields that a draft has in any case, in this order."""
USUAL = {
    "architecture": "the network, one of those that `geoseg models` lists, e.g. unet",
    "encoder": "its encoder, e.g. resnet34 or tu-convnext_tiny",
    "bands": "names of the bands in the order in which the network takes them, e.g. [red, green, blue, nir]",
    "dtype": "type of the values that it was trained on: uint8, uint16, int16 or float32",
    "mean": "subtracted from the values of each band; of values divided by 255 alone, 0",
    "std": "divided by afterwards; of values divided by 255 alone, 255",
    "classes": "names in the order of the channels of the head, e.g. [water, {name: forest, color: '#1f7a3c'}]",
    "resolution": "metres per pixel of the training images, or unknown",
}
"""What a field is, where it is missing."""


@dataclass(frozen=True)
class Draft:
    """What is known of a model, and what is not."""

    source: str
    """Where it is read, for people."""
    layout: str
    """Title of its layout."""
    says: ImportSpec
    """What is known."""
    missing: Sequence[str]
    """Names of the fields that are not."""
    hints: Mapping[str, str]
    """What may help to fill them in."""
    counts: Counts | None
    """Bands and channels of the weights; None while the network is unknown."""

    def amount(self, name: str) -> str:
        """How many entries a field has, in brackets; nothing where that is unknown."""
        count = None
        if self.counts is not None:
            count = {"bands": self.counts.bands, "classes": self.counts.channels}.get(name)
        if name == "classes" and count == 1:
            return " (2, the one of the head's only channel behind the others)"
        return "" if count is None else f" ({count})"


def write_draft(draft: Draft, path: Path) -> None:
    """Write a draft, atomically.

    Raises:
        OutputError: if it cannot be written.
    """
    with draft_of(path) as file:
        file.write_text("\n".join(_lines(draft, path)) + "\n", "utf-8")


def _lines(draft: Draft, path: Path) -> Iterator[str]:
    yield f"# Written by geoseg {__version__} import: what {draft.source} says, and what it leaves open"
    yield f"# ({draft.layout})."
    yield f"# Fill in what is marked {GAP}, then repeat the command with --spec {path.name}"
    said = draft.says.model_dump(mode="json", exclude_none=True)
    for name in (*ALWAYS, *(name for name in said if name not in ALWAYS)):
        if name in draft.missing:
            yield f"{name}:  # {GAP}{draft.amount(name)}: {USUAL[name]}"
        elif name == "classes":
            yield "classes:"
            yield from (f"  - {_flow(one)}" for one in said[name])
        elif name in said:
            yield f"{name}: {_flow(said[name])}"
        if name in draft.missing and name in draft.hints:
            yield from (f"  # {line}" for line in draft.hints[name].splitlines())


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)
