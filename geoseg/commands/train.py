"""`geoseg train`: from labelled images to a bundle.

In: a TrainSpec (or the path of a config). Out: a folder with the bundle of the best epoch, the resolved config, the
scores of every epoch, TensorBoard events and a report. Prints nothing: progress and notices go to a reporter.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

import torch

from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import write_errors
from geoseg.core.quiet import quiet
from geoseg.losses.combined import make_losses
from geoseg.raster.gdal import TRAINING_CACHE_MB, gdal_settings
from geoseg.spec.settings import TrainSettings
from geoseg.training.data.training_data import read_training_data
from geoseg.training.methods.method import check_method
from geoseg.training.run.build import build_run
from geoseg.training.run.progress import BeforeTraining, TrainProgress
from geoseg.training.run.result import TrainResult, make_result, write_run_report
from geoseg.training.run.run_folder import RunFolder
from geoseg.training.run.settings import Config, choose_hardware, resolve_settings
from geoseg.training.run.trainer import fit, is_main_process

__all__ = ["TrainProgress", "TrainResult", "is_main_process", "train"]


def train(
    config: Config,
    output: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[TrainSettings],
) -> TrainResult:
    """Train a model and write the bundle of its best epoch.

    With `devices` above 1 the running script is started once more for each further process (DDP), so it must do nothing
    else when it is run.

    Args:
        config: a YAML file, or settings already read.
        output: folder that gets NAME.safetensors, config.yaml, metrics.csv, report.html and tensorboard/.
        data: CSV of labelled rasters, instead of the config's data.
        overwrite: replace the results of an earlier run.
        resume: go on with the run in `output` where it was interrupted, however that happened; the result is the one it
            would have had. Starts from the beginning if there is none.
        reporter: gets notices, and a `TrainProgress` for every window that is read, every step and every epoch.
        settings: fields of TrainSpec, over what the config says, e.g. epochs=10.

    Raises:
        SpecError: if a setting is invalid, or the run to be resumed had others.
        LabelError: if the labels cannot be used.
        SceneError: if an image cannot be read.
        ModelError: if the network cannot be built, or its first weights cannot be loaded.
        OutputError: if results exist already or cannot be written.
    """
    spec = resolve_settings(config, data, settings)
    hardware, folder, log = choose_hardware(spec), RunFolder(Path(output), spec.name), NoticeLog(reporter)
    check_method(spec)  # a wrong parameter is refused before any image is read
    make_losses(spec.loss)
    if is_main_process():
        folder.check(spec, overwrite=overwrite, resume=resume)
    with gdal_settings(TRAINING_CACHE_MB), torch.random.fork_rng(), quiet("lightning.pytorch", "lightning.fabric"):
        read = read_training_data(spec, store=folder.class_statistics, reporter=BeforeTraining(log, spec.epochs))
        torch.manual_seed(spec.seed)
        run = build_run(spec, read, folder, hardware, log)
        checkpoint = folder.checkpoint(log) if resume else None
        if is_main_process():
            folder.clear_leftovers()
            if checkpoint is None:
                folder.start(spec)
        is_first = fit(run, checkpoint)
        result = make_result(run, tuple(log.lines))
        if is_first:
            with write_errors(folder.path):
                run.recorder.write_metrics()
                write_run_report(run, result)
                folder.clear_checkpoints()
    return result
