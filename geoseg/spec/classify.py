"""What decides the class of a pixel, besides the scene and the model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from geoseg.spec.area import AreaSpec
from geoseg.spec.base import LARGEST_COUNT, LARGEST_SIZE_M, LARGEST_TILE, SMALLEST_TILE, Precision

Resolution = Literal["native", "model"] | Annotated[float, Field(ge=1 / LARGEST_SIZE_M, le=LARGEST_SIZE_M)]


class ClassifySpec(AreaSpec):
    """What decides the class of a pixel: equal settings, scene and model give equal pixels.

    None leaves the choice to the model.
    """

    tile: int | None = Field(default=None, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Largest side of a window, in pixels."""
    overlap: int | None = Field(default=None, ge=0, le=LARGEST_TILE)
    """Pixels shared by neighbouring windows, across which their probabilities are blended."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto takes bf16 where the device has it natively."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Test-time augmentation: probabilities averaged over 4 mirror images, or all 8 symmetries of a square."""
    tta_scales: tuple[Annotated[float, Field(ge=0.25, le=4)], ...] = Field(default=(1.0,), min_length=1)
    """Sizes at which each window is seen; probabilities are averaged over them."""
    compile: bool = False
    """Let torch.compile fuse the network; takes a minute, pays for itself after some hundred megapixels."""
    context: bool = True
    """Let a model see the ground around each window, if it has a context branch or refines coarser views."""
    refine_fraction: float = Field(default=1.0, ge=0, le=1)
    """Share of the windows in which a model that refines looks again, the least sure ones first."""
    bands: tuple[Annotated[int, Field(ge=1, le=LARGEST_COUNT)], ...] | None = None
    """The scene's bands in the model's order, counted from 1."""
    nodata: Literal["auto"] | Annotated[float, Field(allow_inf_nan=True)] | None = None
    """Value that marks pixels without data, over what the file says; auto takes the constant that fills a scene from
    its frame inwards, if there is one."""
    rescale: tuple[float, float] | None = None
    """The scene's values that become the lowest and highest value of the model's type, e.g. (0, 3000) for 16-bit."""
    resolution: Resolution = "native"
    """Ground size of a pixel the network sees: native, model, or metres."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tile is not None and self.overlap is not None and 2 * self.overlap > self.tile:
            raise ValueError(
                f"overlap {self.overlap} is more than half of tile {self.tile}: lower it or raise the tile"
            )
        if self.rescale is not None and not self.rescale[0] < self.rescale[1]:
            raise ValueError(
                f"rescale {self.rescale[0]:g},{self.rescale[1]:g}: the first value must be below the second"
            )
        return self
