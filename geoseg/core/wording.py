"""How numbers are worded."""

from __future__ import annotations


def number_of(number: int, thing: str) -> str:
    """A number of things, in words: 1 image, 2,000 images."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
