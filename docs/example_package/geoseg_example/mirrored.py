"""Learning from labels and from symmetry: mirrored windows shall be classified like the windows themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field

from geoseg.spec import Spec
from geoseg.training.criterion import TrainingCriterion
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, TrainingBatch


class MirroredSettings(Spec):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=1.0, ge=0)
    """Weight of the difference between the two answers."""


class Mirrored(Method):
    """Minimises the loss of labelled windows, and the difference between what they and their mirror images get."""

    Settings = MirroredSettings

    def __init__(self, setup: Setup, settings: MirroredSettings):
        super().__init__(setup, settings)
        self.weight = settings.weight
        self.criterion = TrainingCriterion(setup.network, setup.spec, setup.class_counts)

    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Loss of a batch of labelled windows; TensorBoard shows the difference, too."""
        network, averaged = self.setup.network, self.setup.averaged
        windows = batches[LABELLED].augmented(self.setup.augment, self.setup.spec.window, generator)
        supervised = network.training_loss(windows, self.criterion, averaged, generator)
        straight, mirrored = (network(image).softmax(dim=1) for image in (windows.image, windows.image.flip(-1)))
        difference = (straight.detach() - mirrored.flip(-1)).square().mean()
        return StepLoss(supervised + self.weight * difference, {"mirror_difference": difference.detach()})
