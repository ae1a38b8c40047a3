"""What is said of a scene's bands outside of its file, as STAC Items do.

In: a catalogue's words, band by band. Out: names, scales, offsets and nodata values where the file itself has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class BandTag:
    """What is said of a band; everything has a value that says nothing."""

    name: str = ""
    """Name."""
    scale: float = 1.0
    """What values are multiplied with to get what they stand for."""
    offset: float = 0.0
    """What is added then."""
    nodata: float | None = None
    """Value that marks missing data."""


def tags_of(tags: Sequence[BandTag], bands: int) -> Sequence[BandTag]:
    """Tags for all bands of a file: one stands for all; none where their numbers differ."""
    return [tags[0]] * bands if len(tags) == 1 else tags if len(tags) == bands else ()


def or_told(own: Sequence[T], silent: T, told: Sequence[T]) -> tuple[T, ...]:
    """A file's own values per band; where all of them say nothing, what is told of them."""
    return tuple(told) if told and all(value == silent for value in own) else tuple(own)
