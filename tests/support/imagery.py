"""Imagery of woods, meadows, fields and water, with the colours that these have in aerial images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COLOURS = {"woods": (80, 100, 87), "meadow": (135, 150, 103), "field": (150, 138, 110), "water": (60, 76, 87)}
"""Mean red, green and blue of each."""
PATCH_PX = 64
"""Side of a patch of one kind."""


def imagery(kinds: Sequence[str] = tuple(COLOURS), px: int = 512, factor: float = 1.0, seed: int = 0) -> np.ndarray:
    """Values (3, px, px) of patches of some kinds, uint8, each of its own brightness, times a factor."""
    random = np.random.default_rng(seed)
    count = -(-px // PATCH_PX)
    chosen = np.array([COLOURS[kind] for kind in kinds])[random.integers(len(kinds), size=(count, count))]
    chosen = chosen * np.exp(0.1 * random.normal(size=(count, count, 1)))
    values = chosen.repeat(PATCH_PX, axis=0).repeat(PATCH_PX, axis=1)[:px, :px].transpose(2, 0, 1)
    noise = np.exp(0.1 * random.normal(size=(1, px, px)) + 0.02 * random.normal(size=(3, px, px)))
    return np.clip(np.rint(values * noise * factor), 0, 255).astype(np.uint8)
