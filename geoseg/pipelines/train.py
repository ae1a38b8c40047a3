"""From labelled tiles to a bundle, end to end.

In: a TrainSpec (or the path of a config). Out: a folder with the bundle of the best epoch, the resolved config, and the
scores of every epoch. Prints nothing: progress goes to a callable.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Trainer
from torch.utils.data import DataLoader

from geoseg.augment import Augment
from geoseg.errors import OutputError
from geoseg.metrics import Scores
from geoseg.models.runner import choose_device, choose_precision
from geoseg.mosaic import join_neighbours
from geoseg.pipelines.learning import Learner
from geoseg.pipelines.record import KeepBest, Progress, TrainProgress
from geoseg.samples import Tiles, TrainingGround, Windows, read_training_ground
from geoseg.spec import ModelSpec, NormalizationSpec, TrainSpec, load_train_spec, parse_spec
from geoseg.version import __version__

__all__ = ["Progress", "TrainProgress", "TrainResult", "train"]

LIGHTNING_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
VALUE_RANGE = {"uint8": (0.0, 255.0)}
"""Lowest and highest band value by type; for other types it is taken from the training tiles."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run made."""

    bundle: Path
    """The model of the best epoch."""
    config: Path
    """The resolved settings."""
    metrics: Path
    """CSV with one line per epoch."""
    scores: Scores
    """The bundle's scores on the validation tiles."""
    best_epoch: int
    """Epoch of the bundle, counted from 1."""
    epochs: int
    """Epochs done; fewer than wanted if the run was interrupted."""
    parameters: int
    """Trained numbers in the network."""
    train_tiles: int
    """Tiles learnt from."""
    val_tiles: int
    """Tiles scored on."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    seconds: float
    """Wall time."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def train(
    config: str | os.PathLike[str] | TrainSpec,
    output: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a model and write the bundle of its best epoch.

    Args:
        config: a YAML file, or settings already read.
        output: folder that gets NAME.safetensors, config.yaml and metrics.csv.
        data: CSV of labelled tiles, instead of the config's `data.tiles`.
        overwrite: replace the results of an earlier run.
        progress: told about every step and every epoch.
        settings: fields of TrainSpec, over what the config says, e.g. epochs=10.

    Raises:
        SpecError: if a setting makes no sense.
        LabelError: if the tiles cannot be used.
        ModelError: if the network cannot be built.
        OutputError: if results exist already or cannot be written.
    """
    spec = _resolve(config, data, settings)
    folder = Path(output)
    _check_folder(folder, spec, overwrite)
    ground = read_training_ground(spec)
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(spec.seed)
        return _fit(spec, ground, folder, progress or (lambda state: None))


def _resolve(
    config: str | os.PathLike[str] | TrainSpec, data: str | os.PathLike[str] | None, settings: dict[str, Any]
) -> TrainSpec:
    spec = config if isinstance(config, TrainSpec) else load_train_spec(Path(config))
    if settings:
        spec = parse_spec(TrainSpec, spec.model_dump() | settings, source="settings")
    if data is not None:
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"tiles": Path(data)})})
    return spec


def _results(folder: Path, spec: TrainSpec) -> list[Path]:
    return [folder / f"{spec.name}.safetensors", folder / "config.yaml", folder / "metrics.csv"]


def _check_folder(folder: Path, spec: TrainSpec, overwrite: bool) -> None:
    existing = [path for path in _results(folder, spec) if path.exists()]
    if existing and not overwrite:
        raise OutputError(f"{existing[0]} exists: pass --overwrite to replace it, or choose another --output")


def _start_folder(folder: Path, spec: TrainSpec) -> None:
    """Clear an earlier run away and write the config; only called once nothing else can be wrong."""
    settings = spec.model_dump(mode="json")
    settings["data"]["tiles"] = str(spec.data.tiles.absolute())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in _results(folder, spec):
            path.unlink(missing_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}: choose another --output") from None


def _fit(spec: TrainSpec, ground: TrainingGround, folder: Path, progress: Progress) -> TrainResult:
    device = choose_device(spec.device)
    precision = choose_precision(spec.precision, device)
    model = _model_spec(spec, ground.normalization)
    augment = _make_augment(spec, ground)
    windows, scored = _make_loaders(spec, ground, augment)
    learner = Learner(spec, model, augment, steps=spec.epochs * len(windows))
    _start_folder(folder, spec)
    keeper = KeepBest(model, folder, _provenance(spec, ground, device, precision), progress)
    with _interruptible():
        _trainer(spec, device, precision, keeper, folder).fit(learner, windows, scored)
    assert keeper.best is not None
    return TrainResult(
        bundle=keeper.bundle,
        config=folder / "config.yaml",
        metrics=folder / "metrics.csv",
        scores=keeper.best,
        best_epoch=keeper.best_epoch,
        epochs=keeper.epochs,
        parameters=sum(p.numel() for p in learner.network.parameters()),
        train_tiles=len(ground.train),
        val_tiles=len(ground.val),
        device=str(device),
        precision=precision,
        seconds=keeper.seconds,
    )


def _make_augment(spec: TrainSpec, ground: TrainingGround) -> Augment:
    low, high = VALUE_RANGE.get(spec.data.dtype) or (
        min(float(piece.image.min()) for piece in ground.train),
        max(float(piece.image.max()) for piece in ground.train),
    )
    return Augment(spec.augment, low, high, torch.tensor(ground.normalization.mean))


def _make_loaders(spec: TrainSpec, ground: TrainingGround, augment: Augment) -> tuple[DataLoader[Any], DataLoader[Any]]:
    fill = ground.normalization.mean
    windows = Windows(
        join_neighbours(ground.train, fill),
        spec.window,
        augment.read_side(spec.window),
        spec.windows_per_epoch,
        fill=fill,
        balance=spec.data.class_balance,
        seed=spec.seed,
    )
    scored = Tiles(ground.val, spec.network.multiple)
    return (
        DataLoader(windows, batch_size=spec.batch_size, drop_last=len(windows) >= spec.batch_size),
        DataLoader(scored, batch_size=spec.batch_size if scored.uniform() else 1),
    )


def _trainer(spec: TrainSpec, device: torch.device, precision: str, keeper: KeepBest, folder: Path) -> Trainer:
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=LIGHTNING_PRECISION[precision],
        max_epochs=spec.epochs,
        gradient_clip_val=spec.clip,
        callbacks=[keeper],
        default_root_dir=folder,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _model_spec(spec: TrainSpec, normalization: NormalizationSpec) -> ModelSpec:
    """What the bundle of a run says about itself, before there are scores."""
    return ModelSpec(
        name=spec.name,
        network=spec.network,
        bands=spec.data.bands,
        dtype=spec.data.dtype,
        normalization=normalization,
        classes=spec.classes,
        resolution_m=spec.data.resolution_m,
        tile=spec.tile,
        overlap=spec.overlap,
        card=spec.card,
    )


def _provenance(spec: TrainSpec, ground: TrainingGround, device: torch.device, precision: str) -> dict[str, Any]:
    """The settings and where they ran; no path of this machine goes into a bundle."""
    settings = spec.model_dump(mode="json", exclude={"card", "classes", "network", "device", "precision"})
    settings["data"]["tiles"] = spec.data.tiles.name
    return settings | {
        "train_tiles": len(ground.train),
        "val_tiles": len(ground.val),
        "device": device.type,
        "precision": precision,
        "geoseg": __version__,
        "torch": torch.__version__,
    }


@contextmanager
def _interruptible() -> Iterator[None]:
    """Pass Ctrl-C on as KeyboardInterrupt: Lightning turns it into an exit and leaves further ones ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as exit_:
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners and tips; its errors are raised, not logged."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
