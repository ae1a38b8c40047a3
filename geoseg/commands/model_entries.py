"""The models of a comparison.

In: paths of models and runs, with settings of their own. Out: model files, their names, the order of classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.commands.entry_settings import split_entry, with_settings
from geoseg.core.errors import ModelError, SpecError, did_you_mean
from geoseg.inference.windows import BY_MODEL
from geoseg.models.header import default_model_path, existing_model, read_spec
from geoseg.spec import ClassifySpec, ClassSpec, ModelSpec


@dataclass(frozen=True)
class ModelEntry:
    """One model that is to be compared."""

    name: str
    """Its name in the table."""
    path: Path
    """The model file."""
    spec: ModelSpec
    """Its spec."""
    settings: ClassifySpec
    """How it classifies."""


def find_entries(models: Sequence[str | os.PathLike[str]], shared: ClassifySpec = BY_MODEL) -> list[ModelEntry]:
    """The model files, each with a name of its own: the model's, else that of its folder and file, else its path.

    Args:
        models: paths, each perhaps with settings behind it: `default@tta=flips`, which its name then has, too.
        shared: how all models classify that have no other settings.

    Raises:
        SpecError: if there are fewer than two, one is given twice, or a setting is invalid.
        ModelError: if one cannot be read.
    """
    if len(models) < 2:
        raise SpecError("one model leaves nothing to compare: give two or more, or take geoseg evaluate")
    given = [split_entry(os.fspath(model)) for model in models]
    paths = [existing_model(path) for path, _ in given]
    settings = [with_settings(shared, text, f"{path}@{text}") for path, text in given]
    names = _names(paths)
    entries = [
        ModelEntry(f"{names[path]}@{text}" if text else names[path], path, read_spec(path), own)
        for path, (_, text), own in zip(paths, given, settings, strict=True)
    ]
    meant = [(entry.path.resolve(), entry.settings) for entry in entries]
    if twice := next((entry.path for entry, what in zip(entries, meant, strict=True) if meant.count(what) > 1), None):
        raise SpecError(f"{twice} is given twice: give each model once, or with other settings (@NAME=VALUE)")
    return entries


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each model file, by its path as it is given."""
    files = list({path.resolve(): path for path in paths}.values())
    choices = [[read_spec(path).name, path.stem, _place(path), str(path)] for path in files]
    kind = next(kind for kind in range(4) if len({names[kind] for names in choices}) == len(files))
    found = {path.resolve(): names[kind] for path, names in zip(files, choices, strict=True)}
    return {path: found[path.resolve()] for path in paths}


def _place(path: Path) -> str:
    """The folder's name of a model file, or default."""
    whole = path.resolve()
    return "default" if whole == default_model_path().resolve() else whole.parent.name


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
