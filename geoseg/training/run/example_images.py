"""A few validation windows in TensorBoard: image, label and prediction after every epoch.

In: a learner after each epoch, and TensorBoard's logger. Out: images among its events, of the same windows each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from geoseg.models.runner import Runner
from geoseg.outputs.report.pictures import side_by_side
from geoseg.training.learner import Learner
from geoseg.training.scoring.examples import show_window, varied_windows
from geoseg.training.scoring.scored_windows import ScoredWindows

SHOWN = 3
"""Number of windows."""
SIDE = 256
"""Largest side of a picture in pixels: events hold one for each window and epoch."""


class ExampleImages(Callback):
    """Adds pictures of validation windows to TensorBoard's events."""

    def __init__(self) -> None:
        self._chosen: list[int] = []

    def on_validation_end(self, trainer: Trainer, learner: LightningModule) -> None:
        """Classify the windows with the network that is scored, and show them beside their labels."""
        assert isinstance(learner, Learner)
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not trainer.is_global_zero or not boards:
            return
        self._chosen = self._chosen or varied_windows(learner.inputs.val.items, SHOWN)
        for logger in boards:
            _show(learner, self._chosen, logger, trainer.current_epoch + 1)


def _show(learner: Learner, chosen: Sequence[int], logger: TensorBoardLogger, epoch: int) -> None:
    windows: ScoredWindows = learner.inputs.val.items
    runner = Runner(learner.averaged_network, str(learner.device), learner.inputs.precision)
    predict = partial(windows.view.classify, runner)
    for number, index in enumerate(chosen, 1):
        example = show_window(predict, windows, index, learner.inputs.model.bands)
        picture = side_by_side(example, learner.spec.classes, SIDE)
        logger.experiment.add_image(f"image, label, prediction/{number}", picture, epoch, dataformats="HWC")
