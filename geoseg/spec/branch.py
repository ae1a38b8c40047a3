"""What a model has besides a network that sees its windows alone, as settings: nothing, a context, or a refinement.

Whoever wants to know what lies around windows asks `ModelSpec.branch` or `TrainSpec.branch`, whichever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from geoseg.spec.levels import ContextLevel


@dataclass(frozen=True)
class TrainingTerms:
    """What of a training run a branch has to go with."""

    window: int
    """Side of a training window, in pixels."""
    tile: int
    """Largest side of a window when the model predicts, in pixels."""
    pastes: bool
    """Whether parts of windows are pasted into others."""
    has_second_head: bool
    """Whether a second head learns from the encoder."""
    starts_trained: bool
    """Whether the network starts from a trained bundle."""


class BranchSpec(Protocol):
    """How a model sees more than its windows."""

    kind: ClassVar[str]
    """Its name, under which its network and its view are registered."""
    title: ClassVar[str]
    """What people call it, in a word or two."""
    skips: ClassVar[bool]
    """Whether windows may be left to what a coarser view shows, see `ClassifySpec.refine_fraction`."""

    @property
    def levels(self) -> tuple[ContextLevel, ...]:
        """The coarser views of a scene, of which it needs the ratios and, where it sees parts, their sizes."""
        ...

    def check_tile(self, tile: int, what: str) -> None:
        """Refuse windows for which a view is too small.

        Raises:
            ValueError: if a side of `tile` pixels is too large.
        """
        ...

    def describe(self) -> str:
        """Say in a line what it sees."""
        ...

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """The wider views that training shows around each window of a side in pixels."""
        ...

    def shown_px(self, window: int) -> int:
        """Side of what the widest of them surely shows, in pixels of the scene; 0 if none has a size in these."""
        ...

    def check_training(self, terms: TrainingTerms) -> None:
        """Refuse a training run that does not go with it.

        Raises:
            ValueError: saying what to change.
        """
        ...


@dataclass(frozen=True)
class PlainSpec:
    """Windows alone."""

    kind: ClassVar[str] = "plain"
    title: ClassVar[str] = "Windows"
    skips: ClassVar[bool] = False

    @property
    def levels(self) -> tuple[ContextLevel, ...]:
        """None."""
        return ()

    def check_tile(self, tile: int, what: str) -> None:
        """Windows of any size will do."""

    def describe(self) -> str:
        """Say in a line what it sees."""
        return "windows alone"

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """None."""
        return ()

    def shown_px(self, window: int) -> int:
        """Nothing."""
        return 0

    def check_training(self, terms: TrainingTerms) -> None:
        """Any run will do."""


PLAIN = PlainSpec()
"""Of all models that have nothing besides their network."""
