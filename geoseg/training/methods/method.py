"""The contract of a training method: what a step minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import Spec, TrainSpec, parse_spec
from geoseg.spec import method as settings
from geoseg.training.windows.augment import Augment

LABELLED = "labelled"
"""Kind of data that every run has: windows with labels."""


class TrainingBatch(Protocol):
    """Windows as read: somewhat larger than those that the network gets, for rotation and scaling."""

    def augmented(self, augment: Augment, side: int, generator: torch.Generator) -> LabelledWindows:
        """Rotate, mirror, scale and recolour the windows, and crop them to `side` pixels."""
        ...


@dataclass(frozen=True)
class Setup:
    """What a training method is made of."""

    network: SegmentationNetwork
    """The network in training: band values (B, C, S, S) -> logits (B, K, S, S)."""
    averaged: SegmentationNetwork
    """The network with the running mean of the weights, which is scored and saved; without gradients."""
    spec: TrainSpec
    """The settings of the run."""
    class_counts: tuple[int, ...]
    """Labelled training pixels of each class, in the order of the logits (K)."""
    augment: Augment
    """Augmentation of training windows."""


@dataclass(frozen=True)
class StepLoss:
    """The loss of a step."""

    value: Tensor
    """The scalar to be minimised, with a gradient."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Further scalars for TensorBoard, by name."""


class Method(nn.Module, ABC):
    """How the loss of a step is computed.

    A method is made once a run, from a setup and an instance of its `Settings`. It is a module: its own parameters (an
    auxiliary head) are trained with the network's, and all of its state goes into checkpoints, so that a run can be
    resumed. The bundle gets the network alone, which is no child of the method. `tests/training/test_methods.py` tests
    that of every registered method.
    """

    Settings: ClassVar[type[Spec]] = Spec
    """The method's parameters in a config; validated before any image is read."""
    needs: ClassVar[frozenset[str]] = frozenset({LABELLED})
    """Kinds of data that it needs; a step gets a batch of each. A run has labelled windows and no others, so a method
    that needs another kind is refused."""

    def __init__(self, setup: Setup, settings: Spec):
        super().__init__()
        self.setup, self.settings = setup, settings

    @abstractmethod
    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Compute the loss of the batches of a step.

        Args:
            batches: by kind of data, on the device.
            generator: source of all randomness, on the device, seeded for the step.
        """

    def after_step(self) -> None:
        """Update what depends on the weights; called after each step of the optimizer, when the mean is updated."""


METHODS: Registry[type[Method]] = settings.METHODS
"""All training methods by name."""


def make_method(setup: Setup) -> Method:
    """Make the training method that a run's settings name.

    Raises:
        SpecError: as `check_method`.
    """
    return check_method(setup.spec)(setup, _settings(setup.spec))


def check_method(spec: TrainSpec) -> type[Method]:
    """Check the parameters and the data needs of the training method that settings name; return its class.

    Raises:
        SpecError: if it cannot be loaded, a parameter is invalid, or it needs data that no run has.
    """
    name, kind = spec.method.name, METHODS.get(spec.method.name)
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise SpecError(f"training method {name!r} is no geoseg.training.methods.method.Method: mend its package")
    _settings(spec)
    if missing := kind.needs - {LABELLED}:
        raise SpecError(
            f"training method {name!r} needs {', '.join(sorted(missing))} windows, a run has labelled ones: choose "
            "another method"
        )
    return kind


def _settings(spec: TrainSpec) -> Spec:
    kind, method = METHODS.get(spec.method.name), spec.method
    return parse_spec(kind.Settings, method.parameters, source=f"method {method.name}")
