"""Two networks from different starts, each of which learns what the other says of windows without labels.

In: labelled windows and windows without labels. Out: the losses of both networks. The second one is in checkpoints; it
is the first whose running mean is scored and kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from geoseg.models.build import build_network
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.start import names_of_classifiers, start_from
from geoseg.spec import ModelSpec, TrainSpec
from geoseg.training.criterion import TrainingCriterion
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import (
    FromUnlabelled,
    MixingName,
    UnlabelledSettings,
    logits_of,
    targets_of,
)
from geoseg.training.perturbations.mixing import MIXINGS
from geoseg.training.perturbations.targets import Targets, share
from geoseg.training.seeds import joint_seed

SECOND = 2
"""What the seed of the second network's weights is made of besides that of the run."""


class TwoStudentsSettings(UnlabelledSettings):
    """Parameters of methods with two networks."""

    mix: MixingName = "cutmix"
    """How windows without labels are mixed: cutmix, classmix, cutout or none."""


class TwoStudents(FromUnlabelled):
    """Minimises the losses of labelled windows of both networks, plus those against each other's classes.

    A subclass weighs the pixels (`pixel_weights`). Each network gets windows that are mixed anew, as ClassMix pastes
    what the other one sees.
    """

    Settings = TwoStudentsSettings
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "agreeing")

    def __init__(self, setup: Setup, settings: TwoStudentsSettings):
        """Start the second network.

        Raises:
            ModelError: if its first weights cannot be loaded.
        """
        super().__init__(setup, settings)
        self.second = second_start(setup.spec, setup.model).to(memory_format=torch.channels_last)
        self.second_criterion = TrainingCriterion(self.second, setup.spec, setup.class_counts)
        for module in self.second.frozen_parts:
            module.requires_grad_(False)
        self._mix = MIXINGS.get(settings.mix)

    @property
    def students(self) -> Sequence[SegmentationNetwork]:
        """The second network."""
        return (self.second,)

    def labelled_loss(self, windows: LabelledWindows, generator: torch.Generator) -> StepLoss:
        """Sum of the losses of both networks."""
        own = super().labelled_loss(windows, generator).value
        second = self.second.training_loss(windows, self.second_criterion, self.setup.averaged, generator)
        return StepLoss(own + second)

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of each network against the classes that the other one sees in windows in their own colours."""
        first, second = (targets_of(one, unlabelled) for one in (self.setup.network, self.second))
        losses = [
            self.loss_against(network, unlabelled.image, taught, generator)
            for network, taught in ((self.setup.network, second), (self.second, first))
        ]
        agreeing = share((first.classes == second.classes) & first.counted, first.counted)
        return StepLoss(losses[0] + losses[1], {"agreeing": agreeing})

    @abstractmethod
    def pixel_weights(self, probabilities: Tensor, targets: Targets) -> Tensor:
        """Weights (B, h, w) of pixels.

        Args:
            probabilities: of the network that learns (B, K, h, w), for the mixed windows; without gradients.
            targets: what the other network says of them.
        """

    def loss_against(
        self, network: SegmentationNetwork, image: Tensor, taught: Targets, generator: torch.Generator
    ) -> Tensor:
        """Loss of one network for band values (B, C, S, S), mixed with what the other one says of them."""
        image, targets = self._mix(image, taught, self.setup.augment.fill, generator)
        logits = logits_of(network, image)
        return targets.class_loss(logits, self.pixel_weights(logits.detach().softmax(dim=1), targets))


def second_start(spec: TrainSpec, model: ModelSpec) -> SegmentationNetwork:
    """The second network with weights of its own, by the seed of the run, as those of the first one are made.

    Where both start from one bundle, its last layers begin anew: equal networks would stay so.

    Raises:
        ModelError: if weights cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):  # the run's own randomness goes on as without it
        torch.manual_seed(joint_seed(spec.seed, SECOND))
        network = build_network(model)
        if spec.encoder_weights is not None:
            load_encoder_weights(network, model, spec.encoder_weights)
        if spec.init_from is not None:
            names = names_of_classifiers(model)
            anew = {name: one.clone() for name, one in network.state_dict().items() if name in names}
            start_from(network, model, spec.init_from)
            network.load_state_dict(network.state_dict() | anew)
    return network
