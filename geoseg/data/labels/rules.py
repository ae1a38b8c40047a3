"""What stands in labels for which class: numbers, colours, texts, and what is to be ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from geoseg.core.errors import SpecError
from geoseg.spec import IGNORE, ClassSpec

OTHER = "other"
"""Key of LabelRules.values that stands for all that the others don't name."""


@dataclass(frozen=True)
class LabelRules:
    """How a label file is to be understood."""

    values: tuple[tuple[int | str, int | str], ...] = ()
    """What stands in the file (number, #rrggbb, text, or `other`) -> id or name of a class, or `ignore`."""
    column: str | None = None
    """Column of the polygons that holds their class."""
    layer: str | None = None
    """Layer of the vector file."""

    @classmethod
    def of(cls, values: Mapping[int | str, int | str], column: str | None = None, layer: str | None = None) -> Self:
        """Rules from plain settings."""
        return cls(tuple((_plain_key(key), value) for key, value in values.items()), column, layer)

    @property
    def by_color(self) -> bool:
        """Whether classes are told by their colour."""
        return any(str(key).startswith("#") for key, _ in self.values)


def resolve_rules(classes: Sequence[ClassSpec], rules: LabelRules) -> dict[int | str, int]:
    """What stands in the file -> class index."""
    known: dict[int | str, int] = {"ignore": IGNORE}
    known |= {c.id: index for index, c in enumerate(classes)} | {c.name: index for index, c in enumerate(classes)}
    unknown = [value for _, value in rules.values if value not in known]
    if unknown:
        raise SpecError(
            f"data.label_values leads to {unknown[0]!r}, which is neither a class ({class_list(classes)}) nor ignore"
        )
    return {key: known[value] for key, value in rules.values}


def class_list(classes: Sequence[ClassSpec]) -> str:
    """Ids and names of classes, for messages."""
    return ", ".join(f"{c.id} {c.name}" for c in classes)


def _plain_key(key: int | str) -> int | str:
    return key.lower() if isinstance(key, str) and key.startswith("#") else key
