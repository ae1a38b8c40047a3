"""The members of a soup. In: paths of models and runs. Out: bundles whose weights fit together, read without them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.commands.bundle_path import SUFFIX
from geoseg.core.errors import ModelError, SpecError
from geoseg.core.redaction import public_form
from geoseg.models.header import existing_model, read_spec
from geoseg.spec import ModelSpec


@dataclass(frozen=True)
class Member:
    """A model that goes into a soup."""

    path: Path
    """Its bundle."""
    spec: ModelSpec
    """Its spec."""


def find_members(models: Sequence[str | os.PathLike[str]]) -> list[Member]:
    """The bundles of models, `default` or folders of runs, whose weights have one meaning.

    Raises:
        SpecError: if there are fewer than two, or one is given twice.
        ModelError: if one cannot be read, is no bundle, or differs from the first in what its weights mean.
    """
    if len(models) < 2:
        raise SpecError("a soup is the mean of several models: give two or more")
    paths = [existing_model(model) for model in models]
    resolved = [path.resolve() for path in paths]
    if twice := next((path for path, real in zip(paths, resolved, strict=True) if resolved.count(real) > 1), None):
        raise SpecError(f"{public_form(twice)} is given twice: give each model once")
    if other := next((path for path in paths if path.suffix.lower() != SUFFIX), None):
        raise ModelError(f"{public_form(other)} is no bundle of weights ({SUFFIX}): a soup is made of bundles")
    members = [Member(path, read_spec(path)) for path in paths]
    for member in members[1:]:
        _check_alike(members[0], member)
    return members


def _check_alike(first: Member, other: Member) -> None:
    wanted, found = _meaning(first.spec), _meaning(other.spec)
    if (name := next((name for name in wanted if wanted[name] != found[name]), None)) is not None:
        raise ModelError(
            f"{public_form(other.path)} and {public_form(first.path)} differ in {name} ({_brief(found[name])}, "
            f"{_brief(wanted[name])}): a soup needs models of one network, bands, normalisation and classes, as runs "
            "give that differ in seed or settings alone"
        )


def _meaning(spec: ModelSpec) -> dict[str, Any]:
    """What gives weights their meaning, in words, as plain values."""
    plain = spec.model_dump(mode="json")
    return {
        "network": plain["network"],
        "bands": plain["bands"],
        "type of values": plain["dtype"],
        "classes": [(c["id"], c["name"]) for c in plain["classes"]],
        "normalisation": plain["normalization"],
        "scaling": plain["scaling"],
        "pixel size": plain["resolution_m"],
        **{name: plain[name] for name in ("context", "refine", "surroundings")},
    }


def _brief(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
