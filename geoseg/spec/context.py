"""Settings of a context branch: the coarser views of a window's surroundings, and the networks that see them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from geoseg.spec.base import Spec
from geoseg.spec.branch import TrainingTerms
from geoseg.spec.fusion import DEFAULT_FUSION, FusionName
from geoseg.spec.levels import ContextLevel
from geoseg.spec.network import NetworkSpec

SMALL_UNET = NetworkSpec(
    architecture="unet",
    encoder="tu-resnet18",
    arguments={"encoder_depth": 4, "decoder_channels": [96, 48, 24, 16]},
    multiple=16,
)


class ContextSpec(Spec):
    """A branch that shows the network the surroundings of a window, coarser."""

    kind: ClassVar[str] = "context"
    title: ClassVar[str] = "Context"
    skips: ClassVar[bool] = False

    levels: tuple[ContextLevel, ...] = Field(default=(ContextLevel(),), max_length=8)
    """The views."""
    init: Literal["random", "local"] = "random"
    """What the views are seen by: with random, a small network for each level, which starts from random weights; with
    local, one copy of the network that init_from loads, which all levels share."""
    network: NetworkSpec = SMALL_UNET
    """Network of each level, with init random; it sees the model's bands and one more, the share of each pixel that
    holds data."""
    channels: int = Field(default=16, ge=1, le=4096)
    """Channels of the features that each level contributes."""
    fusion: FusionName = DEFAULT_FUSION
    """How these are fused with the features of a window: gated, fctl, glnet, sgnet, or a fusion of another package."""
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
        if self.init == "local" and "network" in self.model_fields_set:
            raise ValueError(
                "context.network is for init random, with init local the model's own network is copied: "
                "leave one of them out"
            )
        if self.init == "random":
            self.check_sizes(self.network.multiple, "context.network")
        for level in self.levels:
            if level.size % 2:
                raise ValueError(f"size {level.size}: give an even number, so that views can be turned exactly")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_unused(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = plain(self)
        unused = {"network": self.init != "random", "fusion": self.fusion == DEFAULT_FUSION}
        return {name: value for name, value in values.items() if not unused.get(name)}

    def check_multiple(self, multiple: int) -> None:
        """Refuse views that a copy of the model's own network does not take.

        Raises:
            ValueError: if there is to be one, and a size is no multiple of so many pixels.
        """
        if self.init == "local":
            self.check_sizes(multiple, "the model's network")

    def check_sizes(self, multiple: int, who: str) -> None:
        """Refuse views that a network does not take.

        Raises:
            ValueError: if a size is no multiple of so many pixels.
        """
        for level in self.levels:
            if level.size % multiple:
                raise ValueError(
                    f"size {level.size} is not a multiple of {multiple}, which {who} needs: "
                    f"take {level.size - level.size % multiple or multiple}"
                )

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
        own = f"{self.network.architecture} {self.network.encoder}".rstrip()
        by = own if self.init == "random" else "a copy of its own network"
        fused = "" if self.fusion == DEFAULT_FUSION else f", fused as in {self.fusion}"
        return f"{' and '.join(views)}, seen by {by}{fused}"

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """The same levels as when the model predicts."""
        return self.levels

    def shown_px(self, window: int) -> int:
        """Side of the widest core, anywhere in which a window's centre may lie, in pixels of the scene; 0 if none."""
        return max((level.core_px * level.ratio for level in self.levels if level.ratio != "scene"), default=0)

    def check_training(self, terms: TrainingTerms) -> None:
        """Refuse what does not go with it: windows beyond their view, CutMix, random weights to be frozen or copied, a
        second head of a frozen encoder.

        Raises:
            ValueError: saying what to change.
        """
        self.check_tile(terms.tile, "tile")
        self.check_tile(terms.window, "window")
        self.check_multiple(terms.multiple)
        if terms.pastes:
            raise ValueError("augment.cutmix pastes what the context does not show: set it to 0")
        if self.freeze_local and not terms.starts_trained:
            raise ValueError("context.freeze_local would freeze random weights: give a trained bundle as init_from")
        if self.init == "local" and not terms.starts_trained:
            raise ValueError("context.init local would copy random weights: give a trained bundle as init_from")
        if self.freeze_local and terms.has_second_head:
            raise ValueError("loss.auxiliary trains the encoder, which context.freeze_local freezes: set it to 0")
