"""Band metadata of a scene from outside of its file, e.g. from STAC Items.

In: metadata per band. Out: names, scales, offsets and nodata values where the file itself has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class BandTag:
    """Metadata of a band; the defaults mean that nothing is known."""

    name: str = ""
    """Name."""
    scale: float = 1.0
    """Scale: value * scale + offset is the physical quantity."""
    offset: float = 0.0
    """Offset."""
    nodata: float | None = None
    """Value that marks missing data."""


def tags_of(tags: Sequence[BandTag], bands: int) -> Sequence[BandTag]:
    """Tags for all bands of a file: a single one is repeated; none if their number is not that of the bands."""
    return [tags[0]] * bands if len(tags) == 1 else tags if len(tags) == bands else ()


def own_or_tagged(own: Sequence[T], default: T, tagged: Sequence[T]) -> tuple[T, ...]:
    """The file's values per band, or the tagged ones if all of the file's are the default."""
    return tuple(tagged) if tagged and all(value == default for value in own) else tuple(own)
