"""What the methods share that learn from labelled windows and from windows without labels.

In: a batch of each. Out: the loss of the labelled ones plus that of the others, whose weight rises in the first steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from geoseg.core.errors import SpecError
from geoseg.models.families.building import family_of
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import ModelSpec, Spec, TrainSpec
from geoseg.training.criterion import TrainingCriterion
from geoseg.training.methods.method import LABELLED, UNLABELLED, Method, Setup, StepLoss, TrainingBatch
from geoseg.training.perturbations.mixing import MIXINGS
from geoseg.training.perturbations.targets import Targets
from geoseg.training.styles import STYLES, StyleSetting, make_style
from geoseg.training.styles.style import StyleSettings


def _known_mixing(name: str) -> str:
    try:
        return MIXINGS.check(name)
    except SpecError as error:
        raise ValueError(str(error)) from None


MixingName = Annotated[str, AfterValidator(_known_mixing)]
"""Name of a way to mix windows: none, cutmix, classmix, cutout, or one of another package."""


class UnlabelledSettings(Spec):
    """Parameters of all methods that learn from windows without labels."""

    weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the loss of windows without labels; that of the labelled ones is 1."""
    ramp_up: float = Field(default=0.1, ge=0, le=1)
    """Share of the steps in which that weight rises from 0: teachers of the first steps know nothing."""
    statistics: Literal["labelled", "unlabelled", "both"] | None = None
    """Windows whose statistics batch normalisation keeps for predictions: labelled ones, those without labels, or both;
    None: labelled ones with data.unlabelled, those without labels with data.target, where the model is to be used."""
    style: StyleSetting = StyleSettings()
    """How labelled windows are given the look of data.target: none, fourier, histogram, cyclegan, or one of another
    package, by its name or with parameters: {by: fourier, betas: [0.05]}."""


class FromUnlabelled(Method):
    """Minimises the loss of labelled windows, plus that of windows without labels times a weight that rises.

    A subclass says what the latter is (`unlabelled_loss`). Networks with a branch see windows without labels without
    their surroundings, as they see labelled ones whose context is left out.
    """

    Settings = UnlabelledSettings
    needs = frozenset({LABELLED, UNLABELLED})
    needs_plain = True
    compares_student = True
    needs_features: ClassVar[bool] = False
    """Whether it needs decoded features of pixels, which networks that classify masks do not have."""
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "confident")
    steps: Tensor

    def __init__(self, setup: Setup, settings: UnlabelledSettings):
        """Prepare the losses of labelled windows.

        Raises:
            SpecError: if the logits of windows are not trained.
        """
        super().__init__(setup, settings)
        if not any(parameter.requires_grad for parameter in setup.network.body.parameters()):
            raise _frozen(setup.spec)
        self.criterion = TrainingCriterion(setup.network, setup.spec, setup.class_counts)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._weight, self._ramp_up = settings.weight, settings.ramp_up
        usual = "unlabelled" if setup.spec.data.target else "labelled"
        self._statistics = settings.statistics or usual
        self.style = make_style(setup, settings.style)

    @classmethod
    def check(cls, spec: TrainSpec, settings: UnlabelledSettings) -> None:
        """Refuse a run in which the network that sees windows alone is frozen, or lacks what the method needs.

        Raises:
            SpecError: saying what to change.
        """
        if getattr(spec.branch, "freeze_local", False):  # branches of other packages need not have it
            raise _frozen(spec)
        STYLES.get(settings.style.by).check(spec, settings.style)
        name = spec.network.architecture.lower()
        if cls.needs_features and not family_of(spec.network).info(name).takes_context:
            raise SpecError(
                f"method {spec.method.name}: {name} classifies masks and has no features of pixels: take another "
                "method, e.g. mean_teacher, or another network, e.g. upernet"
            )

    @classmethod
    def example(cls, model: ModelSpec, folder: Path) -> dict[str, Any]:
        """The whole weight from the first step on."""
        return {"ramp_up": 0}

    @classmethod
    def marks_unlabelled(cls, settings: UnlabelledSettings) -> bool:
        """Whether it asks so itself, or the style of windows is changed, which is that of their pixels with data."""
        return cls.sees_unlabelled or settings.style.by != "none"

    @property
    def shown(self) -> Sequence[str]:
        """Those of the class and of the way to transfer style."""
        return *self.figures, *self.style.figures

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """Those of the style."""
        return self.style.opponents

    def notices(self, known: Mapping[str, Any]) -> Sequence[str]:
        """Notify that smoothed labels keep the network from being as sure as a threshold asks."""
        smoothing, classes = self.setup.spec.loss.label_smoothing, len(self.setup.spec.classes)
        surest = 1 - smoothing * (classes - 1) / classes
        threshold = getattr(self.settings, "threshold", 0.0)
        if threshold <= surest:
            return ()
        return [
            f"labels smoothed by {smoothing:g} teach probabilities of {surest:.3f} at most, and pixels without labels "
            f"count from {threshold:g} on: few will; set loss.label_smoothing to 0, or lower method.threshold"
        ]

    def notices_after(self, history: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Notify that the method was never sure, and so had nothing to learn from."""
        if "confident" not in self.figures or any(line["confident"] for line in history):
            return ()
        remedies = [
            "train longer",
            *(["lower method.threshold"] if hasattr(self.settings, "threshold") else []),
            *(["set loss.label_smoothing to 0"] if self.setup.spec.loss.label_smoothing else []),
        ]
        return [
            f"method {self.setup.spec.method.name} was sure of hardly a pixel without labels, and learnt next to "
            f"nothing from them: {', or '.join(remedies)}"
        ]

    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Loss of a batch of each kind, and its parts."""
        windows, unlabelled = (self._augmented(batches[kind], generator) for kind in (LABELLED, UNLABELLED))
        styled = self.style(windows, unlabelled, generator)
        windows = replace(windows, image=styled.image)
        with self._statistics_of("labelled"):
            labelled = self.labelled_loss(windows, generator)
        with self._statistics_of("unlabelled"):
            others = self.unlabelled_loss(windows, unlabelled, generator)
        value = labelled.value + self.weight_now * others.value + others.beside + styled.loss
        losses = {"labelled": labelled.value, "unlabelled": others.value}
        return StepLoss(value, {**losses, **labelled.figures, **others.figures, **styled.figures})

    def labelled_loss(self, windows: LabelledWindows, generator: torch.Generator) -> StepLoss:
        """Loss of labelled windows: by default the network's own."""
        return StepLoss(self.setup.network.training_loss(windows, self.criterion, self.setup.averaged, generator))

    def show(self, windows: LabelledWindows) -> None:
        """Have batch normalisation keep the statistics of windows from which nothing is learnt in this step, where it
        keeps those of windows without labels."""
        if self._statistics != "labelled":
            with torch.no_grad():
                for network in (self.setup.network, *self.students):
                    logits_of(network, windows.image)

    @abstractmethod
    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of windows without labels, before its weight.

        Its figures hold those that the class names besides the two losses; `confident` is the share of the pixels with
        data that it takes as sure. What is `beside` its value is minimised without the weight.

        Args:
            labelled: the labelled windows of the step.
            unlabelled: windows without labels; `plain` has their own colours, `image` has them varied.
            generator: source of all randomness.
        """

    def after_step(self) -> None:
        """Count the step, by which the weight rises."""
        self.steps += 1

    @property
    def progress(self) -> Tensor:
        """Share of the run's steps that are done."""
        return self.steps / self.setup.steps

    @property
    def weight_now(self) -> Tensor:
        """Weight of windows without labels at this step: exp(-5 (1 - t)²) of the whole, t being the share of the
        ramp-up that is done (Laine & Aila 2017)."""
        done = (self.progress / self._ramp_up).clamp(max=1) if self._ramp_up else torch.ones_like(self.progress)
        return self._weight * torch.exp(-5 * (1 - done) ** 2)

    def _statistics_of(self, kind: str) -> AbstractContextManager[None]:
        """Have batch normalisation keep its statistics, or update them, while windows of a kind are forwarded."""
        if self._statistics in (kind, "both"):
            return nullcontext()
        return statistics_kept(self.setup.network, *self.students)

    def _augmented(self, batch: TrainingBatch, generator: torch.Generator) -> LabelledWindows:
        return batch.augmented(self.setup.augment, self.setup.spec.window, generator)


def _frozen(spec: TrainSpec) -> SpecError:
    return SpecError(
        f"method {spec.method.name}: no logits of windows are trained in this run: set freeze_local to false, or take "
        "method supervised"
    )


@contextmanager
def evaluating(network: SegmentationNetwork) -> Iterator[None]:
    """Have a network in evaluation mode; afterwards each of its modules has its own mode again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def statistics_kept(*networks: nn.Module) -> Iterator[None]:
    """Have batch normalisation layers normalise by the batch, and leave their running statistics as they are.

    Labelled windows are drawn about classes, and their pixels are normalised by their own statistics while they are
    learnt: mixed with those of other windows of the same region, the running ones would fit neither. A model for
    another region wants the statistics of that one.
    """
    layers = [one for network in networks for one in network.modules() if isinstance(one, _BatchNorm)]
    rates = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.momentum = rate


@torch.no_grad()
def targets_of(network: SegmentationNetwork, windows: LabelledWindows) -> Targets:
    """What a network says of windows in their own colours, by its running statistics.

    In training mode, the statistics of normalisation layers would be those of the batch, and would be counted twice.
    """
    with evaluating(network):
        return Targets(probabilities(network, plain_of(windows)), windows.unlabelled)


def plain_of(windows: LabelledWindows) -> Tensor:
    """Band values (B, C, S, S) of windows in their own colours."""
    return windows.in_own_colours.image


def probabilities(network: SegmentationNetwork, image: Tensor) -> Tensor:
    """Probabilities (B, K, h, w), float32, of band values (B, C, h, w)."""
    return logits_of(network, image).softmax(dim=1)


def logits_of(network: Any, image: Tensor) -> Tensor:
    """Logits (B, K, h, w), float32, of band values (B, C, h, w)."""
    logits: Tensor = network(image).float()
    return logits
