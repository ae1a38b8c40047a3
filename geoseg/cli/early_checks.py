"""Checks of settings and files before PyTorch is imported, which takes seconds.

They are those of the commands themselves, in the same order, so that errors are the same; the commands repeat them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.terminal import notice
from geoseg.core.composites import paths_in

if TYPE_CHECKING:
    from geoseg.scenes import SceneRef
    from geoseg.spec import ExistingSpec, PredictSpec, TrainSpec
    from geoseg.spec.evaluate import Split


def check_one_scene(scene: SceneRef, output: str | None, settings: dict[str, Any]) -> None:
    """Check the settings, the scene, the model and the results of one prediction.

    Raises:
        GeosegError: as `predict` would.
    """
    from geoseg.commands.output_paths import check_outputs, name_outputs

    existing, spec = _specs(settings)
    name = check_scene(scene)
    _check_model(settings)
    check_outputs(name_outputs(name, output, spec), scene.path, overwrite=existing.may_replace)


def check_many_scenes(scenes: Sequence[SceneRef], output: str | None, settings: dict[str, Any]) -> None:
    """Check the settings, the results and the model of many predictions; scenes have errors of their own.

    Raises:
        GeosegError: as `predict_each` would.
    """
    from geoseg.commands.output_paths import check_all_outputs

    existing, spec = _specs(settings)
    check_all_outputs(scenes, output, spec, overwrite=existing.may_replace)
    _check_model(settings)


def _specs(settings: dict[str, Any]) -> tuple[ExistingSpec, PredictSpec]:
    """The settings for existing results and for prediction, without model and scheduler."""
    from geoseg.spec import PredictSpec, parse_spec, split_existing

    existing, rest = split_existing(settings)
    of_scenes = {name: value for name, value in rest.items() if name not in ("model", "scheduler")}
    return existing, parse_spec(PredictSpec, of_scenes, source="settings")


def _check_model(settings: dict[str, Any]) -> None:
    """Read the model's spec, unless only the workers of a cluster can see the file."""
    from geoseg.models.header import read_spec

    if settings.get("scheduler") is None:
        read_spec(settings.get("model"))
        notice_address(settings.get("model"))


def check_scene(scene: str | SceneRef) -> str:
    """Open a scene; return its name.

    Raises:
        SceneError: if it cannot be opened.
    """
    from geoseg.raster.gdal import gdal_settings
    from geoseg.scenes import open_scene

    with gdal_settings(), open_scene(scene) as opened:
        return opened.info.name


def check_vectorized(raster: str, settings: dict[str, Any]) -> None:
    """Check the settings of polygons, and open the class raster.

    Raises:
        GeosegError: as `vectorize` would.
    """
    from geoseg.spec import VectorizeSpec, parse_spec

    parse_spec(VectorizeSpec, settings, source="settings")
    check_predicted(raster)


def check_predicted(raster: str) -> None:
    """Open a class raster.

    Raises:
        SceneError: if it cannot be opened, or is no class raster.
    """
    from geoseg.raster.class_raster import open_classes
    from geoseg.raster.gdal import gdal_settings

    with gdal_settings(), open_classes(raster):
        pass


def check_model(model: str | None) -> None:
    """Read a model's spec.

    Raises:
        ModelError: if the file is missing, or is no model.
    """
    from geoseg.models.header import read_spec

    read_spec(model)
    notice_address(model)


def notice_address(model: str | None) -> None:
    """Say which version of a model was downloaded, by an address that names it; nothing with --quiet."""
    from geoseg.models.downloads import address_line, fetch_file, is_address

    if model is not None and is_address(model) and not click.get_current_context().params.get("quiet"):
        notice(address_line("model", fetch_file(model).address))


def read_train_config(config: Path, tiles: Path | None = None, only: Split | None = None) -> TrainSpec:
    """Read a training config, and check that its images exist, or those of a list of tiles instead.

    Those of the test side are needed only where it is the one that is scored.

    Raises:
        SpecError: if the config cannot be read, or a setting is invalid.
        LabelError: if the images cannot be listed.
        SceneError: if one is missing.
    """
    from geoseg.data.listing import list_rasters, to_read
    from geoseg.spec import load_train_spec, paths_from

    spec = load_train_spec(config)
    given = {} if tiles is None else {"tiles": tiles, "images": None, "labels": None, "scenes": ()}
    entries = to_read(list_rasters(paths_from(spec.data.model_copy(update=given), Path.cwd())), only)
    missing = next((e.image for e in entries if not all(map(os.path.exists, paths_in(e.image)))), None)
    if missing is not None:
        check_scene(str(missing))  # it may be no file, but something else that GDAL opens
    return spec
