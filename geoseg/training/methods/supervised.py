"""Supervised training: the losses that the settings name, on labelled windows."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from geoseg.spec import Spec
from geoseg.training.criterion import TrainingCriterion
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, TrainingBatch


class Supervised(Method):
    """Minimises the network's own loss of labelled windows."""

    def __init__(self, setup: Setup, settings: Spec):
        super().__init__(setup, settings)
        self.criterion = TrainingCriterion(setup.network, setup.spec, setup.class_counts)

    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Loss of a batch of labelled windows."""
        setup = self.setup
        windows = batches[LABELLED].augmented(setup.augment, setup.spec.window, generator)
        return StepLoss(setup.network.training_loss(windows, self.criterion, setup.averaged, generator))
