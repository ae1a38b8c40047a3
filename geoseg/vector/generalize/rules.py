"""Areas below which regions are merged; apart from the code that merges, so that settings are checked without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MergeRules:
    """Areas below which regions are merged, in the unit of `RegionGraph.area`."""

    min_area: float = 0.0
    """Regions smaller than this are merged (minimum mapping unit)."""
    fill_holes: float = 0.0
    """Holes smaller than this are filled, with or without data."""
