"""The bundle of a run. In: a path of a run's folder or of a model file. Out: the path of a model file."""

from __future__ import annotations

from pathlib import Path

from geoseg.core.errors import ModelError, SpecError
from geoseg.models.header import existing_model
from geoseg.spec import load_yaml


def find_bundle(path: str | Path) -> Path:
    """The model file of a path: itself, or the bundle in the folder of a run.

    Raises:
        ModelError: if there is no model, or the folder is none of a run.
    """
    folder = Path(path)
    if not folder.is_dir():
        return existing_model(path)
    found = sorted(folder.glob("*.safetensors"))
    if len(found) > 1:
        found = [one for one in found if one.stem == _name_of_run(folder)]
    if len(found) != 1:
        raise ModelError(f"{folder} holds no bundle of a run: give a run's folder, or the path of a model file")
    return found[0]


def _name_of_run(folder: Path) -> str | None:
    """The name of the model that a run's settings give; None if there are no settings."""
    try:
        return str(load_yaml(folder / "config.yaml").get("name"))
    except SpecError:
        return None
