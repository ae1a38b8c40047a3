"""Settings of one coarser view of a scene: its ratio, its size, and the margin around windows."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST_RATIO, Spec


class ContextLevel(Spec):
    """One wider, coarser view of a window's surroundings: size × size context pixels."""

    ratio: int | Literal["scene"] = Field(default=8, union_mode="left_to_right")
    """Side of a context pixel, in pixels of the scene; or scene: the whole scene in one view."""
    size: int = Field(default=256, ge=8, le=4096)
    """Side of the view, in context pixels; a multiple of context.network.multiple, with init local of
    network.multiple."""
    margin: float = Field(default=0.25, ge=0, lt=0.5)
    """Share of the view's side, along each edge, in which no window has its centre. Half a window must fit into it. The
    whole scene needs none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.ratio, int) and self.ratio < 2:
            raise ValueError(f"ratio {self.ratio}: a context pixel is wider than one of the scene: give 2 or more")
        if isinstance(self.ratio, int) and self.ratio > LARGEST_RATIO:
            raise ValueError(f"ratio {self.ratio}: give {LARGEST_RATIO} at most, or scene")
        return self

    @property
    def margin_px(self) -> int:
        """The margin in context pixels."""
        return 0 if self.ratio == "scene" else int(self.size * self.margin)

    @property
    def core_px(self) -> int:
        """Side of the core, the view without its margins, in context pixels."""
        return self.size - 2 * self.margin_px

    @property
    def largest_tile(self) -> int | None:
        """Largest side of a window that always lies within its view, in pixels of the scene; None if any does."""
        return None if self.ratio == "scene" else 2 * self.margin_px * self.ratio
