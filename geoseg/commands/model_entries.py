"""The models of a comparison. In: paths of models and runs. Out: model files, their names, the order of classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.errors import ModelError, SpecError, did_you_mean
from geoseg.models.header import existing_model, read_spec
from geoseg.spec import ClassSpec, ModelSpec


@dataclass(frozen=True)
class ModelEntry:
    """One model that is to be compared."""

    name: str
    """Its name in the table."""
    path: Path
    """The model file."""
    spec: ModelSpec
    """Its spec."""


def find_entries(models: Sequence[str | os.PathLike[str]]) -> list[ModelEntry]:
    """The model files, each with a name of its own: the model's, else that of its folder and file, else its path.

    Raises:
        SpecError: if there are fewer than two, or one is given twice.
        ModelError: if one cannot be read.
    """
    if len(models) < 2:
        raise SpecError("one model leaves nothing to compare: give two or more, or take geoseg evaluate")
    paths = [existing_model(model) for model in models]
    resolved = [path.resolve() for path in paths]
    if twice := next((path for path, real in zip(paths, resolved, strict=True) if resolved.count(real) > 1), None):
        raise SpecError(f"{twice} is given twice: give each model once")
    specs = [read_spec(path) for path in paths]
    choices = zip(
        [spec.name for spec in specs], [path.stem for path in paths], [path.parent.name for path in paths], strict=True
    )
    candidates = [[*some, str(path)] for some, path in zip(choices, paths, strict=True)]
    kind = next(kind for kind in range(4) if len({names[kind] for names in candidates}) == len(paths))
    return [ModelEntry(names[kind], path, spec) for names, path, spec in zip(candidates, paths, specs, strict=True)]


def find_baseline(wanted: str | None, names: Sequence[str]) -> int | None:
    """Index of the model from which differences are taken; None means the best.

    Raises:
        SpecError: if no model has that name.
    """
    if wanted is None or wanted == "first":
        return None if wanted is None else 0
    if wanted not in names:
        raise SpecError(
            f"no model is called {wanted!r}{did_you_mean(wanted, names)}: there are {', '.join(names)}, and `first`"
        )
    return names.index(wanted)


def order_of_classes(classes: Sequence[ClassSpec], entry: ModelEntry) -> list[int]:
    """Of each class of a config, its index in a model's logits: classes are the same if their names are.

    Raises:
        ModelError: if the model has other classes.
    """
    wanted, found = ([c.name.strip().lower() for c in some] for some in (classes, entry.spec.classes))
    if set(wanted) != set(found) or len(wanted) != len(found):
        raise ModelError(
            f"model {entry.name} has the classes {', '.join(c.name for c in entry.spec.classes)}, the config has "
            f"{', '.join(c.name for c in classes)}: models are compared where both have the same names"
        )
    return [found.index(name) for name in wanted]
