"""From labelled images to a bundle, end to end.

In: a TrainSpec (or the path of a config). Out: a folder with the bundle of the best epoch, the resolved config, the
scores of every epoch, TensorBoard events and a report. Prints nothing: progress and notices go to callables.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from geoseg.core.errors import LabelError, ModelError, OutputError, SpecError
from geoseg.core.files import draft_of, one_line, write_errors
from geoseg.core.quiet import quiet, quiet_threads
from geoseg.core.redaction import public_values
from geoseg.core.version import __version__
from geoseg.core.wording import number_of
from geoseg.losses.combined import make_losses
from geoseg.metrics.scores import Scores
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model
from geoseg.models.header import default_model_path, read_spec
from geoseg.models.runner import Runner, choose_device, choose_precision
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.start import start_from
from geoseg.models.windows import check_window
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.raster.gdal import TRAINING_CACHE_MB, gdal_settings
from geoseg.raster.scaling import conversion, describe_scaling
from geoseg.spec import (
    DataSpec,
    ModelSpec,
    NormalizationSpec,
    TrainSpec,
    beside,
    describe_context,
    describe_refine,
    load_train_spec,
    load_yaml,
    parse_spec,
)
from geoseg.spec.train import WEIGHT_FILES
from geoseg.training.augment import Augment
from geoseg.training.examples import find_examples
from geoseg.training.inputs import TrainingData, read_training_data
from geoseg.training.learner import Learner, Lesson
from geoseg.training.loader import Loader
from geoseg.training.run_folder import (
    CHECKPOINT,
    PREVIOUS_CHECKPOINT,
    Progress,
    Record,
    TrainProgress,
    find_checkpoint,
)
from geoseg.training.scoring import load_scored, predict_scored, scored_windows, tell_scored
from geoseg.training.view_windows import ContextWindows, stack_context
from geoseg.training.windows import Sampling, TrainingWindows, stack_training

__all__ = ["Progress", "TrainProgress", "TrainResult", "is_main_process", "train"]

LIGHTNING_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
EVENTS = "tensorboard"
CENSUS = "census.npz"
EXAMPLES = 4
"""Worst and best windows in the report, of each."""
MAY_CHANGE = {"device", "devices", "card"}
"""Settings that may differ when a run is resumed."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run made."""

    bundle: Path
    """The model of the best epoch."""
    config: Path
    """The resolved settings."""
    metrics: Path
    """CSV with one line per epoch."""
    report: Path
    """Curves, scores and examples, as one HTML file."""
    scores: Scores
    """The bundle's scores on the validation ground."""
    best_epoch: int
    """Epoch of the bundle, counted from 1."""
    epochs: int
    """Epochs done."""
    parameters: int
    """Trained numbers in the network."""
    train_images: int
    """Images learnt from."""
    train_pixels: int
    """Labelled pixels learnt from."""
    val_images: int
    """Images scored on."""
    val_pixels: int
    """Labelled pixels scored on."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    seconds: float
    """Wall time, over all parts of a resumed run."""
    notices: tuple[str, ...] = ()
    """What a person should know of the data and the run: a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def train(
    config: str | os.PathLike[str] | TrainSpec,
    output: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = lambda state: None,
    notice: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> TrainResult:
    """Train a model and write the bundle of its best epoch.

    With `devices` above 1 the running script is started once more for each further process (DDP), so it must do nothing
    else when it is run.

    Args:
        config: a YAML file, or settings already read.
        output: folder that gets NAME.safetensors, config.yaml, metrics.csv, report.html and tensorboard/.
        data: CSV of labelled tiles, instead of the config's data.
        overwrite: replace the results of an earlier run.
        resume: go on with the run in `output` where it was interrupted, however that happened; the result is the one it
            would have had. Starts from the beginning if there is none.
        progress: told about every window that is read, every step and every epoch.
        notice: told what a person should know, line by line.
        settings: fields of TrainSpec, over what the config says, e.g. epochs=10.

    Raises:
        SpecError: if a setting makes no sense, or the run to be resumed had others.
        LabelError: if the labels cannot be used.
        SceneError: if an image cannot be read.
        ModelError: if the network cannot be built, or its first weights cannot be loaded.
        OutputError: if results exist already or cannot be written.
    """
    spec = _resolve(config, data, settings)
    make_losses(spec.loss)  # refuses a wrong parameter before any data is read
    folder = Path(output)
    device = choose_device(spec.device)
    _check_devices(spec, device)
    precision = _choose_precision(spec, device)
    if is_main_process():
        _check_folder(folder, spec, overwrite, resume, notice)

    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        notice(line)

    def tell(done: int, total: int) -> None:
        progress(TrainProgress("reading", done, total, epochs=spec.epochs))

    with gdal_settings(TRAINING_CACHE_MB), torch.random.fork_rng(), quiet("lightning.pytorch", "lightning.fabric"):
        ground = read_training_data(spec, store=folder / CENSUS, tell=tell, notice=say)
        torch.manual_seed(spec.seed)
        run = _prepare(spec, ground, folder, device, precision, progress, say)
        checkpoint = _resumable(folder, spec, say) if resume else None
        if is_main_process():
            _clear_leftovers(folder)
            if checkpoint is None:
                _start_folder(folder, spec)
        with _interruptible(), _training_errors(spec), write_errors(folder), quiet_threads():
            trainer = _trainer(run)
            trainer.fit(run.learner, ckpt_path=checkpoint)
        result = _result(run, ground)
        if trainer.is_global_zero:
            run.record.write_metrics()
            _report(run, ground, result)
            for name in (PREVIOUS_CHECKPOINT, CHECKPOINT):
                (folder / name).unlink(missing_ok=True)
    return replace(result, notices=tuple(told))


def is_main_process() -> bool:
    """Whether this is the first of several processes that train together, or the only one."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))


@dataclass(frozen=True)
class _Run:
    """All parts of a run, ready to start."""

    spec: TrainSpec
    model: ModelSpec
    learner: Learner
    record: Record
    folder: Path
    device: torch.device
    precision: str


def _resolve(
    config: str | os.PathLike[str] | TrainSpec, data: str | os.PathLike[str] | None, settings: dict[str, Any]
) -> TrainSpec:
    spec = config if isinstance(config, TrainSpec) else load_train_spec(Path(config))
    if settings:
        spec = parse_spec(TrainSpec, spec.model_dump() | settings, source="settings")
    if data is not None:
        given = {"tiles": Path(data), "images": None, "labels": None, "scenes": ()}
        spec = spec.model_copy(update={"data": spec.data.model_copy(update=given)})
    changes: dict[str, Any] = {"data": beside(spec.data, Path.cwd())}
    if spec.init_from is not None:
        is_default = spec.init_from.name == "default" and not spec.init_from.exists()
        changes["init_from"] = default_model_path() if is_default else spec.init_from.absolute()
    if spec.encoder_weights and Path(spec.encoder_weights).suffix in WEIGHT_FILES:
        changes["encoder_weights"] = str(Path(spec.encoder_weights).absolute())
    return spec.model_copy(update=changes)


def _check_devices(spec: TrainSpec, device: torch.device) -> None:
    here = {"cuda": torch.cuda.device_count() - (device.index or 0), "mps": 1}.get(device.type, spec.devices)
    if spec.devices > here:
        raise SpecError(f"devices = {spec.devices}: from {device} on there are {here}: take fewer, or device cpu")


def _choose_precision(spec: TrainSpec, device: torch.device) -> str:
    if spec.precision == "fp16" and device.type == "cpu":
        raise SpecError("precision = 'fp16': no CPU trains in it: take bf16 or fp32")
    return choose_precision(spec.precision, device)


def _results(folder: Path, spec: TrainSpec) -> list[Path]:
    names = "config.yaml", "metrics.csv", "report.html", EVENTS, CHECKPOINT, PREVIOUS_CHECKPOINT
    return [folder / name for name in (f"{spec.name}.safetensors", *names)]


def _check_folder(folder: Path, spec: TrainSpec, overwrite: bool, resume: bool, notice: Callable[[str], None]) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: choose a folder as --output")
    existing = [path for path in _results(folder, spec) if path.exists()]
    if resume:
        _check_resumable(folder, spec, existing)
    elif existing and not overwrite:
        raise OutputError(
            f"{existing[0]} exists: pass --overwrite to replace it, --resume to go on with an interrupted run, "
            "or choose another --output"
        )


def _check_resumable(folder: Path, spec: TrainSpec, existing: list[Path]) -> None:
    config = folder / "config.yaml"
    if config in existing:
        was, now = _begun_with(config), _settings(spec)
        changed = [name for name in now if name not in MAY_CHANGE and now[name] != was.get(name)]
        if changed:
            raise SpecError(
                f"{folder} holds a run with other settings ({', '.join(changed)} differ from {config}): resume it with "
                "its own config, or pass --overwrite to start anew"
            )
        if folder / "report.html" in existing and folder / CHECKPOINT not in existing:
            raise OutputError(f"{folder} holds a finished run: there is nothing to resume, choose another --output")
    elif existing:
        raise OutputError(f"{existing[0]} exists but {config} does not: pass --overwrite, or choose another --output")


def _begun_with(config: Path) -> dict[str, Any]:
    """The settings of a run that is to be resumed."""
    try:
        return load_yaml(config)
    except SpecError as error:
        raise SpecError(f"{error}: the run cannot be resumed, pass --overwrite to start it anew") from None


def _resumable(folder: Path, spec: TrainSpec, notice: Callable[[str], None]) -> Path | None:
    """The checkpoint from which a run goes on; None if it has to begin anew."""
    found = find_checkpoint(folder)
    if found is not None:
        try:
            load_model(folder / f"{spec.name}.safetensors")
        except ModelError as error:  # the best epoch so far cannot be had again otherwise
            notice(f"the model of the best epoch is damaged: {error}")
            found = None
    if found is None:
        notice(f"{folder} holds no finished epoch to resume from: starting from the beginning")
    elif found.name != CHECKPOINT:
        notice(f"{folder / CHECKPOINT} is missing or damaged: going on from the epoch before")
    return found


def _settings(spec: TrainSpec) -> dict[str, Any]:
    """The resolved settings as config.yaml has them."""
    settings: dict[str, Any] = yaml.safe_load(yaml.safe_dump(public_values(spec.model_dump(mode="json"))))
    return settings


def _start_folder(folder: Path, spec: TrainSpec) -> None:
    """Clear an earlier run away and write the config; only called once nothing else can be wrong."""
    text = yaml.safe_dump(_settings(spec), sort_keys=False, allow_unicode=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in _results(folder, spec):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}: choose another --output") from None
    with draft_of(folder / "config.yaml") as draft:
        draft.write_text(text, "utf-8")


def _clear_leftovers(folder: Path) -> None:
    """Remove what a killed run left unfinished."""
    for path in folder.glob(".geoseg-*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _prepare(
    spec: TrainSpec,
    ground: TrainingData,
    folder: Path,
    device: torch.device,
    precision: str,
    progress: Progress,
    notice: Callable[[str], None],
) -> _Run:
    model = _model_spec(spec, ground)
    _tell_of_small_ground(spec, ground, notice)
    network = _make_network(spec, model, notice)
    check_window(network, len(model.bands), spec.window)
    learner = Learner(network, _make_lesson(spec, model, ground, folder, precision))
    record = Record(model, folder, _provenance(spec, ground, device, precision), ground.fingerprint, progress)
    return _Run(spec, model, learner, record, folder, device, precision)


def _tell_of_small_ground(spec: TrainSpec, ground: TrainingData, notice: Callable[[str], None]) -> None:
    """Tell that there is little to be seen around windows of ground that is smaller than the views."""
    seen = [level.core_px if spec.refine is None else level.size for level in spec.views]
    sides = (side * level.ratio for side, level in zip(seen, spec.views, strict=True) if level.ratio != "scene")
    wanted = max(sides, default=0)
    longest = max(max(one.height, one.width) for one in ground.train.grounds)
    if longest < wanted:
        notice(
            f"the views show {wanted} px and more, but the largest training ground is {longest} px wide: give whole "
            "scenes instead of tiles, or smaller ratios"
        )


def _make_network(spec: TrainSpec, model: ModelSpec, notice: Callable[[str], None]) -> SegmentationNetwork:
    network = build_network(model)
    if spec.encoder_weights is not None:
        load_encoder_weights(network, model, spec.encoder_weights)
    if spec.init_from is not None:
        notice(start_from(network, model, spec.init_from))
    return network


def _make_lesson(spec: TrainSpec, model: ModelSpec, ground: TrainingData, folder: Path, precision: str) -> Lesson:
    fill = model.normalization.mean
    sampling = Sampling(spec.window, spec.read_side, spec.windows_per_epoch, spec.data.class_balance, spec.seed)
    grounds, cells = ground.train.grounds, ground.train.cells
    windows = (
        TrainingWindows(grounds, cells, sampling, fill)
        if not spec.views
        else ContextWindows(grounds, cells, sampling, fill, spec.views, spec.augment, folder)
    )
    count = spec.windows_per_epoch // spec.batch_size
    count -= count % spec.optimizer.accumulate  # a last step of fewer batches would be a smaller one
    batches = [range(i * spec.batch_size, (i + 1) * spec.batch_size) for i in range(count)]
    return Lesson(
        spec=spec,
        model=model,
        folder=folder,
        precision=precision,
        class_counts=tuple(int(count) for count in ground.train.class_counts),
        augment=Augment(spec.augment, *ground.value_range, torch.tensor(fill)),
        train=Loader(windows, batches, stack_context if spec.views else stack_training),
        val=load_scored(scored_windows(ground.val, model, folder), spec.batch_px),
    )


def _trainer(run: _Run) -> Trainer:
    spec, on_gpu, first = run.spec, run.device.type == "cuda", run.device.index or 0
    return Trainer(
        accelerator="gpu" if on_gpu else run.device.type,
        devices=[first + i for i in range(spec.devices)] if on_gpu else spec.devices,
        strategy="ddp_find_unused_parameters_true" if spec.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision=LIGHTNING_PRECISION[run.precision],
        max_epochs=spec.epochs,
        accumulate_grad_batches=spec.optimizer.accumulate,
        gradient_clip_val=spec.optimizer.clip,
        callbacks=[run.record],
        logger=TensorBoardLogger(run.folder, name="", version=EVENTS),
        log_every_n_steps=10,
        default_root_dir=run.folder,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _model_spec(spec: TrainSpec, ground: TrainingData) -> ModelSpec:
    """What the bundle of a run says about itself, before there are scores."""
    return ModelSpec(
        name=spec.name,
        network=spec.network,
        bands=spec.data.bands,
        dtype=spec.data.dtype,
        normalization=_normalization(spec, ground),
        scaling=ground.scaling,
        classes=spec.classes,
        resolution_m=ground.resolution_m,
        tile=spec.tile,
        overlap=spec.overlap,
        context=spec.context,
        refine=spec.refine,
        card=spec.card,
    )


def _normalization(spec: TrainSpec, ground: TrainingData) -> NormalizationSpec:
    """That of the ground, or of the bundle that the network starts from, whose weights are used to it."""
    if spec.init_from is not None:
        given = read_spec(spec.init_from)
        is_same = (given.bands, given.dtype) == (spec.data.bands, spec.data.dtype)
        if is_same and conversion(ground.scaling, given.scaling) is None:
            return given.normalization
    return ground.normalization


def _provenance(spec: TrainSpec, ground: TrainingData, device: torch.device, precision: str) -> dict[str, Any]:
    """The settings and where they ran; no path of this machine goes into a bundle."""
    settings = spec.model_dump(mode="json", exclude={"card", "classes", "network", "device", "precision", "data"})
    provenance: dict[str, Any] = public_values(settings) | {
        "data": public_values(_without_folders(spec.data).model_dump(mode="json", exclude_defaults=True)),
        "encoder_weights": spec.encoder_weights and Path(spec.encoder_weights).name,
        "init_from": spec.init_from and spec.init_from.name,
        "train_images": ground.train.images,
        "val_images": ground.val.images,
        "device": device.type,
        "precision": precision,
        "geoseg": __version__,
        "torch": torch.__version__,
        **({} if ground.size_range_m is None else {"pixel_sizes_m": ground.size_range_m}),
    }
    return provenance


def _without_folders(data: DataSpec) -> DataSpec:
    scenes = [
        scene.model_copy(update={"image": Path(scene.image.name), "label": Path(scene.label.name)})
        for scene in data.scenes
    ]
    changes = {
        "tiles": data.tiles and Path(data.tiles.name),
        "images": data.images and Path(data.images).name,
        "labels": data.labels and Path(data.labels).name,
        "scenes": tuple(scenes),
    }
    return data.model_copy(update=changes)


def _result(run: _Run, ground: TrainingData) -> TrainResult:
    if run.record.best is None:
        raise LabelError("no epoch was scored: label some validation ground")
    return TrainResult(
        bundle=run.record.bundle,
        config=run.folder / "config.yaml",
        metrics=run.folder / "metrics.csv",
        report=run.folder / "report.html",
        scores=run.record.best,
        best_epoch=run.record.best_epoch,
        epochs=run.record.epochs,
        parameters=sum(p.numel() for p in run.learner.network.parameters()),
        train_images=ground.train.images,
        train_pixels=int(ground.train.class_counts.sum()),
        val_images=ground.val.images,
        val_pixels=int(ground.val.class_counts.sum()),
        device=str(run.device),
        precision=run.precision,
        seconds=run.record.seconds,
    )


def _report(run: _Run, ground: TrainingData, result: TrainResult) -> None:
    """Show the run, with the windows where the kept network is worst and best."""
    best = load_model(result.bundle)
    scorer = Runner(best.module, str(run.device), run.spec.precision)
    windows = scored_windows(ground.val, best.spec, run.folder)
    tell_scored(windows, scorer, best.spec, run.spec.batch_px, run.folder)
    worst, fine = find_examples(partial(predict_scored, scorer), windows, best.spec.bands, EXAMPLES)
    write_report(
        Report(
            title=run.spec.name,
            classes=run.spec.classes,
            scores=result.scores,
            history=run.record.history,
            best_epoch=result.best_epoch,
            facts=_facts(run, ground, result),
            settings=result.config.read_text("utf-8"),
            card=best.spec.card,
            worst=worst,
            best=fine,
        ),
        result.report,
    )


def _facts(run: _Run, ground: TrainingData, result: TrainResult) -> dict[str, str]:
    network = run.spec.network
    sides = {"Training ground": ground.train, "Validation ground": ground.val}
    return (
        {
            "Network": f"{network.architecture} {network.encoder}, {result.parameters / 1e6:.2f} M parameters",
            "Bands": ", ".join(run.spec.data.bands),
        }
        | ({} if ground.scaling is None else {"Values": describe_scaling(ground.scaling)})
        | ({} if ground.size_range_m is None else {"Pixels": "{:g} to {:g} m".format(*ground.size_range_m)})
        | ({} if run.spec.context is None else {"Context": describe_context(run.spec.context)})
        | ({} if run.spec.refine is None else {"Refinement": describe_refine(run.spec.refine)})
        | {
            name: f"{number_of(side.images, 'image')}, {side.class_counts.sum() / 1e6:,.2f} Mpx labelled"
            for name, side in sides.items()
        }
        | {
            "Epochs": f"{result.epochs}, of which number {result.best_epoch} is kept",
            "Time": f"{result.seconds / 60:,.1f} min on {result.device} ({result.precision})",
            "Made by": f"geoseg {__version__}, torch {torch.__version__}",
        }
    )


@contextmanager
def _training_errors(spec: TrainSpec) -> Iterator[None]:
    """Turn what only a first step can tell into a SpecError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise SpecError(
            f"the device ran out of memory with {spec.batch_size} windows of {spec.window} px: lower batch_size (and "
            "raise optimizer.accumulate), or window"
        ) from None
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SpecError(
            f"this network normalises over a batch, and cannot learn from {spec.batch_size // spec.devices} window(s) "
            "at once: raise batch_size"
        ) from None
    except AssertionError as error:
        if "match model" not in str(error):
            raise
        raise SpecError(
            f"this encoder does not take windows of {spec.window} px: {one_line(error)}: set window, tile and "
            "network.arguments to one size"
        ) from None


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
