"""Ways to see the surroundings of a window, by name: geoseg's own, and those of other packages.

A way to see them is a class that is a `Spec` and a `BranchSpec`: its settings. What it does is under the same name, its
`kind`, in three more sets: branches of networks, views, and views of scored windows.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.spec.base import parse_spec
from geoseg.spec.branch import OWN_FIELDS

BRANCH_SPECS: Registry[type[Any]] = Registry(
    "way to see the surroundings",
    "geoseg.branch_specs",
    {"context": "geoseg.spec.context:ContextSpec", "refine": "geoseg.spec.refine:RefineSpec"},
)
"""Settings of branches by kind; each is a subclass of `Spec` with the members of `BranchSpec`."""


def _parsed(value: Any) -> Any:
    """Settings of the class that `name` names; settings that are parsed already stay as they are."""
    if value is None or hasattr(value, "training_views"):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("give the name of a way to see them, and its settings: {name: ..., setting: ...}")
    name = value["name"]
    if name in OWN_FIELDS:
        raise ValueError(f"{name} has a setting of its own: give {name}: {{...}} instead of surroundings")
    try:
        settings = {key: one for key, one in value.items() if key != "name"}
        return parse_spec(BRANCH_SPECS.get(name), settings, source=name)
    except SpecError as error:
        hint = "" if name in BRANCH_SPECS else " (one of another package needs that package: install it)"
        raise ValueError(f"{error}{hint}") from None


def _written(value: Any) -> Any:
    return None if value is None else {"name": value.kind, **value.model_dump(mode="json")}


OtherBranch = Annotated[dict[str, Any] | None, PlainValidator(_parsed), PlainSerializer(_written)]
"""Written as a name and settings; the value is the settings of that name's class, a `BranchSpec`."""
