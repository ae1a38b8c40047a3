"""Progress events of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from geoseg.core.events import Progress, Reporter
from geoseg.metrics.scores import Scores


@dataclass(frozen=True)
class TrainProgress(Progress):
    """Progress of a training run.

    The stage `reading` counts pixels of the labelled images, `training` steps, `scoring` batches; `scored` ends an
    epoch.
    """

    epoch: int = 0
    """Epoch under way or just scored, counted from 1."""
    epochs: int = 0
    """Epochs in all."""
    loss: float = math.nan
    """Mean loss of this epoch so far."""
    val_loss: float | None = None
    """Mean loss on the validation rasters, once an epoch is scored; None between."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Means of the figures of the training method, once an epoch is scored: parts of the loss, shares of pixels."""
    scores: Scores | None = None
    """Scores on the validation rasters, once an epoch is scored; None between."""
    best_miou: float = 0.0
    """Best mIoU so far."""
    seconds: float = 0.0
    """Wall time so far, over all parts of a resumed run."""


class OutsideEpochs(Reporter):
    """Passes events before the first epoch and after the last one on: each notice once, progress as `TrainProgress`."""

    def __init__(self, to: Reporter, epochs: int):
        self._to, self._epochs = to, epochs
        self._given: set[str] = set()

    def notice(self, line: str) -> None:
        """Pass a notice on, unless it was given before: what holds for the whole config comes with each side."""
        if line not in self._given:
            self._given.add(line)
            self._to.notice(line)

    def progress(self, progress: Progress) -> None:
        """Pass the progress of a stage on."""
        self._to.progress(TrainProgress(progress.stage, progress.done, progress.total, epochs=self._epochs))
