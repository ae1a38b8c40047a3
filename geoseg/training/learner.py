"""What happens in one step of training and of scoring; the loop around it is Lightning's.

In: batches of read windows, batches of scored windows. Out: a network and its running mean. Knows neither files nor
terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torchmetrics import MeanMetric

from geoseg.losses.combined import SegmentationLoss
from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.scores import Scores
from geoseg.models.auxiliary import AuxiliaryHead
from geoseg.models.context import ContextSegmenter, Views
from geoseg.models.refine import RefiningSegmenter
from geoseg.models.runner import Runner
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.encoder import encoder_of
from geoseg.spec import ModelSpec, TrainSpec
from geoseg.training.augment import Augment
from geoseg.training.loader import Loader
from geoseg.training.optimization import ema_update, learning_rate_curve, make_optimizer
from geoseg.training.refine_learner import RefineLessons
from geoseg.training.scored_windows import ScoredBatch, stack_uncounted
from geoseg.training.scoring import tell_scored
from geoseg.training.view_windows import ContextBatch
from geoseg.training.windows import TrainBatch, TrainingWindows


@dataclass(frozen=True)
class Lesson:
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
    """Labelled pixels per class of the ground to learn from."""
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

    def __init__(self, network: SegmentationNetwork, lesson: Lesson):
        super().__init__()
        spec = lesson.spec
        self.lesson, self.spec = lesson, spec
        self.network = network.to(memory_format=torch.channels_last)
        self._encoder = (encoder_of(network),) if spec.frozen_epochs else ()  # in a tuple it is no further child
        self._still = _still_modules(network)
        for module in self._still:
            module.requires_grad_(False)
        self.averaged = AveragedModel(self.network, multi_avg_fn=ema_update(spec.ema), use_buffers=True)
        self.averaged.requires_grad_(False)
        self.loss = SegmentationLoss(spec.loss, lesson.class_counts)
        self._refine = None
        if isinstance(network, RefiningSegmenter):
            self._refine = RefineLessons(network, self.loss, lesson.class_counts)
        self.auxiliary = AuxiliaryHead(self.network, len(spec.classes)) if spec.loss.auxiliary else None
        self.counter = ScoreCounter(len(spec.classes), spec.boundary_px)
        self.epoch_loss = MeanMetric(nan_strategy="disable")  # a loss that is no number must be seen
        self._averaged_step = 0

    @property
    def kept(self) -> nn.Module:
        """The network that is scored and saved."""
        kept: nn.Module = self.averaged.module
        return kept

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder stays as it is in this epoch."""
        return self.current_epoch < self.spec.frozen_epochs

    def train_dataloader(self) -> Loader:
        """This process's share of the training windows."""
        return self.lesson.train.split(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Loader:
        """This process's share of the scored windows."""
        return self.lesson.val.deal(self.trainer.global_rank, self.trainer.world_size, idle=stack_uncounted)

    def on_train_epoch_start(self) -> None:
        """Draw other windows in each epoch, and let nothing depend on what was drawn before it."""
        windows: TrainingWindows = self.lesson.train.items
        windows.epoch = self.current_epoch
        torch.manual_seed(_seed(self.spec.seed, self.current_epoch, self.global_rank))
        self.epoch_loss.reset()
        self._averaged_step = self.global_step
        for encoder in self._encoder:
            encoder.train(not self.is_frozen)
        for module in (*self._still, self.averaged):
            module.eval()

    def training_step(self, batch: TrainBatch | ContextBatch, index: int) -> Tensor:
        """Loss of a batch of read windows, with the ground around them if the network sees it."""
        if not isinstance(batch, ContextBatch):
            loss = self._loss_alone(batch, index)
        elif self._refine is not None:
            loss = self._loss_of_refinement(batch, index, self._refine)
        else:
            loss = self._loss_in_context(batch, index)
        self.epoch_loss.update(loss.detach())
        self.log("loss/step", loss.detach())
        return loss

    def _loss_alone(self, batch: TrainBatch, index: int) -> Tensor:
        """Loss of windows (B, C, R, R) and labels (B, R, R), once they are varied."""
        with torch.autocast(self.device.type, enabled=False):  # colours keep their precision
            image, labels = self.lesson.augment(*batch, self.spec.window, self._generator(index))
        return self._loss(self.network(image.contiguous(memory_format=torch.channels_last)), labels)

    def _loss_in_context(self, batch: ContextBatch, index: int) -> Tensor:
        """The same for windows with the ground around them, and of what the levels tell on their own."""
        network = self.network
        assert isinstance(network, ContextSegmenter)
        image, labels, views = self._varied(batch, self._generator(index))
        context, told = network.study(views)
        losses = [self._level_loss(*pair) for pair in zip(told, batch.view_labels, strict=True)]
        logits = network(image.contiguous(memory_format=torch.channels_last), context)
        return self._loss(logits, labels) + network.context.spec.auxiliary * torch.stack(losses).mean()

    def _loss_of_refinement(self, batch: ContextBatch, index: int, lessons: RefineLessons) -> Tensor:
        """The same for windows and views that are all told alike, and of what is refined."""
        generator = self._generator(index)
        image, labels, views = self._varied(batch, generator)
        assert isinstance(self.kept, RefiningSegmenter)
        return lessons.loss(image, views, [labels, *(ids.long() for ids in batch.view_labels)], self.kept, generator)

    def _varied(self, batch: ContextBatch, generator: torch.Generator) -> tuple[Tensor, Tensor, Views]:
        with torch.autocast(self.device.type, enabled=False):
            image, labels, views = self.lesson.augment.with_views(
                batch.image, batch.labels, batch.matrices, batch.views.images, self.spec.window, generator
            )
        return image, labels, Views(views, batch.views.boxes)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.loss(logits, labels)
        if self.auxiliary is not None:
            loss = loss + self.spec.loss.auxiliary * self.loss(self.auxiliary.logits(labels.shape[-2:]), labels)
        return loss

    def _level_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        size = tuple(labels.shape[-2:])
        loss: Tensor = self.loss(functional.interpolate(logits, size=size, mode="bilinear"), labels.long())
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Take a frozen encoder's gradients away, so that it neither moves nor decays."""
        for encoder in self._encoder if self.is_frozen else ():
            for parameter in encoder.parameters():
                parameter.grad = None

    def on_train_batch_end(self, *args: Any) -> None:
        """Move the running mean after each step of the optimizer."""
        if self.global_step != self._averaged_step:
            self.averaged.update_parameters(self.network)
            self._averaged_step = self.global_step

    def on_validation_epoch_start(self) -> None:
        """Let coarser views of the scored ground tell their classes."""
        if self._refine is not None:
            lesson = self.lesson
            runner = Runner(self.kept, str(self.device), lesson.precision)
            tell_scored(lesson.val.items, runner, lesson.model, self.spec.batch_px, lesson.folder)

    def validation_step(self, batch: ScoredBatch, index: int) -> None:
        """Count the pixels of scored windows."""
        image = batch.image.contiguous(memory_format=torch.channels_last)
        context = batch.context
        if isinstance(context, Views):
            assert isinstance(self.kept, ContextSegmenter)
            context = self.kept.see(context)
        self.counter.update(self.kept(image, context).argmax(dim=1), batch.labels, batch.counted)

    def take_scores(self) -> Scores:
        """Scores of the windows counted since the last call, by all processes."""
        scores = self.counter.scores([c.name for c in self.spec.classes])
        self.counter.reset()
        return scores

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimizer, and the schedule that moves its rate at each step."""
        modules = [self.network] if self.auxiliary is None else [self.network, self.auxiliary]
        optimizer = make_optimizer(modules, self.spec.optimizer)
        schedule = LambdaLR(optimizer, learning_rate_curve(self.spec.schedule, self.lesson.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _generator(self, index: int) -> torch.Generator:
        # Seeded by the batch, so that what becomes of its windows does not depend on what was drawn before.
        seed = _seed(self.spec.seed, self.current_epoch, self.global_rank, index)
        return torch.Generator(self.device).manual_seed(seed)


def _still_modules(network: SegmentationNetwork) -> tuple[nn.Module, ...]:
    """What of a network stays as it is in the whole run: the local part, if only the rest is to learn."""
    is_still = (isinstance(network, ContextSegmenter) and network.context.spec.freeze_local) or (
        isinstance(network, RefiningSegmenter) and network.refine.spec.freeze_local
    )
    return (network.normalize, network.body) if is_still else ()


def _seed(*numbers: int) -> int:
    """One seed for several numbers; near ones give unrelated seeds."""
    state = 0
    for number in numbers:
        state = (state * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return state ^ (state >> 31)
