"""Settings of progressive refinement: classes of coarse views correct those of finer ones where these are unsure."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST_RATIO, Spec
from geoseg.spec.branch import TrainingTerms
from geoseg.spec.levels import ContextLevel

VIEW_MARGIN = 0.375
"""Margin of the training views, as a share of their side: each lies within the next coarser one."""


class RefineSpec(Spec):
    """A network that predicts classes at several resolutions, and a module that fuses two of them (MagNet; Huynh et al.
    2021)."""

    kind: ClassVar[str] = "refine"
    title: ClassVar[str] = "Refinement"
    skips: ClassVar[bool] = True

    ratios: tuple[Annotated[int, Field(le=LARGEST_RATIO)], ...] = Field(default=(4, 16), max_length=8)
    """Pixel size of each coarser view, in pixels of the scene, finest first; each a multiple of the one before."""
    native: float = Field(default=0.5, gt=0, lt=1)
    """Share of the loss, and of what is forwarded while the network is trained, at the scene's own resolution; the
    coarser views share the rest equally."""
    channels: int = Field(default=32, ge=4, le=4096)
    """Channels of the refinement module, which has 25,000 weights with 32 for 7 classes; the published one has 64."""
    stride: int = Field(default=4, ge=1, le=16)
    """Side of the squares of pixels for each of which the refinement module answers once; the published one has 1."""
    points: float = Field(default=0.75, gt=0, le=1)
    """Share of the labelled training pixels that the refinement module may change: those where the finer view is the
    least sure."""
    freeze_local: bool = False
    """Freeze the network that init_from loads, trained with refine itself, and train the refinement module alone."""

    @model_validator(mode="before")
    @classmethod
    def _filters_nothing(cls, values: Any) -> Any:
        if isinstance(values, dict) and "median_px" in values:
            raise ValueError(
                "median_px belongs to another kind of refinement: "
                "remove it from a config; a bundle that has it cannot be read: train it again"
            )
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.ratios:
            raise ValueError("refine without ratios has nothing to refine: give one, or leave refine out")
        for finer, coarser in pairwise((1, *self.ratios)):
            if coarser < 2 * finer or coarser % finer:
                raise ValueError(
                    f"ratios {', '.join(map(str, self.ratios))}: each has to be a multiple of the one before, from 2 on"
                )
        return self

    @property
    def levels(self) -> tuple[ContextLevel, ...]:
        """The coarser views, finest first; each is seen entirely, so that only its ratio matters."""
        return tuple(ContextLevel(ratio=ratio) for ratio in self.ratios)

    def check_tile(self, tile: int, what: str) -> None:
        """Accept windows of any size."""

    def describe(self) -> str:
        """The ratios of the views, on one line."""
        coarse = ", ".join(f"1:{ratio}" for ratio in reversed(self.ratios))
        return f"classes from {coarse} and 1:1, the finer ones corrected where they are unsure"

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """Views as large as the window, each of which lies within the next coarser one."""
        return tuple(ContextLevel(ratio=ratio, size=window, margin=VIEW_MARGIN) for ratio in self.ratios)

    def shown_px(self, window: int) -> int:
        """Side of the coarsest view, in pixels of the scene."""
        return window * max(self.ratios)

    def check_training(self, terms: TrainingTerms) -> None:
        """Refuse CutMix, an auxiliary head, a frozen network with random weights, and windows with odd sides.

        Raises:
            ValueError: saying what to change.
        """
        if terms.pastes:
            raise ValueError("augment.cutmix pastes what coarser views do not show: set it to 0")
        if self.freeze_local and not terms.starts_trained:
            raise ValueError("refine.freeze_local would freeze random weights: give a trained bundle as init_from")
        if terms.has_second_head:
            raise ValueError("loss.auxiliary knows windows only, refine trains on coarser views too: set it to 0")
        if terms.window % 2:
            raise ValueError(f"window {terms.window}: give an even number, so that views can be turned exactly")
