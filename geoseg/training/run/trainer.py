"""The training loop of Lightning: devices, interruption, and errors as geoseg's."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from geoseg.core.errors import SpecError
from geoseg.core.events import Reporter
from geoseg.core.files import one_line, write_errors
from geoseg.core.memory import kept_memory
from geoseg.core.quiet import quiet_threads
from geoseg.core.wording import number_of
from geoseg.spec import TrainSpec
from geoseg.training.methods.method import METHODS, UNLABELLED
from geoseg.training.run.build import Run
from geoseg.training.run.example_images import ExampleImages

LIGHTNING_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def is_main_process() -> bool:
    """Whether this is the first of several processes that train together, or the only one."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))


def fit(run: Run, checkpoint: Path | None, reporter: Reporter) -> bool:
    """Train a run to its end, from a checkpoint or from the beginning; return whether this process is the first.

    The reporter gets the progress of what is computed before the first epoch.

    Raises:
        SpecError: if a setting is invalid in a way that only shows in the first step.
        OutputError: if results cannot be written.
    """
    with _interruptible(), _training_errors(run.spec), write_errors(run.folder.path), quiet_threads(), kept_memory():
        run.learner.inputs.train.items.prepare(reporter)
        trainer = _trainer(run)
        trainer.fit(run.learner, ckpt_path=checkpoint)
    return bool(trainer.is_global_zero)


def _trainer(run: Run) -> Trainer:
    spec, device = run.spec, run.hardware.device
    on_gpu, first = device.type == "cuda", device.index or 0
    return Trainer(
        accelerator="gpu" if on_gpu else device.type,
        devices=[first + i for i in range(spec.devices)] if on_gpu else spec.devices,
        strategy="ddp_find_unused_parameters_true" if spec.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision=LIGHTNING_PRECISION[run.hardware.precision],
        max_epochs=spec.epochs,
        accumulate_grad_batches=spec.optimizer.accumulate,
        gradient_clip_val=spec.optimizer.clip,
        callbacks=[run.recorder, ExampleImages()],
        logger=TensorBoardLogger(run.folder.path, name="", version=run.folder.events.name),
        log_every_n_steps=10,
        default_root_dir=run.folder.path,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if spec.data.split.validates else 0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def _training_errors(spec: TrainSpec) -> Iterator[None]:
    """Convert errors that only show in the first step into a SpecError."""
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
        raise SpecError(_too_few(spec)) from None
    except AssertionError as error:
        if "match model" not in str(error):
            raise
        raise SpecError(
            f"this encoder does not take windows of {spec.window} px: {one_line(error)}: set window, tile and "
            "network.arguments to one size"
        ) from None


def _too_few(spec: TrainSpec) -> str:
    """The error text for batches of too few windows."""
    few, remedy = spec.batch_size, "raise batch_size"
    if UNLABELLED in METHODS.get(spec.method.name).needs and spec.unlabelled_batch < few:
        few, remedy = spec.unlabelled_batch, "raise data.unlabelled_share, or batch_size"
    windows = number_of(few // spec.devices, "window")
    return f"this network normalises over a batch, and cannot learn from {windows} at once: {remedy}"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C: Lightning exits instead, and leaves SIGINT ignored."""
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
