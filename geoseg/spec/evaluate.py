"""Settings of the evaluation of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geoseg.spec.base import Device, Precision, Spec

Split = Literal["val", "train"]
BOUNDARY_PX_MOST = 512
"""Largest boundary width, in pixels: windows are read with a halo of this width."""


class EvaluateSpec(Spec):
    """How a model is scored on labelled rasters."""

    split: Split = "val"
    """Side of the config's split that is scored."""
    device: Device = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto takes bf16 where the device has it natively."""
    context: bool = True
    """Let a model see the surroundings of each window, if it has a context branch or refines coarser views."""
    refine_fraction: float = Field(default=1.0, ge=0, le=1)
    """Share of the windows that a model with refinement classifies again at full resolution, the least sure first."""
    boundary_px: int | None = Field(default=None, ge=0, le=BOUNDARY_PX_MOST)
    """How far from a class's contour its boundary reaches, in pixels; 0 leaves boundaries out; None means the config's,
    or 3 for a prediction."""
