"""The settings `overwrite` and `resume`: what a command does about results that already exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.spec.base import Spec, parse_spec


class ExistingSpec(Spec):
    """Handling of existing results; if neither is set, they are an error before any work is done."""

    overwrite: bool = False
    """Replace results that exist."""
    resume: bool = False
    """Skip scenes that are done, and go on where a run with the same settings was stopped."""

    @property
    def may_replace(self) -> bool:
        """Whether existing results are no error."""
        return self.overwrite or self.resume


def split_existing(settings: Mapping[str, Any]) -> tuple[ExistingSpec, dict[str, Any]]:
    """Separate the settings of `ExistingSpec` from all others.

    Raises:
        SpecError: if one of them is invalid.
    """
    own = {name: value for name, value in settings.items() if name in ExistingSpec.model_fields}
    rest = {name: value for name, value in settings.items() if name not in own}
    return parse_spec(ExistingSpec, own, source="settings"), rest
