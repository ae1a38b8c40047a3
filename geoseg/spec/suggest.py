"""Settings of the search for places to label next."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST_TILE, SMALLEST_TILE, Spec
from geoseg.spec.classify import ClassifySpec
from geoseg.spec.combined import CombinedSpec
from geoseg.spec.crf import CrfSpec
from geoseg.spec.run import RunSpec
from geoseg.spec.vector import Measure

MOST_PLACES = 100_000
"""More places are a map, not a choice."""


class PlacesSpec(Spec):
    """Which places are chosen, and how the labels in them are outlined."""

    count: int = Field(default=50, ge=1, le=MOST_PLACES)
    """Number of places, of all scenes together."""
    side: int = Field(default=256, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Side of a place, in pixels of the scene."""
    by: str = "entropy"
    """What makes a place uncertain: entropy of the probabilities, margin between the two likeliest classes, or
    disagreement between mirror images of the scene (4 × the work; between those of tta, if it is given)."""
    min_valid: float = Field(default=0.5, ge=0, le=1)
    """Least share of the pixels of a whole place, side × side or as large as the scene, that must hold data and not be
    labelled yet; a place that the scene's edge cuts has only a part of them."""
    min_area: Measure = "16px"
    """Merge regions of the labels smaller than this, in m², or in pixels, into a neighbour: specks are tedious to
    correct; 1px keeps all."""
    simplify: Measure | None = None
    """Leave out vertices of the labels as long as all of them stay nearer than this to the border, in metres, or in
    pixels (1px). Neighbours keep a common border."""


class SuggestSpec(CombinedSpec):
    """Settings of the search for places to label next."""

    places: PlacesSpec = PlacesSpec()
    """The places."""
    classify: ClassifySpec = ClassifySpec()
    """How scenes are classified."""
    run: RunSpec = RunSpec()
    """Device and batch size."""

    @model_validator(mode="after")
    def _takes_the_network_alone(self) -> Self:
        if self.classify.crf:
            raise ValueError("crf: places are ranked by what the network says of each pixel: leave it out")
        if self.run.devices is not None:
            raise ValueError("devices: places are searched for on a single device: name it (device)")
        return self

    @classmethod
    def offered(cls) -> list[str]:
        """Names of the settings that can be used."""
        return [name for name in cls.settings() if name not in {*CrfSpec.model_fields, "devices"}]
