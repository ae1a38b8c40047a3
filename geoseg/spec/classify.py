"""Settings that decide the class of a pixel, besides the scene and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from geoseg.spec.area import AreaSpec
from geoseg.spec.base import LARGEST_COUNT, LARGEST_SIZE_M, LARGEST_TILE, SMALLEST_TILE, FilePath, InferencePrecision
from geoseg.spec.crf import CrfSpec

ResolutionM = Annotated[float, Field(ge=1 / LARGEST_SIZE_M, le=LARGEST_SIZE_M)]
Resolution = Literal["auto", "scene", "native", "model"] | ResolutionM
TRAINING = "training"
"""Value of `match` that stands for the model's own training imagery, as its bundle describes it."""


class ClassifySpec(CrfSpec, AreaSpec):
    """Settings that decide the class of a pixel: equal settings, scene and model give equal pixels.

    None means the model's own value.
    """

    dependent: ClassVar[Mapping[str, Sequence[str]]] = {
        **CrfSpec.dependent,
        "match": ("match_by",),
        "adapt": ("adapt_share", "adapt_windows"),
    }

    tile: int | None = Field(default=None, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Largest side of a window, in pixels; None means the model's, or up to twice as much where its bundle says what
    seams do to its classes and much memory is free."""
    overlap: int | None = Field(default=None, ge=0, le=LARGEST_TILE)
    """Pixels shared by neighbouring windows, across which their probabilities are blended; None means the model's, or
    what forwards the fewest pixels where its bundle says what seams do."""
    precision: InferencePrecision = "auto"
    """Arithmetic of the network; auto takes int8, integers of 8 bits, on processors that multiply them natively where
    the model's bundle says that its classes stay as good, else bf16 where the device has it natively."""
    engine: Literal["auto", "torch", "onnx"] = "auto"
    """What computes a bundle's network: torch, or onnx, ONNX Runtime on the CPU in fp32 (needs geoseg[onnx]); auto
    takes torch, and in predict the one that is measured to be faster on this machine, where that pays."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Test-time augmentation: probabilities averaged over mirror images (flips, 4 × the work), or all symmetries of a
    square (d4, 8 ×)."""
    tta_scales: tuple[Annotated[float, Field(ge=0.25, le=4)], ...] = Field(default=(1.0,), min_length=1)
    """Scales at which each window is seen, relative to its own size; probabilities are averaged over them."""
    compile: bool = False
    """Compile the network with torch.compile: takes a minute, less when what it compiles is kept from an earlier run;
    on GPUs it pays for itself after some hundred megapixels, on CPUs geoseg's own fusing is faster."""
    context: bool = True
    """Let a model see the surroundings of each window, if it has a context branch or refines coarser views."""
    refine_fraction: float = Field(default=1.0, ge=0, le=1)
    """Share of the windows that a model with refinement classifies again at full resolution, the least sure first."""
    bands: tuple[Annotated[int, Field(ge=1, le=LARGEST_COUNT)], ...] | None = None
    """The scene's bands in the model's order, counted from 1, e.g. 1,2,3; None means those found by name or colour."""
    nodata: Literal["auto"] | Annotated[float, Field(allow_inf_nan=True)] | None = None
    """Value that marks pixels without data, over what the file says; auto takes the constant that fills a scene from
    its frame inwards, if there is one."""
    rescale: Literal["auto"] | tuple[float, float] | None = "auto"
    """The scene's values that become the lowest and highest value of the model's type, e.g. 0,3000; none takes values
    as they are; auto takes them as they are unless the scene is much darker or brighter than the model's training
    imagery of the same colours, and then brings it to that brightness, if the model knows it."""
    match: FilePath | None = None
    """Reference raster, like the imagery that the model learnt from, or the word training for that imagery itself, if
    the bundle describes it: band by band, the scene's values are brought to its values before the network sees them, in
    place of rescale; None means none."""
    match_by: str = "moments"
    """What of the reference the scene takes on: moments, mean and spread of each band, by a gain and an offset;
    histogram, its cumulative distribution, also by a curve."""
    adapt: str | None = None
    """Way to adapt the network to the scene before it predicts it, without labels: bn, the statistics of its batch
    normalisation become a mixture of those of training and the scene's; entropy, scale and shift of its normalisation
    layers, too, are learnt so that it is surer of the scene (TENT); None means none."""
    adapt_share: float | None = Field(default=None, ge=0, le=1)
    """How far the network goes from the trained (0) to the scene's (1); None means what the way of adapt takes."""
    adapt_windows: int = Field(default=64, ge=1, le=LARGEST_COUNT)
    """Most windows of the scene, of at most 512 px and evenly spread, that are looked at to adapt the network."""
    resolution: Resolution = "auto"
    """Ground resolution at which the network sees the scene: scene (or native, the same), model, or metres per pixel;
    auto takes the model's where the scene's differs from it by more than a factor of 1.5."""

    @field_validator("resolution")
    @classmethod
    def _named_once(cls, value: Resolution) -> Resolution:
        return "scene" if value == "native" else value

    @field_validator("rescale", "adapt", mode="before")
    @classmethod
    def _none_in_words(cls, value: object) -> object:
        return None if value == "none" else value

    @property
    def matches_training(self) -> bool:
        """Whether values are brought to those of the training imagery, and not of a file."""
        return self.match is not None and str(self.match) == TRAINING

    @property
    def given_rescale(self) -> tuple[float, float] | None:
        """LOW and HIGH, if they are given."""
        return None if self.rescale == "auto" else self.rescale

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tile is not None and self.overlap is not None and 2 * self.overlap > self.tile:
            raise ValueError(
                f"overlap {self.overlap} is more than half of tile {self.tile}: lower it or raise the tile"
            )
        if self.precision == "int8" and (self.compile or self.adapt):
            raise ValueError(
                f"precision int8 goes without {'compile' if self.compile else 'adapt'}, which changes the network's "
                "floats: leave one of them out"
            )
        given = self.given_rescale
        if given is not None and not given[0] < given[1]:
            raise ValueError(f"rescale {given[0]:g},{given[1]:g}: the first value must be below the second")
        if given is not None and self.match is not None:
            raise ValueError("rescale LOW,HIGH and match both say which values the network sees: leave one of them out")
        return self
