"""Settings of progressive refinement: classes predicted from coarse views, and corrected where they are unsure."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Self

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
    channels: int = Field(default=64, ge=4, le=4096)
    """Channels of the refinement module; 64 are 88,000 weights for 7 classes."""
    points: float = Field(default=0.75, gt=0, le=1)
    """Share of the pixels whose classes are taken from the finer view: those where the coarser one is unsure and the
    refined one sure."""
    median_px: int = Field(default=11, ge=1, le=255)
    """Side of the median filter over the uncertainties, an odd number of pixels; 1 is none."""
    freeze_local: bool = False
    """Freeze the network that init_from loads, and train the refinement module alone."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.ratios:
            raise ValueError("refine without ratios has nothing to refine: give one, or leave refine out")
        for finer, coarser in pairwise((1, *self.ratios)):
            if coarser < 2 * finer or coarser % finer:
                raise ValueError(
                    f"ratios {', '.join(map(str, self.ratios))}: each has to be a multiple of the one before, from 2 on"
                )
        if self.median_px % 2 == 0:
            raise ValueError(f"median_px {self.median_px}: give an odd number of pixels")
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
        return f"classes from {coarse}, refined to 1:1 where they are unsure"

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
