"""Settings of the conditional random field that moves borders of classes to edges in the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from geoseg.spec.base import Spec


class CrfSpec(Spec):
    """Settings of a dense CRF (Krähenbühl and Koltun 2011) whose pixels see a square window (Teichmann and Cipolla
    2018); lengths are in pixels of the scene.

    Weights are in units of logits: a weight is by how much the logit of a class rises in a pixel all of whose window
    has this class, and, for the appearance, the pixel's own band values.
    """

    dependent: ClassVar[Mapping[str, Sequence[str]]] = {
        "crf": (
            "crf_iterations",
            "crf_radius",
            "crf_appearance",
            "crf_appearance_px",
            "crf_appearance_values",
            "crf_smoothness",
            "crf_smoothness_px",
        )
    }

    crf: bool = False
    """Move borders of classes to edges in the scene, and drop specks, with a dense CRF on the blended probabilities."""
    crf_iterations: int = Field(default=5, ge=0, le=10)
    """Iterations of mean field inference of the CRF; 0 changes nothing."""
    crf_radius: int = Field(default=5, ge=1, le=10)
    """How far a pixel sees in an iteration of the CRF, in pixels of the scene, in rows and in columns."""
    crf_appearance: float = Field(default=4.0, ge=0, le=1000)
    """Weight of the CRF's appearance kernel, by which near pixels of like band values tend to one class."""
    crf_appearance_px: float = Field(default=4.0, ge=0.1, le=1000)
    """Standard deviation of the appearance kernel over distance, in pixels of the scene."""
    crf_appearance_values: float = Field(default=0.25, ge=0.001, le=1000)
    """Standard deviation of the appearance kernel over band values, as a share of their standard deviation in the
    training data: root mean square over the bands."""
    crf_smoothness: float = Field(default=0.5, ge=0, le=1000)
    """Weight of the CRF's smoothness kernel, by which near pixels tend to one class whatever their band values."""
    crf_smoothness_px: float = Field(default=1.5, ge=0.1, le=1000)
    """Standard deviation of the smoothness kernel over distance, in pixels of the scene."""

    @property
    def changes_pixels(self) -> bool:
        """Whether there is a CRF that may change anything."""
        return self.crf and self.crf_iterations > 0 and self.crf_appearance + self.crf_smoothness > 0

    @property
    def crf_halo(self) -> int:
        """How far a pixel's class depends on others, in pixels of the scene."""
        return self.crf_iterations * self.crf_radius if self.changes_pixels else 0
