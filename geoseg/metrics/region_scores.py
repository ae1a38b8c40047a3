"""Scores in regions from which nothing was learnt, each of a model of its own, and what they say together.

In: scores of each region. Out: mean and range over the regions, the worst region, and all pixels together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geoseg.metrics.scores import Scores, pooled_scores
from geoseg.metrics.spread import ScoreSpread, spread_of


@dataclass(frozen=True)
class RegionScores:
    """Scores of a model in a region that was left out of its training."""

    region: str
    """Name of the region."""
    images: int
    """Images of the region with labels."""
    scores: Scores
    """Of all labels of the region, which chose nothing."""
    home: Scores | None
    """Of the same model on the validation side of the other regions; None if it has none."""
    calibration: Mapping[str, Any]
    """How well its probabilities fit the region's labels; see `Calibration.as_dict`."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "region": self.region,
            "images": self.images,
            "scores": self.scores.as_dict(),
            "home_scores": self.home and self.home.as_dict(),
            "calibration": dict(self.calibration),
        }


@dataclass(frozen=True)
class AllRegions:
    """The scores of all regions, at least two."""

    regions: Sequence[RegionScores]
    """Each region."""

    @cached_property
    def spread(self) -> ScoreSpread:
        """Mean and range over the regions, each counting the same."""
        return spread_of([one.scores for one in self.regions])

    @cached_property
    def home_spread(self) -> ScoreSpread | None:
        """The same of the scores at home; None if there are none."""
        home = [one.home for one in self.regions if one.home is not None]
        return spread_of(home) if home else None

    @property
    def worst(self) -> RegionScores:
        """The region with the lowest mIoU."""
        return min(self.regions, key=lambda one: one.scores.miou)

    @cached_property
    def pooled(self) -> Scores:
        """The scores of all regions' pixels together."""
        return pooled_scores([one.scores for one in self.regions])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "regions": [one.as_dict() for one in self.regions],
            "spread": self.spread.as_dict(),
            "home_spread": self.home_spread and self.home_spread.as_dict(),
            "worst": self.worst.region,
            "pooled": self.pooled.as_dict(),
        }
