"""Wording of counts in messages."""

from __future__ import annotations


def number_of(number: int, thing: str) -> str:
    """A count with its noun, plural where needed: 1 image, 2,000 images."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
