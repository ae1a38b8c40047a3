"""One training run, from resolved settings to its folder. Prints nothing: progress and notices go to a reporter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from geoseg.core.events import NoticeLog, Reporter
from geoseg.core.files import write_errors
from geoseg.core.quiet import quiet
from geoseg.losses.combined import make_losses
from geoseg.models.families.building import check_context, check_network
from geoseg.raster.gdal import TRAINING_CACHE_MB, gdal_settings
from geoseg.spec import TrainSpec
from geoseg.training.data.training_data import read_training_data
from geoseg.training.methods.method import check_method
from geoseg.training.run.build import build_run
from geoseg.training.run.kept_model import score_kept, scored_in_training
from geoseg.training.run.progress import OutsideEpochs
from geoseg.training.run.result import TrainResult, make_result, write_run_report, write_scores
from geoseg.training.run.run_folder import RunFolder
from geoseg.training.run.settings import begun_with, choose_hardware
from geoseg.training.run.trainer import fit, is_main_process


@dataclass(frozen=True)
class Start:
    """What becomes of an earlier run in the folder."""

    overwrite: bool = False
    """Replace its results."""
    resume: bool = False
    """Go on where it was interrupted."""


def train_run(spec: TrainSpec, output: Path, start: Start, reporter: Reporter) -> TrainResult:
    """Train one model and write its folder.

    Raises:
        GeosegError: as `train`.
    """
    hardware, folder, log = choose_hardware(spec), RunFolder(output, spec.name), NoticeLog(reporter)
    for network in (spec.network, *([spec.context.network] if spec.context else ())):
        check_network(network)  # a wrong encoder or parameter is refused before any image is read
        if spec.context is not None:
            check_context(network)
    check_method(spec)
    make_losses(spec.loss)
    if is_main_process():
        folder.check(spec, overwrite=start.overwrite, resume=start.resume)
    with gdal_settings(TRAINING_CACHE_MB), torch.random.fork_rng(), quiet("lightning.pytorch", "lightning.fabric"):
        outside = OutsideEpochs(log, spec.epochs)
        read = read_training_data(spec, store=folder.class_statistics, reporter=outside)
        torch.manual_seed(spec.seed)
        checkpoint = folder.checkpoint(log) if start.resume else None
        if checkpoint is not None:
            hardware = begun_with(folder.bundle, hardware, log)
        run = build_run(spec, read, folder, hardware, log)
        if is_main_process():
            folder.clear_leftovers()
            if checkpoint is None:
                folder.start(spec)
        is_first = fit(run, checkpoint, outside)
        for line in run.learner.method.notices_after(run.recorder.history):
            log.notice(line)
        kept = score_kept(run, outside) if is_first else scored_in_training(run)
        result = make_result(run, kept, tuple(log.lines))
        if is_first:
            with write_errors(folder.path):
                run.recorder.write_metrics()
                write_scores(result, folder.scores)
                write_run_report(run, result)
                folder.clear_scratch()
    return result
