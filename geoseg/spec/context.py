"""Settings of a context branch: the coarser views of a window's surroundings, and the networks that see them."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from geoseg.spec.base import Spec
from geoseg.spec.branch import TrainingTerms
from geoseg.spec.levels import ContextLevel
from geoseg.spec.network import NetworkSpec

SMALL_UNET = NetworkSpec(
    architecture="unet",
    encoder="tu-resnet18",
    arguments={"encoder_depth": 4, "decoder_channels": [96, 48, 24, 16]},
    multiple=16,
)


class ContextSpec(Spec):
    """A branch that shows the network the surroundings of a window, coarser: one small network per level."""

    kind: ClassVar[str] = "context"
    title: ClassVar[str] = "Context"
    skips: ClassVar[bool] = False

    levels: tuple[ContextLevel, ...] = Field(default=(ContextLevel(),), max_length=8)
    """The views."""
    network: NetworkSpec = SMALL_UNET
    """Network of each level; it sees the model's bands and one more, the share of each pixel that holds data."""
    channels: int = Field(default=16, ge=1, le=4096)
    """Channels of the features that each level contributes."""
    dropout: float = Field(default=0.15, ge=0, lt=1)
    """Share of the training windows that see no context, so that the model also works without."""
    auxiliary: float = Field(default=0.4, ge=0)
    """Weight of the auxiliary loss on classes that each level predicts on its own, while training."""
    freeze_local: bool = False
    """Freeze the network that init_from loads, and train the branch alone."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.levels:
            raise ValueError("a context without levels shows nothing: give one, or leave context out")
        for level in self.levels:
            if level.size % self.network.multiple:
                raise ValueError(
                    f"size {level.size} is not a multiple of {self.network.multiple}, which context.network needs: "
                    f"take {level.size - level.size % self.network.multiple or self.network.multiple}"
                )
            if level.size % 2:
                raise ValueError(f"size {level.size}: give an even number, so that views can be turned exactly")
        return self

    def check_tile(self, tile: int, what: str) -> None:
        """Refuse windows that could extend beyond their view.

        Raises:
            ValueError: if a side of `tile` pixels is too large for a level.
        """
        for level in self.levels:
            if level.largest_tile is not None and tile > level.largest_tile:
                raise ValueError(
                    f"{what} {tile} reaches beyond the context (ratio {level.ratio}, size {level.size}, margin "
                    f"{level.margin:g}), which serves windows of up to {level.largest_tile} pixels: lower {what}, or "
                    "raise the level's size, ratio or margin"
                )

    def describe(self) -> str:
        """The views and their network, on one line."""
        views = [
            f"the whole scene in {level.size} px"
            if level.ratio == "scene"
            else f"{level.size * level.ratio} px in {level.size} (1:{level.ratio})"
            for level in self.levels
        ]
        return f"{' and '.join(views)}, seen by {self.network.architecture} {self.network.encoder}".rstrip()

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """The same levels as when the model predicts."""
        return self.levels

    def shown_px(self, window: int) -> int:
        """Side of the widest core, anywhere in which a window's centre may lie, in pixels of the scene; 0 if none."""
        return max((level.core_px * level.ratio for level in self.levels if level.ratio != "scene"), default=0)

    def check_training(self, terms: TrainingTerms) -> None:
        """Refuse windows that extend beyond their view, CutMix, and a frozen network with random weights.

        Raises:
            ValueError: saying what to change.
        """
        self.check_tile(terms.tile, "tile")
        self.check_tile(terms.window, "window")
        if terms.pastes:
            raise ValueError("augment.cutmix pastes what the context does not show: set it to 0")
        if self.freeze_local and not terms.starts_trained:
            raise ValueError("context.freeze_local would freeze random weights: give a trained bundle as init_from")
