"""Surroundings in rings: views around each window, each of which is four times as wide and as coarse as the one before.

The settings are its own; networks and views are those of geoseg's `context`, which `pyproject.toml` names again.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from geoseg.spec import ContextLevel, ContextSpec, NetworkSpec


class Rings(ContextSpec):
    """A context whose levels follow from their number."""

    kind: ClassVar[str] = "rings"
    title: ClassVar[str] = "Rings"

    count: int = Field(default=2, ge=1, le=4)
    """Number of views."""
    size: int = Field(default=256, ge=32, le=1024)
    """Side of each view, in its own pixels."""

    @model_validator(mode="before")
    @classmethod
    def _with_levels(cls, values: Any) -> Any:
        count, size = values.get("count", 2), values.get("size", 256)
        if "levels" in values or not isinstance(count, int):
            return values
        return values | {"levels": tuple(ContextLevel(ratio=4**step, size=size) for step in range(1, count + 1))}

    @classmethod
    def example(cls) -> Self:
        """A small one, for tests."""
        network = NetworkSpec(architecture="pointwise", multiple=8)
        return cls.model_validate({"count": 1, "size": 64, "network": network, "channels": 4})
