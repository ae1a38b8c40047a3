"""Writes geoseg/spec/settings.py: what the public functions take, for editors and type checkers, from the specs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import is_typeddict

from geoseg.spec import (
    CompareSpec,
    ComparisonSpec,
    EvaluateSpec,
    ExistingSpec,
    ImportSpec,
    InitSpec,
    PredictSpec,
    SampleSpec,
    Spec,
    SuggestSpec,
    TileSpec,
    TrainSpec,
    VectorizeSpec,
)

SETTINGS: dict[str, tuple[str, tuple[type[Spec], ...]]] = {
    "PredictSettings": (
        "How a scene is predicted, and what becomes of results that exist.",
        (ExistingSpec, PredictSpec),
    ),
    "EvaluateSettings": ("How a model is scored.", (EvaluateSpec,)),
    "ComparisonSettings": ("How a class raster is compared with labels.", (ComparisonSpec,)),
    "CompareSettings": ("How several models are compared.", (CompareSpec,)),
    "VectorizeSettings": ("How a class raster becomes polygons.", (VectorizeSpec,)),
    "InitSettings": ("How a training config is written.", (InitSpec,)),
    "ImportSettings": ("What is said of another tool's model.", (ImportSpec,)),
    "SampleSettings": ("How places are drawn for a test.", (SampleSpec,)),
    "SuggestSettings": (
        "How places to label are found, and what becomes of a file that exists.",
        (ExistingSpec, SuggestSpec),
    ),
    "TileSettings": ("How labelled rasters are cut into tiles.", (TileSpec,)),
    "TrainSettings": ("How a model is trained, over what its config says.", (TrainSpec,)),
}
ARGUMENTS = {"TrainSettings": {"data"}}
"""Settings that the function takes as arguments, which mean something else."""
HEAD = '''"""Settings by name, as the public functions take them; their meaning and their bounds are those of the specs.

Made by `python docs/make_settings.py` from these, so that editors complete names and type checkers refuse others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict
'''


def module() -> str:
    """The whole module."""
    return HEAD + "".join(_class(name, text, kinds) for name, (text, kinds) in SETTINGS.items())


def _class(name: str, text: str, kinds: tuple[type[Spec], ...]) -> str:
    fields = {name: field for kind in kinds for name, field in kind.settings().items()}
    for argument in ARGUMENTS.get(name, ()):
        del fields[argument]
    lines = [f"    {name}: {' | '.join(_kinds(field.annotation))}" for name, field in fields.items()]
    return "\n\n" + "\n".join([f"class {name}(TypedDict, total=False):", f'    """{text}"""', "", *lines]) + "\n"


def _kinds(annotation: Any) -> Iterator[str]:
    """What a caller may give: any path for a path, any sequence for a tuple, a mapping for settings of their own."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _kinds(parts[0])
    elif origin in (Union, UnionType):
        yield from dict.fromkeys(kind for part in parts for kind in _kinds(part))
    elif origin is Literal:
        yield f"Literal[{', '.join(_quoted(part) for part in parts)}]"
    elif origin is tuple:
        inner = dict.fromkeys(kind for part in parts if part is not Ellipsis for kind in _kinds(part))
        yield f"Sequence[{' | '.join(inner)}]"
    elif origin is dict or is_typeddict(annotation) or (inspect.isclass(annotation) and issubclass(annotation, Spec)):
        yield "Mapping[str, Any]"
    elif annotation is Path:
        yield from ("str", "os.PathLike[str]")
    else:
        yield "None" if annotation is NoneType else annotation.__name__


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    path = Path(__file__).resolve().parents[1] / "geoseg" / "spec" / "settings.py"
    path.write_text(module(), encoding="utf-8")
