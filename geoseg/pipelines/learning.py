"""What happens in one step of training and of scoring; the loop around it is Lightning's.

In: batches of read windows, batches of whole tiles. Out: a network and its running mean. Knows neither files
nor terminals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from geoseg.augment import Augment
from geoseg.losses import total_loss
from geoseg.metrics import Scores, confusion_matrix, scores_of
from geoseg.models import build_network
from geoseg.spec import ModelSpec, TrainSpec

Batch = tuple[Tensor, Tensor]


class Learner(LightningModule):
    """A network that learns, and the running mean of its weights and buffers, which is scored and kept."""

    def __init__(self, spec: TrainSpec, model_spec: ModelSpec, augment: Augment, steps: int):
        super().__init__()
        self.spec = spec
        self.augment = augment
        self.steps = steps
        self.network: nn.Module = build_network(model_spec).to(memory_format=torch.channels_last)
        self.averaged = AveragedModel(self.network, avg_fn=ema_update(spec.ema), use_buffers=True)
        self.averaged.requires_grad_(False)
        self.confusion = confusion_matrix(len(spec.classes))
        self.loss_sum = torch.zeros(())
        self.loss_count = 0

    @property
    def kept(self) -> nn.Module:
        """The network that is scored and saved."""
        kept: nn.Module = self.averaged.module
        return kept

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of a batch of read windows (B, C, R, R), (B, R, R)."""
        with torch.autocast(self.device.type, enabled=False):  # colours keep their precision
            image, labels = self.augment(*batch, self.spec.window, self._generator())
        logits = self.network(image.contiguous(memory_format=torch.channels_last))
        loss = total_loss(logits, labels, self.spec.loss)
        self.loss_sum = self.loss_sum.to(loss.device) + loss.detach()
        self.loss_count += 1
        return loss

    def on_train_epoch_start(self) -> None:
        """Draw other windows in each epoch."""
        self.loss_sum, self.loss_count = torch.zeros(()), 0
        windows: Any = self.trainer.train_dataloader
        windows.dataset.epoch = self.current_epoch

    def on_train_batch_end(self, *args: Any) -> None:
        """Move the running mean."""
        self.averaged.update_parameters(self.network)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Count the pixels of whole tiles (B, C, H, W), (B, H, W)."""
        image, labels = batch
        logits = self.kept(image.contiguous(memory_format=torch.channels_last))
        self.confusion.update(logits.argmax(dim=1), labels)

    def take_scores(self) -> Scores:
        """Scores of the tiles counted since the last call."""
        scores = scores_of(self.confusion.compute(), [c.name for c in self.spec.classes])
        self.confusion.reset()
        return scores

    def mean_loss(self) -> float:
        """Mean loss of this epoch's steps so far."""
        return float(self.loss_sum) / self.loss_count if self.loss_count else math.nan

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, warmed up and then lowered along a cosine."""
        optimizer = AdamW(parameter_groups(self.network, self.spec.weight_decay), lr=self.spec.learning_rate)
        schedule = LambdaLR(optimizer, learning_rate_curve(self.steps, self.spec.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _generator(self) -> torch.Generator:
        # Seeded by the step, so that a step's windows don't depend on what was drawn before it.
        return torch.Generator(self.device).manual_seed(self.spec.seed * 1_000_003 + self.global_step)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay kernels only: shrinking biases and the scales of normalisation layers does not regularise."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate_curve(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the highest learning rate at a step: up along a line, then down along a cosine."""
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    return factor


def ema_update(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Update of a running mean whose memory grows to `decay`, so that the first steps are soon forgotten."""

    def update(mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        kept = min(decay, (1 + float(count)) / (10 + float(count)))
        return (mean + (current - mean) * (1 - kept)).to(mean.dtype)

    return update
