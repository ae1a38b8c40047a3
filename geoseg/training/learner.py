"""One step of training and of validation, as a LightningModule; the loop is Lightning's.

In: batches of training windows and of scored windows. Out: a network, and the running mean of its weights. The loss of
a step is that of the training method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torchmetrics import MeanMetric

from geoseg.data.labels.class_sets import ClassSets
from geoseg.losses.combined import SegmentationLoss
from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.scores import Scores
from geoseg.models.runner import Runner
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.encoder import encoder_of
from geoseg.spec import IGNORE, ModelSpec, TrainSpec
from geoseg.training.loader import Loader
from geoseg.training.methods.method import Setup, TrainingBatch, make_method
from geoseg.training.mix_style import MixStyle
from geoseg.training.optimization import (
    clip_gradients,
    ema_update,
    learning_rate_curve,
    make_optimizer,
    mean_update,
)
from geoseg.training.scoring.scored_batch import ScoredBatch, stack_uncounted
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.seeds import joint_seed
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.joint_windows import JointWindows

FORMER_NAMES = {"auxiliary.": "method.criterion.heads.0."}
"""Prefixes of weight names in checkpoints of geoseg 0.1, and the prefixes that replace them."""


@dataclass(frozen=True)
class LearnerInputs:
    """What a learner is made of."""

    spec: TrainSpec
    """The settings of the run."""
    model: ModelSpec
    """The spec of the trained model."""
    folder: Path
    """Folder for scratch files."""
    precision: str
    """fp32, bf16 or fp16."""
    class_counts: tuple[int, ...]
    """Labelled training pixels of each class (K)."""
    augment: Augment
    """Augmentation of training windows."""
    train: Loader
    """Training windows, batch by batch."""
    val: Loader
    """Scored windows, batch by batch."""
    tag_sets: ClassSets = ()
    """Class indexes of each combination of tags of training images without labels."""

    @property
    def steps(self) -> int:
        """Steps of the optimizer in the whole run."""
        return self.spec.epochs * -(-len(self.train) // self.spec.optimizer.accumulate)


class Learner(LightningModule):
    """A network in training, and the running mean of its weights and buffers, which is scored and saved."""

    def __init__(self, network: SegmentationNetwork, inputs: LearnerInputs):
        super().__init__()
        spec = inputs.spec
        self.inputs, self.spec = inputs, spec
        self.network = network.to(memory_format=torch.channels_last)
        for module in network.frozen_parts:
            module.requires_grad_(False)
        self.averaged = AveragedModel(self.network, multi_avg_fn=ema_update(spec.ema), use_buffers=True)
        self.averaged.requires_grad_(False)
        running = self.averaged.module
        self.epoch_means = nn.ModuleList(
            [AveragedModel(running, multi_avg_fn=mean_update, use_buffers=True)] if spec.swa_epochs else []
        )
        self.epoch_means.requires_grad_(False)
        self.method = make_method(
            Setup(
                network,
                self.averaged_network,
                spec,
                inputs.class_counts,
                inputs.augment,
                inputs.model,
                inputs.steps,
                inputs.tag_sets,
            )
        )
        trained = network, *self.method.students
        for one in trained if spec.augment.mix_style else ():
            MixStyle(one, spec.augment.mix_style)
        # In tuples they are no further children.
        self._encoders = tuple(encoder_of(one) for one in trained) if spec.frozen_epochs else ()
        self._frozen_parts = tuple(module for one in trained for module in one.frozen_parts)
        self.counter = ScoreCounter(len(spec.classes), spec.boundary_px)
        self.student_counter = ScoreCounter(len(spec.classes), spec.boundary_px)
        self.epoch_loss = MeanMetric(nan_strategy="disable")  # a NaN loss must stay visible
        self.figures = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in self.method.shown})
        self.scored_loss = SegmentationLoss(spec.loss, inputs.class_counts)
        self.val_loss = MeanMetric(nan_strategy="disable")
        self._averaged_step = 0

    @property
    def averaged_network(self) -> SegmentationNetwork:
        """The network that is scored and saved: with running means, or in the last epochs with the mean of these."""
        for mean in cast(list[AveragedModel], self.epoch_means):
            if int(mean.n_averaged):
                return cast(SegmentationNetwork, mean.module)
        return cast(SegmentationNetwork, self.averaged.module)

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder's weights stay fixed in this epoch."""
        return self.current_epoch < self.spec.frozen_epochs

    def train_dataloader(self) -> Loader:
        """This process's part of the training windows."""
        return self.inputs.train.split(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Loader:
        """This process's part of the scored windows."""
        return self.inputs.val.deal(self.trainer.global_rank, self.trainer.world_size, idle=stack_uncounted)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rename weights of checkpoints that geoseg 0.1 has written."""
        weights = checkpoint["state_dict"]
        for name in list(weights):
            for former, here in FORMER_NAMES.items():
                if name.startswith(former):
                    weights[here + name.removeprefix(former)] = weights.pop(name)

    def on_train_epoch_start(self) -> None:
        """Seed the epoch, so that its windows do not depend on earlier epochs, and set the modes of modules."""
        windows: JointWindows = self.inputs.train.items
        windows.epoch = self.current_epoch
        torch.manual_seed(joint_seed(self.spec.seed, self.current_epoch, self.global_rank))
        self.epoch_loss.reset()
        for figure in self._figures.values():
            figure.reset()
        self._averaged_step = self.global_step
        for encoder in self._encoders:
            encoder.train(not self.is_frozen)
        for module in (*self._frozen_parts, self.averaged, *self.epoch_means):
            module.eval()

    def training_step(self, batches: Mapping[str, TrainingBatch], index: int) -> Tensor:
        """Loss of a batch of each kind of data."""
        loss = self.method.loss(batches, self._generator(index))
        self.epoch_loss.update(loss.value.detach())
        for name, figure in self._figures.items():
            if name in loss.figures:
                figure.update(loss.figures[name].detach())
        for name, value in {"loss": loss.value, **loss.figures}.items():
            self.log(f"{name}/step", value.detach())
        return loss.value

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Remove the gradients of a frozen encoder, so that neither gradients nor weight decay change it."""
        for encoder in self._encoders if self.is_frozen else ():
            for parameter in encoder.parameters():
                parameter.grad = None

    def configure_gradient_clipping(self, optimizer: Any, *limits: Any, **named: Any) -> None:
        """Clip the gradient of the network, and those of its opponents by themselves."""
        clip_gradients(optimizer, self.spec.optimizer.clip, self.method.opponents)

    def on_train_batch_end(self, outputs: Any, batch: Any, index: int) -> None:
        """Update the running mean, and the training method, after each step of the optimizer; in the last epochs also
        the mean of their ends, before they are scored."""
        if self.global_step != self._averaged_step:
            self.averaged.update_parameters(self.network)
            self.method.after_step()
            self._averaged_step = self.global_step
        is_late = self.current_epoch >= self.spec.epochs - self.spec.swa_epochs
        if is_late and index == len(self.inputs.train) - 1:
            for mean in cast(list[AveragedModel], self.epoch_means):
                mean.update_parameters(self.averaged.module)

    def on_validation_epoch_start(self) -> None:
        """Prepare the views of scored windows, e.g. classify whole rasters in coarser views."""
        self.val_loss.reset()
        windows: ScoredWindows = self.inputs.val.items
        windows.view.prepare(
            lambda: Runner(self.averaged_network, str(self.device), self.inputs.precision), self.spec.batch_px
        )

    def validation_step(self, batch: ScoredBatch, index: int) -> None:
        """Count the predicted and labelled classes of scored windows, and their loss without augmentation."""
        image = batch.image
        logits = self.averaged_network(image, self.averaged_network.see(batch.views))
        self.counter.update(logits.argmax(dim=1), batch.labels, batch.counted)
        if self.method.compares_student:
            logits_of_student = self.network(image, self.network.see(batch.views))
            self.student_counter.update(logits_of_student.argmax(dim=1), batch.labels, batch.counted)
        labels = batch.labels.where(batch.counted, IGNORE)
        self.val_loss.update(self.scored_loss(logits, labels), weight=(labels != IGNORE).sum())

    def take_scores(self) -> Scores:
        """Scores of the windows counted since the last call, by all processes."""
        scores = self.counter.scores([c.name for c in self.spec.classes])
        self.counter.reset()
        return scores

    def take_figures(self) -> dict[str, float | None]:
        """Means of the figures of the epoch over the steps that have them, None where none has, and the mIoU of the
        network where its running mean teaches it."""
        found = {
            name: round(float(figure.compute()), 4) if figure.update_called else None
            for name, figure in self._figures.items()
        }
        if self.method.compares_student and self.spec.data.split.validates:
            scores = self.student_counter.scores([c.name for c in self.spec.classes])
            self.student_counter.reset()
            found["student_miou"] = round(scores.miou, 4)
        return found

    @property
    def _figures(self) -> dict[str, MeanMetric]:
        return cast(dict[str, MeanMetric], dict(self.figures.items()))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimizer, and the learning-rate schedule, which is applied at each step."""
        optimizer = make_optimizer([self.network, self.method], self.spec.optimizer, self.method.opponents)
        schedule = LambdaLR(optimizer, learning_rate_curve(self.spec.schedule, self.inputs.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _generator(self, index: int) -> torch.Generator:
        # Seeded by the batch, so that its augmentation does not depend on earlier batches.
        seed = joint_seed(self.spec.seed, self.current_epoch, self.global_rank, index)
        return torch.Generator(self.device).manual_seed(seed)
