"""Writes docs/config.md: every setting of a training config, from the specs themselves."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typing_extensions import is_typeddict

from geoseg.spec import (
    AugmentSpec,
    CacheSpec,
    ClassSpec,
    ContextLevel,
    ContextSpec,
    DataSpec,
    LabelledRasterSpec,
    LossSpec,
    MethodSpec,
    ModelCard,
    NetworkSpec,
    OptimizerSpec,
    RefineSpec,
    ScheduleSpec,
    Spec,
    SplitSpec,
    TrainSpec,
)

SECTIONS: dict[str, type[Spec]] = {
    "": TrainSpec,
    "data": DataSpec,
    "data.scenes": LabelledRasterSpec,
    "data.split": SplitSpec,
    "classes": ClassSpec,
    "network": NetworkSpec,
    "context": ContextSpec,
    "context.levels": ContextLevel,
    "refine": RefineSpec,
    "method": MethodSpec,
    "loss": LossSpec,
    "optimizer": OptimizerSpec,
    "schedule": ScheduleSpec,
    "augment": AugmentSpec,
    "cache": CacheSpec,
    "card": ModelCard,
}
HEAD = """# Settings of a training config

Made by `python docs/make_config_reference.py` from the code; [training.md](training.md) says how to use them. Paths are
relative to the config's own folder.
"""


def reference() -> str:
    """The whole page."""
    return HEAD + "".join("\n" + "\n".join(_section(name, kind)) + "\n" for name, kind in SECTIONS.items())


def _section(name: str, kind: type[Spec]) -> Iterator[str]:
    yield f"## {name or 'Top level'}"
    yield ""
    yield " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
    yield ""
    yield "| setting | values | default | |"
    yield "|---|---|---|---|"
    for field_name, field in kind.model_fields.items():
        text = " ".join((field.description or "").split()).replace("|", "\\|").replace("None", "null")
        yield f"| `{field_name}` | {_values(field.annotation)} | {_default(field)} | {text} |"


def _values(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(parts[0])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_values(part) for part in parts if part is not type(None))
    if origin is tuple:
        return (
            f"list of {_values(parts[0])}".replace("of see", "see")
            if Ellipsis in parts
            else ", ".join(_values(part) for part in parts)
        )
    if origin is dict or is_typeddict(annotation):
        return "mapping"
    if inspect.isclass(annotation) and issubclass(annotation, Spec):
        return "see below"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true, false"}.get(
        getattr(annotation, "__name__", ""), "path"
    )


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "needed"
    if isinstance(field.default, Spec):
        return ""
    if isinstance(field.default, tuple) and any(isinstance(one, Spec) for one in field.default):
        return "one with its defaults"
    return f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    Path(__file__).with_name("config.md").write_text(reference(), encoding="utf-8")
