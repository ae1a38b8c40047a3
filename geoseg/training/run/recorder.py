"""What a training run writes: the bundle of its best epoch, the scores of all epochs, checkpoints.

In: a learner after each epoch. Out: files in the run's folder, and progress. All files are complete at any time, so
that a run may be killed at any time.
"""

from __future__ import annotations

import csv
import math
import os
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from geoseg.core.errors import OutputError, SpecError
from geoseg.core.events import Reporter
from geoseg.core.files import draft_of, one_line, sync, sync_names
from geoseg.metrics.scores import Scores
from geoseg.models.bundle import save_model
from geoseg.spec import ModelSpec
from geoseg.training.learner import Learner
from geoseg.training.run.card import KeptScores, card_with, epoch_rule
from geoseg.training.run.progress import TrainProgress
from geoseg.training.run.run_folder import RunFolder

UNFINISHED = "; the run is not finished, and the scores are those that training has counted"
"""What the card of an unfinished run adds to the rule of the epoch."""
LOSS_EVERY_S = 0.2
"""Least time between two readings of the mean loss, in seconds."""


class RunRecorder(Callback):
    """Writes metrics and a checkpoint after every epoch, and the bundle whenever the mIoU is the best so far."""

    def __init__(
        self, model: ModelSpec, folder: RunFolder, provenance: dict[str, Any], fingerprint: str, reporter: Reporter
    ):
        self.model = model
        self.fingerprint = fingerprint
        self.folder = folder
        self.provenance = provenance
        self.reporter = reporter
        self.best: Scores | None = None
        self.best_epoch = 0
        self.history: list[dict[str, Any]] = []
        self._started = time.monotonic()
        self._loss_seen, self._loss_asked = math.nan, -math.inf
        self._scores: Scores | None = None

    @property
    def state_key(self) -> str:
        """Key of its state in checkpoints."""
        return "Record"

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Wall time since the start, without the time between being killed and resumed."""
        return time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        """The state of a run that is to be resumed."""
        best = self.best.as_dict() if self.best else None
        return {
            "best": best,
            "best_epoch": self.best_epoch,
            "history": self.history,
            "seconds": self.seconds,
            "fingerprint": self.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a run.

        Raises:
            SpecError: if images, labels or what else the run learns from have changed since.
        """
        if state["fingerprint"] != self.fingerprint:
            raise SpecError(
                f"images or labels have changed since the run in {self.folder.path} began, or models that it learns "
                "from: start it anew with --overwrite"
            )
        self.best = Scores.from_dict(state["best"]) if state["best"] else None
        self.best_epoch, self.history = state["best_epoch"], state["history"]
        self._started = time.monotonic() - state["seconds"]

    def on_train_batch_end(self, trainer: Trainer, learner: LightningModule, *args: Any) -> None:
        """Report progress."""
        self._report(trainer, learner, "training", trainer.global_step)

    def on_validation_start(self, trainer: Trainer, learner: LightningModule) -> None:
        """Stop a run whose loss is not finite, before its network is saved."""
        assert isinstance(learner, Learner)
        self._check_loss(trainer, learner)

    def _check_loss(self, trainer: Trainer, learner: Learner) -> None:
        """Refuse a loss that is not finite.

        Raises:
            SpecError: naming the settings to change.
        """
        if not math.isfinite(float(learner.epoch_loss.compute())):
            raise SpecError(
                f"the loss became infinite or no number in epoch {trainer.current_epoch + 1}: lower "
                "optimizer.learning_rate, lengthen schedule.warmup, or take precision fp32"
            )

    def on_validation_batch_end(self, trainer: Trainer, learner: LightningModule, *args: Any) -> None:
        """Report progress."""
        self._report(trainer, learner, "scoring", args[2] + 1, int(trainer.num_val_batches[0]))

    def on_validation_end(self, trainer: Trainer, learner: LightningModule) -> None:
        """Score the epoch; save its network if it is the best."""
        assert isinstance(learner, Learner)
        self._record(trainer, learner)

    def _record(self, trainer: Trainer, learner: Learner) -> None:
        """Record an epoch; save its network if it is the best, of several equal ones the last."""
        scores = learner.take_scores()
        line = self._line(trainer, learner, scores)
        self.history = [*self.history[: trainer.current_epoch], line]
        is_best = self.best is None or scores.miou >= self.best.miou or learner.spec.keeps_last
        if is_best:
            self.best, self.best_epoch = scores, trainer.current_epoch + 1
        if trainer.is_global_zero:
            if is_best:
                self._save_bundle(learner, scores)
            self.write_metrics()
            for logger in trainer.loggers:
                logger.log_metrics(_for_logger(line), trainer.current_epoch + 1)
        self._scores = scores

    def on_train_epoch_end(self, trainer: Trainer, learner: LightningModule) -> None:
        """Record an epoch that is not scored; save a checkpoint with all that the next epoch depends on, and only then
        report the epoch, which from here on is not lost."""
        assert isinstance(learner, Learner)
        if not learner.spec.data.split.validates:
            self._check_loss(trainer, learner)
            self._record(trainer, learner)
        self._save_checkpoint(trainer)
        self._report(trainer, learner, "scored", trainer.global_step, scores=self._scores)

    def _save_checkpoint(self, trainer: Trainer) -> None:
        path = self.folder.last_checkpoint
        partial = path.with_name(f".geoseg-{path.name}")
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                sync(partial)
                if path.exists():
                    os.replace(path, self.folder.previous_checkpoint)
                os.replace(partial, path)
                sync_names(self.folder.path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise OutputError(f"cannot write {path}: {one_line(error)}: check the free space") from None

    def _save_bundle(self, learner: Learner, scores: Scores) -> None:
        training = self.provenance | {"best_epoch": self.best_epoch, "seconds": round(self.seconds)}
        rule = epoch_rule(learner.spec.data.split, self.best_epoch, self.epochs, learner.spec.swa_epochs) + UNFINISHED
        card = card_with(self.model.card, KeptScores(scores), rule, training)
        save_model(
            learner.averaged_network, self.model.model_copy(update={"card": card}), self.folder.bundle, half=True
        )

    def _line(self, trainer: Trainer, learner: Learner, scores: Scores) -> dict[str, Any]:
        val_loss = float(learner.val_loss.compute()) if learner.val_loss.update_called else math.nan
        return {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(self.seconds, 1),
            "learning_rate": float(f"{_learning_rate(trainer):.3g}"),
            "loss": round(float(learner.epoch_loss.compute()), 4),
            "val_loss": None if math.isnan(val_loss) else round(val_loss, 4),
            **learner.take_figures(),
        } | scores.epoch_columns()

    def write_metrics(self) -> None:
        """Write the scores of all epochs.

        Raises:
            OutputError: if they cannot be written.
        """
        with draft_of(self.folder.metrics) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, dict.fromkeys(name for line in self.history for name in line))
            table.writeheader()
            table.writerows(self.history)

    def _figures(self, learner: Learner) -> dict[str, float]:
        """Figures of the last epoch that have a value."""
        line = self.history[-1]
        return {name: line[name] for name in learner.method.shown if line[name] is not None}

    def _loss(self, trainer: Trainer, learner: Learner, *, is_final: bool) -> float:
        """Mean loss of the epoch; during the epoch up to `LOSS_EVERY_S` old, as reading it waits for the device."""
        if not is_final and trainer.world_size > 1:  # asking would wait for the other processes
            return math.nan
        if is_final or time.monotonic() - self._loss_asked > LOSS_EVERY_S:
            self._loss_seen, self._loss_asked = float(learner.epoch_loss.compute()), time.monotonic()
        return self._loss_seen

    def _report(
        self,
        trainer: Trainer,
        learner: LightningModule,
        stage: str,
        done: int,
        total: int | None = None,
        scores: Scores | None = None,
    ) -> None:
        assert isinstance(learner, Learner)
        self.reporter.progress(
            TrainProgress(
                stage=stage,
                done=done,
                total=learner.inputs.steps if total is None else total,
                epoch=trainer.current_epoch + 1,
                epochs=learner.spec.epochs,
                loss=self._loss(trainer, learner, is_final=scores is not None),
                val_loss=None if scores is None else self.history[-1]["val_loss"],
                figures={} if scores is None else self._figures(learner),
                scores=scores,
                best_miou=self.best.miou if self.best else 0.0,
                seconds=self.seconds,
            )
        )


def _learning_rate(trainer: Trainer) -> float:
    return max(float(group["lr"]) for group in trainer.optimizers[0].param_groups)


def _for_logger(line: dict[str, Any]) -> dict[str, float]:
    return {f"epoch/{key}": float(value) for key, value in line.items() if value is not None and key != "epoch"}
