"""What is merged. Numbers only: they are checked before anything that merges is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MergeRules:
    """What is too small; areas in the unit of the graph's."""

    min_area: float = 0.0
    """Regions smaller than this are merged (minimum mapping unit)."""
    fill_holes: float = 0.0
    """Holes smaller than this are filled, with or without data."""
