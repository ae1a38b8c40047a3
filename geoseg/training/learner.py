"""What happens in one step of training and of scoring; the loop around it is Lightning's.

In: batches of read windows, batches of scored windows. Out: a network and its running mean. What a step minimises, the
training method knows. Knows neither files nor terminals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torchmetrics import MeanMetric

from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.scores import Scores
from geoseg.models.runner import Runner
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.encoder import encoder_of
from geoseg.spec import ModelSpec, TrainSpec
from geoseg.training.loader import Loader
from geoseg.training.methods.method import Batch, Setup, make_method
from geoseg.training.optimization import ema_update, learning_rate_curve, make_optimizer
from geoseg.training.scoring.scored_batch import ScoredBatch, stack_uncounted
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import TrainingWindows

FORMER_NAMES = {"auxiliary.": "method.criterion.heads.0."}
"""How the names of weights begin in checkpoints of geoseg 0.1, and how they begin here."""


@dataclass(frozen=True)
class LearnerInputs:
    """What a learner is given."""

    spec: TrainSpec
    """How it learns."""
    model: ModelSpec
    """What it learns to be."""
    folder: Path
    """Gets scratch files."""
    precision: str
    """Arithmetic."""
    class_counts: tuple[int, ...]
    """Labelled pixels per class to learn from."""
    augment: Augment
    """How windows are varied."""
    train: Loader
    """Training windows, batch by batch."""
    val: Loader
    """Scored windows, batch by batch."""

    @property
    def steps(self) -> int:
        """Steps of the optimizer in the whole run."""
        return self.spec.epochs * -(-len(self.train) // self.spec.optimizer.accumulate)


class Learner(LightningModule):
    """A network that learns, and the running mean of its weights and buffers, which is scored and kept."""

    def __init__(self, network: SegmentationNetwork, inputs: LearnerInputs):
        super().__init__()
        spec = inputs.spec
        self.inputs, self.spec = inputs, spec
        self.network = network.to(memory_format=torch.channels_last)
        self._encoder = (encoder_of(network),) if spec.frozen_epochs else ()  # in a tuple it is no further child
        for module in network.frozen_parts:
            module.requires_grad_(False)
        self.averaged = AveragedModel(self.network, multi_avg_fn=ema_update(spec.ema), use_buffers=True)
        self.averaged.requires_grad_(False)
        self.method = make_method(Setup(network, self.kept, spec, inputs.class_counts, inputs.augment))
        self.counter = ScoreCounter(len(spec.classes), spec.boundary_px)
        self.epoch_loss = MeanMetric(nan_strategy="disable")  # a loss that is no number must be seen
        self._averaged_step = 0

    @property
    def kept(self) -> SegmentationNetwork:
        """The network that is scored and saved."""
        return cast(SegmentationNetwork, self.averaged.module)

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder stays as it is in this epoch."""
        return self.current_epoch < self.spec.frozen_epochs

    def train_dataloader(self) -> Loader:
        """This process's part of the training windows."""
        return self.inputs.train.split(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Loader:
        """This process's part of the scored windows."""
        return self.inputs.val.deal(self.trainer.global_rank, self.trainer.world_size, idle=stack_uncounted)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Find weights that a checkpoint has under a former name."""
        weights = checkpoint["state_dict"]
        for name in list(weights):
            for former, here in FORMER_NAMES.items():
                if name.startswith(former):
                    weights[here + name.removeprefix(former)] = weights.pop(name)

    def on_train_epoch_start(self) -> None:
        """Draw other windows in each epoch, and let nothing depend on what was drawn before it."""
        windows: TrainingWindows = self.inputs.train.items
        windows.epoch = self.current_epoch
        torch.manual_seed(_seed(self.spec.seed, self.current_epoch, self.global_rank))
        self.epoch_loss.reset()
        self._averaged_step = self.global_step
        for encoder in self._encoder:
            encoder.train(not self.is_frozen)
        for module in (*self.network.frozen_parts, self.averaged):
            module.eval()

    def training_step(self, batches: Mapping[str, Batch], index: int) -> Tensor:
        """Loss of read windows."""
        loss = self.method.loss(batches, self._generator(index))
        self.epoch_loss.update(loss.value.detach())
        for name, value in {"loss": loss.value, **loss.figures}.items():
            self.log(f"{name}/step", value.detach())
        return loss.value

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Take a frozen encoder's gradients away, so that it neither moves nor decays."""
        for encoder in self._encoder if self.is_frozen else ():
            for parameter in encoder.parameters():
                parameter.grad = None

    def on_train_batch_end(self, *args: Any) -> None:
        """Move the running mean, and what else follows the weights, after each step of the optimizer."""
        if self.global_step != self._averaged_step:
            self.averaged.update_parameters(self.network)
            self.method.after_step()
            self._averaged_step = self.global_step

    def on_validation_epoch_start(self) -> None:
        """Let the network see whole rasters first, if that is how it sees what lies around windows."""
        windows: ScoredWindows = self.inputs.val.items
        windows.view.prepare(lambda: Runner(self.kept, str(self.device), self.inputs.precision), self.spec.batch_px)

    def validation_step(self, batch: ScoredBatch, index: int) -> None:
        """Count the pixels of scored windows."""
        image = batch.image.contiguous(memory_format=torch.channels_last)
        logits = self.kept(image, self.kept.see(batch.views))
        self.counter.update(logits.argmax(dim=1), batch.labels, batch.counted)

    def take_scores(self) -> Scores:
        """Scores of the windows counted since the last call, by all processes."""
        scores = self.counter.scores([c.name for c in self.spec.classes])
        self.counter.reset()
        return scores

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimizer, and the schedule that moves its rate at each step."""
        optimizer = make_optimizer([self.network, self.method], self.spec.optimizer)
        schedule = LambdaLR(optimizer, learning_rate_curve(self.spec.schedule, self.inputs.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _generator(self, index: int) -> torch.Generator:
        # Seeded by the batch, so that what becomes of its windows does not depend on what was drawn before.
        seed = _seed(self.spec.seed, self.current_epoch, self.global_rank, index)
        return torch.Generator(self.device).manual_seed(seed)


def _seed(*numbers: int) -> int:
    """One seed for several numbers; near ones give unrelated seeds."""
    state = 0
    for number in numbers:
        state = (state * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return state ^ (state >> 31)
