"""What becomes of results that exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.spec.base import Spec, parse_spec


class ExistingSpec(Spec):
    """What becomes of results that exist; without either, they are refused before any work is done."""

    overwrite: bool = False
    """Replace results that exist."""
    resume: bool = False
    """Skip scenes that are done, and go on where a run with the same settings was stopped."""

    @property
    def may_replace(self) -> bool:
        """Whether results may exist."""
        return self.overwrite or self.resume


def split_existing(settings: Mapping[str, Any]) -> tuple[ExistingSpec, dict[str, Any]]:
    """What becomes of results that exist, and all other settings.

    Raises:
        SpecError: if one of the first makes no sense.
    """
    own = {name: value for name, value in settings.items() if name in ExistingSpec.model_fields}
    rest = {name: value for name, value in settings.items() if name not in own}
    return parse_spec(ExistingSpec, own, source="settings"), rest
