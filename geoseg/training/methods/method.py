"""The contract of a training method: what a step minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.data.labels.class_sets import ClassSets
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import MethodSpec, ModelSpec, Spec, TrainSpec, parse_spec
from geoseg.spec import method as settings
from geoseg.training.windows.augment import Augment

LABELLED = "labelled"
"""Kind of data that every run has: windows with labels."""
UNLABELLED = "unlabelled"
"""Kind of data of a run with `data.unlabelled` or `data.target`: windows of these images, without views."""


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
    model: ModelSpec
    """The spec of the model that is trained."""
    steps: int
    """Steps of the optimizer in the whole run."""
    tag_sets: ClassSets = ()
    """Class indexes of each combination of tags of images without labels, each once; see `data/labels/tags.py`."""


@dataclass(frozen=True)
class StepLoss:
    """The loss of a step."""

    value: Tensor
    """The scalar to be minimised, with a gradient."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Further scalars by name, for TensorBoard; the method's `figures` are among them."""
    beside: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Of a part of a step: the loss of what is trained along with the network, such as a discriminator."""


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
    """Kinds of data that it needs, of LABELLED and UNLABELLED; a step gets a batch of each."""
    needs_target: ClassVar[bool] = False
    """Whether windows without labels are to be of the region where the model is to be used (`data.target`)."""
    sees_unlabelled: ClassVar[bool] = False
    """Whether it asks which pixels of labelled windows hold data but no label (`LabelledWindows.unlabelled`)."""
    needs_plain: ClassVar[bool] = False
    """Whether it needs windows with their own colours, too (`LabelledWindows.plain`)."""
    learns_tags: ClassVar[bool] = False
    """Whether it learns from tags of images: labels may be indexes of combinations of tags."""
    figures: ClassVar[tuple[str, ...]] = ()
    """Names of those figures of a step whose mean over each epoch is shown and written to metrics.csv."""
    compares_student: ClassVar[bool] = False
    """Whether the network in training is scored in every epoch beside its running mean, which is its teacher."""

    def __init__(self, setup: Setup, settings: Spec):
        super().__init__()
        self.setup, self.settings = setup, settings

    @classmethod
    def check(cls, spec: TrainSpec, settings: Any) -> None:
        """Refuse parameters, an instance of `Settings`, that do not go with a run, before any image is read.

        Raises:
            GeosegError: saying what to change.
        """

    @classmethod
    def example(cls, model: ModelSpec, folder: Path) -> dict[str, Any]:
        """Parameters for a run of a small model, as the contract test needs them; files go into a folder."""
        return {}

    @classmethod
    def marks_unlabelled(cls, settings: Any) -> bool:
        """Whether pixels of labelled windows that hold data but no label are marked, which has them read once more."""
        return cls.sees_unlabelled

    @property
    def students(self) -> Sequence[SegmentationNetwork]:
        """Networks of the method that are trained as the run's network is: the encoder may be frozen in the first
        epochs, frozen parts are so in all."""
        return ()

    @property
    def shown(self) -> Sequence[str]:
        """Names of the figures that are shown of each epoch: those of the class, and of parts that settings choose."""
        return self.figures

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """Modules of the method that are trained against the network, such as discriminators: they learn more slowly,
        and their gradients are clipped by themselves."""
        return ()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Plain values for the model's card, of what it learns from besides labels; a resumed run has the same."""
        return {}

    def notices(self, known: Mapping[str, Any]) -> Sequence[str]:
        """Sentences for the user on what it learns from, given the settings and the size of the data of the run."""
        return ()

    def notices_after(self, history: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Sentences for the user on what it has learnt from, given the line of metrics.csv of each epoch."""
        return ()

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
    return check_method(setup.spec)(setup, _settings(setup.spec.method))


def check_method(spec: TrainSpec) -> type[Method]:
    """Check the parameters and the data needs of the training method that settings name; return its class.

    Raises:
        SpecError: if it cannot be loaded, a parameter is invalid, or it needs data that no run has.
        GeosegError: if the method does not take a parameter for this run.
    """
    name, kind = spec.method.name, _kind(spec.method)
    settings = _settings(spec.method)
    if missing := kind.needs - {LABELLED, UNLABELLED}:
        raise SpecError(
            f"training method {name!r} needs {', '.join(sorted(missing))} windows, a run has labelled and unlabelled "
            "ones: choose another method"
        )
    _check_images(name, kind, spec)
    kind.check(spec, settings)
    return kind


def marks_unlabelled(spec: TrainSpec) -> bool:
    """Whether pixels of labelled windows that hold data but no label are marked for the method that settings name."""
    return _kind(spec.method).marks_unlabelled(_settings(spec.method))


def _check_images(name: str, kind: type[Method], spec: TrainSpec) -> None:
    """Refuse images without labels, or with tags, that a method does not learn from, and a method that lacks them."""
    given, setting = spec.data.without_labels, f"data.{spec.data.kind_without_labels}"
    if given and not (kind.sees_unlabelled or UNLABELLED in kind.needs):
        raise SpecError(
            f"method {name} learns from labels alone: remove {setting}, or take a method that learns from images "
            "without labels, such as mean_teacher"
        )
    if spec.data.unlabelled and kind.needs_target:
        raise SpecError(
            f"method {name} adapts a model to another region: give images of that region as data.target, or take "
            "another method for data.unlabelled, such as mean_teacher"
        )
    if spec.data.tags_column is not None and not kind.learns_tags:
        raise SpecError(
            f"method {name} learns nothing from tags: remove data.tags_column and the rows without a label, or take "
            "method cam"
        )
    if UNLABELLED in kind.needs and not given:
        settings_of = "data.target" if kind.needs_target else "data.unlabelled or data.target"
        raise SpecError(f"method {name} learns from images without labels as well: give them as {settings_of}")
    if spec.cache is not None and (UNLABELLED in kind.needs or kind.needs_plain):
        raise SpecError(f"method {name} does not go with cache, which keeps windows with varied colours: remove cache")


def change_paths(method: MethodSpec, change: Callable[[Path], Path]) -> MethodSpec:
    """The same settings of a method, with all paths among its parameters changed.

    Raises:
        SpecError: if a parameter is invalid.
    """
    found = _settings(method).model_dump()
    given = {name: found.get(name, value) for name, value in method.parameters.items()}
    return method.model_copy(update={name: _changed(value, change) for name, value in given.items()})


def _changed(value: Any, change: Callable[[Path], Path]) -> Any:
    """A plain value whose paths are changed, as text."""
    if isinstance(value, Path):
        return str(change(value))
    if isinstance(value, dict):
        return {name: _changed(one, change) for name, one in value.items()}
    return [_changed(one, change) for one in value] if isinstance(value, list | tuple) else value


def _settings(method: MethodSpec) -> Spec:
    return parse_spec(_kind(method).Settings, method.parameters, source=f"method {method.name}")


def _kind(method: MethodSpec) -> type[Method]:
    """The class of a method.

    Raises:
        SpecError: if it cannot be loaded, or is none.
    """
    kind = METHODS.get(method.name)
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise SpecError(
            f"training method {method.name!r} is no geoseg.training.methods.method.Method: mend its package"
        )
    return kind
