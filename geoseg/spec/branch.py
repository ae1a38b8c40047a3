"""Settings of a model's branch, which sees more than the windows: context, refinement, or none.

Other modules use `ModelSpec.branch` and `TrainSpec.branch`, and never ask which branch it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from geoseg.spec.levels import ContextLevel


@dataclass(frozen=True)
class TrainingTerms:
    """Settings of a training run that must suit its branch."""

    window: int
    """Side of a training window, in pixels."""
    tile: int
    """Largest side of a window when the model predicts, in pixels."""
    pastes: bool
    """Whether parts of windows are pasted into others."""
    has_second_head: bool
    """Whether an auxiliary head is trained on the encoder."""
    multiple: int
    """Height and width of the network's inputs are multiples of so many pixels."""
    starts_trained: bool
    """Whether the network starts from a trained bundle."""


class BranchSpec(Protocol):
    """Settings of a branch: how a model sees the surroundings of its windows."""

    kind: ClassVar[str]
    """Name under which its network and its view are registered."""
    title: ClassVar[str]
    """Name shown to people, in a word or two."""
    skips: ClassVar[bool]
    """Whether windows may be skipped and classified by a coarser view alone, see `ClassifySpec.refine_fraction`."""

    @property
    def levels(self) -> tuple[ContextLevel, ...]:
        """The coarser views of a scene that it sees."""
        ...

    def check_tile(self, tile: int, what: str) -> None:
        """Refuse windows that are too large for a view.

        Raises:
            ValueError: if a side of `tile` pixels is too large.
        """
        ...

    def describe(self) -> str:
        """The views that it sees, on one line."""
        ...

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """The coarser views, centred on each training window, given the window's side in pixels."""
        ...

    def shown_px(self, window: int) -> int:
        """Side of the area that the widest of these shows entirely, in scene pixels; 0 if none has a fixed size."""
        ...

    def check_training(self, terms: TrainingTerms) -> None:
        """Refuse a training run whose settings do not suit it.

        Raises:
            ValueError: saying what to change.
        """
        ...


@dataclass(frozen=True)
class PlainSpec:
    """No branch: the network sees its windows alone."""

    kind: ClassVar[str] = "plain"
    title: ClassVar[str] = "Windows"
    skips: ClassVar[bool] = False

    @property
    def levels(self) -> tuple[ContextLevel, ...]:
        """No views."""
        return ()

    def check_tile(self, tile: int, what: str) -> None:
        """Accept windows of any size."""

    def describe(self) -> str:
        """The views that it sees, on one line."""
        return "windows alone"

    def training_views(self, window: int) -> tuple[ContextLevel, ...]:
        """No views."""
        return ()

    def shown_px(self, window: int) -> int:
        """0 pixels."""
        return 0

    def check_training(self, terms: TrainingTerms) -> None:
        """Accept any run."""


PLAIN = PlainSpec()
"""The branch of all models that see their windows alone."""

OWN_FIELDS = ("context", "refine")
"""Fields that hold the settings of one of geoseg's own branches, or None; each has the name of the branch's kind."""
BRANCH_FIELDS = (*OWN_FIELDS, "surroundings")
"""Fields of ModelSpec and of TrainSpec that hold the settings of a branch, or None."""


def branch_fields(spec: object) -> dict[str, Any]:
    """These fields of either spec, for the other."""
    return {name: getattr(spec, name) for name in BRANCH_FIELDS}


def branch_in(spec: object) -> BranchSpec:
    """The branch that these fields hold, `PLAIN` if they hold none.

    Raises:
        ValueError: if they hold several.
    """
    held = {name: branch for name, branch in branch_fields(spec).items() if branch is not None}
    if len(held) > 1:
        ways = " and ".join(held)
        raise ValueError(f"{ways} are {len(held)} ways to see the surroundings of a window: give one of them")
    branch: BranchSpec = next(iter(held.values()), PLAIN)
    return branch
