"""What a training run leaves behind: the bundle of its best epoch and a line of metrics per epoch.

In: a learner whose validation tiles were just counted. Out: files in the run's folder, and calls of its progress.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from geoseg.metrics import Scores
from geoseg.models import save_model
from geoseg.pipelines.learning import Learner
from geoseg.spec import ModelSpec


@dataclass(frozen=True)
class TrainProgress:
    """How far a training run is."""

    epoch: int
    """Epoch under way or just scored, counted from 1."""
    epochs: int
    """Epochs in all."""
    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    loss: float
    """Mean loss of this epoch so far."""
    scores: Scores | None
    """Scores on the validation tiles, once an epoch is scored; None between."""
    best_miou: float
    """Best mIoU so far."""
    seconds: float
    """Wall time so far."""


Progress = Callable[[TrainProgress], None]
"""Called after every step and every scoring."""


class KeepBest(Callback):
    """Writes the bundle whenever the mIoU is the best so far, a line of metrics per epoch, and tells the progress."""

    def __init__(self, model: ModelSpec, folder: Path, provenance: dict[str, Any], progress: Progress):
        self.model = model
        self.folder = folder
        self.provenance = provenance
        self.progress = progress
        self.best: Scores | None = None
        self.best_epoch = 0
        self.epochs = 0
        self.started = time.monotonic()

    @property
    def bundle(self) -> Path:
        """Where the bundle goes."""
        return self.folder / f"{self.model.name}.safetensors"

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.started

    def on_train_batch_end(self, trainer: Trainer, learner: LightningModule, *args: Any) -> None:
        """Tell how far the run is."""
        self._tell(trainer, learner, None)

    def on_validation_end(self, trainer: Trainer, learner: LightningModule) -> None:
        """Score the epoch; keep its network if it is the best."""
        assert isinstance(learner, Learner)
        scores = learner.take_scores()
        self.epochs = trainer.current_epoch + 1
        if self.best is None or scores.miou > self.best.miou:
            self.best, self.best_epoch = scores, self.epochs
            self._save(learner, scores)
        self._write_metrics(trainer, learner, scores)
        self._tell(trainer, learner, scores)

    def _save(self, learner: Learner, scores: Scores) -> None:
        training = self.provenance | {"best_epoch": self.best_epoch, "seconds": round(self.seconds)}
        card = self.model.card.model_copy(update={"scores": scores.as_dict(), "training": training})
        save_model(learner.kept, self.model.model_copy(update={"card": card}), self.bundle, half=True)

    def _write_metrics(self, trainer: Trainer, learner: Learner, scores: Scores) -> None:
        line = {
            "epoch": self.epochs,
            "step": trainer.global_step,
            "seconds": round(self.seconds, 1),
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3g}",
            "loss": round(learner.mean_loss(), 4),
            "miou": round(scores.miou, 4),
            "pixel_accuracy": round(scores.pixel_accuracy, 4),
        } | {f"iou {name}": value for name, value in scores.iou.items()}
        with (self.folder / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, line)
            if self.epochs == 1:
                table.writeheader()
            table.writerow(line)

    def _tell(self, trainer: Trainer, learner: LightningModule, scores: Scores | None) -> None:
        assert isinstance(learner, Learner)
        self.progress(
            TrainProgress(
                epoch=trainer.current_epoch + 1,
                epochs=learner.spec.epochs,
                step=trainer.global_step,
                steps=learner.steps,
                loss=learner.mean_loss(),
                scores=scores,
                best_miou=self.best.miou if self.best else 0.0,
                seconds=self.seconds,
            )
        )
