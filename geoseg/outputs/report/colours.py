"""Colours of a report, and their contrast to its background."""

from __future__ import annotations

from collections.abc import Sequence

PAPER = {"light": "#ffffff", "dark": "#14191f"}
"""The page's background in either scheme."""
_LEAST_CONTRAST = 3.0
"""Least contrast of a curve to the background, by WCAG 2.1 for graphics (success criterion 1.4.11)."""


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour as "#ff8000"."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def _luminance(color: Sequence[float]) -> float:
    """Relative luminance of a colour of 0 to 255, as WCAG 2.1 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Contrast ratio of two colours, 1 to 21, as WCAG 2.1 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def legible(color: str, paper: str) -> str:
    """The colour, changed no more than needed for a curve's contrast to the background."""
    base, background = rgb(color), rgb(paper)
    ink = 0 if _luminance(background) > 0.5 else 255
    for step in range(51):
        mixed = [round(v + (ink - v) * step / 50) for v in base]
        if contrast(mixed, background) >= _LEAST_CONTRAST:
            break
    return "#" + bytes(mixed).hex()
