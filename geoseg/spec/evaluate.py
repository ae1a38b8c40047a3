"""Settings of the evaluation of a model, and of the comparison of several."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geoseg.spec.base import LARGEST_COUNT, LARGEST_TILE, Device, FilePath, Spec
from geoseg.spec.classify import ClassifySpec
from geoseg.spec.combined import CombinedSpec
from geoseg.spec.vector import Measure

Split = Literal["val", "train", "test"]
BOUNDARY_PX_MOST = 512
"""Largest boundary width, in pixels: windows are read with a halo of this width."""


class ScoringSpec(Spec):
    """What is scored, and on which device."""

    split: Split = "val"
    """Side of the config's split that is scored."""
    device: Device = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    boundary_px: int | None = Field(default=None, ge=0, le=BOUNDARY_PX_MOST)
    """How far from a class's contour its boundary reaches, in pixels; 0 leaves boundaries out; None means the config's,
    or 3 for a prediction."""


class BlocksSpec(Spec):
    """How the intervals of scores are found, by resampling square blocks."""

    block_px: int | None = Field(default=None, ge=1, le=LARGEST_TILE)
    """Side of a block for intervals, in pixels of the labels; None means that of the config's split, or 512 for a
    prediction."""
    draws: int = Field(default=2000, ge=100, le=LARGEST_COUNT)
    """Number of resamples for intervals."""
    seed: int = Field(default=0, ge=0, le=LARGEST_COUNT)
    """Seed of the resamples: the same seed gives the same intervals."""


class IntervalSpec(BlocksSpec):
    """How the intervals of scores on many rasters are found."""

    unit: Literal["block", "image"] = "block"
    """What is drawn for intervals: square blocks, or images."""


class SuspectsSpec(Spec):
    """Which labels are doubted, and where they are written."""

    suspects: FilePath | None = None
    """File for the areas whose labels are likely to be wrong, ranked: .gpkg, .geojson, .fgb, .shp or .parquet."""
    min_area: Measure = "100px"
    """Least area of a suspect, in m², or in pixels (100px)."""


class EvaluateSpec(CombinedSpec):
    """How a model is scored on labelled rasters: as it classifies a scene by the same settings."""

    scoring: ScoringSpec = ScoringSpec()
    """What is scored."""
    bootstrap: IntervalSpec = IntervalSpec()
    """How intervals are found."""
    classify: ClassifySpec = ClassifySpec()
    """Settings that decide the class of a pixel."""
    label_errors: SuspectsSpec = SuspectsSpec()
    """Labels that are likely to be wrong."""


class BootstrapSpec(IntervalSpec):
    """How intervals of scores and of their differences are found."""

    baseline: str | None = Field(default=None, min_length=1)
    """Model that the others are compared with: its name in the table, or `first` for the one that is named first; None
    means the best."""


class CompareSpec(CombinedSpec):
    """How several models are compared on the same pixels."""

    scoring: ScoringSpec = ScoringSpec()
    """What is scored."""
    bootstrap: BootstrapSpec = BootstrapSpec()
    """How intervals are found."""
    classify: ClassifySpec = ClassifySpec()
    """Settings that decide the class of a pixel, the same for all models."""
