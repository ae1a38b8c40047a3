"""Settings of probability samples of places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from geoseg.spec.base import LARGEST_TILE, SMALLEST_TILE, Spec
from geoseg.spec.suggest import MOST_PLACES


class SampleSpec(Spec):
    """How places are drawn."""

    dependent: ClassVar[Mapping[str, Sequence[str]]] = {"stratified": ("allocation", "min_per_class")}

    stratified: bool = False
    """Draw from the classes of a class raster, each by itself, so that rare ones are seen; else from all pixels with
    data alike."""
    count: int = Field(default=200, ge=1, le=MOST_PLACES)
    """Number of places; all pixels, or windows, are drawn if there are fewer."""
    side: int | None = Field(default=None, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Side of a place, in pixels: windows to be labelled as a whole, in strata by the most frequent class of each;
    None means points, at most one in each pixel."""
    allocation: Literal["proportional", "equal"] = "proportional"
    """How places are shared among classes beyond the minimum of each: in proportion to their areas, or equally."""
    min_per_class: int = Field(default=20, ge=0, le=MOST_PLACES)
    """Least number of places of each class of a stratified sample; all pixels, or windows, of a class that has
    fewer."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed: equal ones give equal places."""
