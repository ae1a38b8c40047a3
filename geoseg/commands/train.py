"""`geoseg train`: from labelled images to a bundle.

In: a TrainSpec (or the path of a config). Out: a folder with the bundle of the best epoch, the resolved config, the
scores of every epoch, TensorBoard events and a report. Prints nothing: progress and notices go to a reporter.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from geoseg.commands.train_folds import train_folds
from geoseg.commands.train_run import Start, train_run
from geoseg.commands.train_seeds import train_seeds
from geoseg.core.events import SILENT, Reporter
from geoseg.spec.settings import TrainSettings
from geoseg.training.run.progress import TrainProgress
from geoseg.training.run.result import TrainResult
from geoseg.training.run.settings import Config, resolve_settings
from geoseg.training.run.trainer import is_main_process

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

    With `data.split.folds` a model is trained for each fold, in a folder of its own, and one on all labels, whose
    bundle gets the scores of all folds together. With `seeds` above 1 a model is trained for each seed, likewise, and
    that of the first is kept.

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
    start = Start(overwrite=overwrite, resume=resume)
    if spec.seeds > 1:
        return train_seeds(spec, Path(output), start, reporter)
    trained = train_folds if spec.data.split.has_several_folds else train_run
    return trained(spec, Path(output), start, reporter)
