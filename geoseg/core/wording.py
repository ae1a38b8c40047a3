"""Wording of counts in messages."""

from __future__ import annotations


def number_of(number: int, thing: str) -> str:
    """A count with its noun, plural where needed: 1 image, 2,000 images."""
    end = "es" if thing.endswith("s") else "s"
    return f"{number:,} {thing}" + ("" if number == 1 else end)


def pixels_in_words(pixels: int) -> str:
    """A count of pixels, in megapixels where there are many: 612 px, 1.25 Mpx."""
    return f"{pixels:,} px" if pixels < 100_000 else f"{pixels / 1e6:,.2f} Mpx"
