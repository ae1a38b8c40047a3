"""What a model has besides a network that sees its windows alone, as settings: nothing, a context, or a refinement.

Whoever wants to know what lies around windows asks `ModelSpec.branch` or `TrainSpec.branch`, whichever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from geoseg.spec.context import ContextLevel


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


PLAIN = PlainSpec()
"""Of all models that have nothing besides their network."""
