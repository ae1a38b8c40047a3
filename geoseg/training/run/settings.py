"""The settings of a run, resolved before any image is read.

In: a config, and settings that override it. Out: settings with absolute paths, device and arithmetic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geoseg.core.errors import SpecError
from geoseg.core.events import Reporter
from geoseg.models.downloads import is_address
from geoseg.models.header import default_model_path, read_spec
from geoseg.models.runner import choose_device, choose_precision
from geoseg.spec import DataSpec, TrainSpec, load_train_spec, parse_spec, paths_from
from geoseg.spec.settings import TrainSettings
from geoseg.spec.train import is_path_of_weights
from geoseg.training.methods.method import change_paths

Config = str | os.PathLike[str] | TrainSpec
"""A YAML file, or settings already read."""


@dataclass(frozen=True)
class Hardware:
    """Device and arithmetic of a training run."""

    device: torch.device
    """The first device of the run."""
    precision: str
    """fp32, bf16 or fp16."""


def resolve_settings(config: Config, tiles: str | os.PathLike[str] | None, settings: TrainSettings) -> TrainSpec:
    """The settings of a run, with absolute paths.

    Args:
        config: a YAML file, or settings already read.
        tiles: CSV of labelled rasters, instead of the config's data.
        settings: fields of TrainSpec, over what the config says.

    Raises:
        SpecError: if a setting is invalid.
    """
    spec = config if isinstance(config, TrainSpec) else _loaded(Path(config))
    if settings:
        spec = parse_spec(TrainSpec, {**spec.model_dump(), **settings}, source="settings")
    method = change_paths(spec.method, lambda path: _below(Path.cwd(), path))
    changes: dict[str, Any] = {"data": data_of(spec, tiles), "method": method}
    if spec.init_from is not None:
        is_default = spec.init_from.name == "default" and not spec.init_from.exists()
        changes["init_from"] = default_model_path() if is_default else _absolute(spec.init_from)
    if spec.cache is not None:
        changes["cache"] = spec.cache.below(Path.cwd())
    if spec.encoder_weights and is_path_of_weights(spec.encoder_weights):
        changes["encoder_weights"] = str(Path(spec.encoder_weights).absolute())
    return spec.model_copy(update=changes)


def _absolute(model: Path) -> Path:
    """The absolute path of a model; an address as it is."""
    return model if is_address(model) else model.absolute()


def _loaded(config: Path) -> TrainSpec:
    """The settings in a file, with paths relative to its folder."""
    spec = load_train_spec(config)
    return spec.model_copy(update={"method": change_paths(spec.method, lambda path: _below(config.parent, path))})


def _below(folder: Path, path: Path) -> Path:
    """A path taken from a folder; `default` names the model that comes with geoseg, unless there is such a file."""
    found = folder / path
    return path if path == Path("default") and not found.exists() else found


def data_of(spec: TrainSpec, tiles: str | os.PathLike[str] | None) -> DataSpec:
    """The data settings of a config, or of a list of labelled rasters instead, with absolute paths."""
    given = {} if tiles is None else {"tiles": Path(tiles), "images": None, "labels": None, "scenes": ()}
    return paths_from(spec.data.model_copy(update=given), Path.cwd())


def choose_hardware(spec: TrainSpec) -> Hardware:
    """The device and the arithmetic of a run's settings.

    Raises:
        SpecError: if this machine has no such device, or too few of them, or it does not train in that arithmetic.
    """
    device = choose_device(spec.device)
    here = {"cuda": torch.cuda.device_count() - (device.index or 0), "mps": 1}.get(device.type, spec.devices)
    if spec.devices > here:
        raise SpecError(f"devices = {spec.devices}: from {device} on there are {here}: take fewer, or device cpu")
    if spec.precision == "fp16" and device.type == "cpu":
        raise SpecError("precision = 'fp16': no CPU trains in it: take bf16 or fp32")
    return Hardware(device, choose_precision(spec.precision, device))


def begun_with(bundle: Path, hardware: Hardware, reporter: Reporter) -> Hardware:
    """The hardware with the arithmetic in which a run was begun, which the bundle of its best epoch says.

    Only `precision: auto` may choose another one, on another machine; a notice says so.
    """
    begun = read_spec(bundle).card.training.get("precision", hardware.precision)
    if begun == hardware.precision:
        return hardware
    if begun == "fp16" and hardware.device.type == "cpu":
        reporter.notice(f"the run was begun in fp16, in which no CPU trains: it goes on in {hardware.precision}")
        return hardware
    reporter.notice(
        f"the run goes on in {begun}, in which it was begun; a new one would take {hardware.precision} here"
    )
    return replace(hardware, precision=begun)
