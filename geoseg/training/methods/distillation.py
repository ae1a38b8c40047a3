"""Distillation: one network learns from labels, and from the probabilities of networks that are trained already.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network". Student and teachers get the same augmented
pixels (Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent").

In: labelled windows, whose pixels without a label count, too, where they hold data. Out: the weighted sum of the two
losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from geoseg.core.errors import ModelError, SpecError
from geoseg.core.redaction import public_form
from geoseg.core.wording import number_of
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import existing_model, read_spec
from geoseg.models.model import Model
from geoseg.raster.scaling import conversion, describe_scaling
from geoseg.spec import ModelSpec, Spec, TrainSpec
from geoseg.spec.base import FilePath
from geoseg.training.criterion import JoinedCriterion, TrainingCriterion
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, TrainingBatch

SUFFIX = ".safetensors"
LEARNT = "data", "train_images", "train_pixels"
"""What a card says of the labels that a model has learnt: the same for two runs with one split."""
NO_LABELS = {"unlabelled", "target", "unlabelled_share"}
"""Settings of the data that say nothing of labels."""
MOST_RATIO = 1.5
"""Pixels of a teacher's training data may be larger or smaller than those of the run by this factor."""


class DistillationSettings(Spec):
    """Parameters of the method, as they are written below `method` in a config."""

    teachers: tuple[FilePath, ...] = Field(min_length=1, max_length=100)
    """Bundles or folders of runs, or default, whose mean probabilities are learnt."""
    temperature: float = Field(default=2.0, gt=0, le=100)
    """Number by which the logits of teachers and network are divided before their probabilities are compared."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the teachers; that of the labels is 1 less it."""


class Distillation(Method):
    """Minimises (1 - weight) * loss of labels + weight * T² * KL(mean of the teachers || network)."""

    Settings = DistillationSettings
    sees_unlabelled = True

    def __init__(self, setup: Setup, settings: DistillationSettings):
        """Load the teachers, which are no part of the method's state.

        Raises:
            ModelError: if one cannot be read, or is of other pixels or values than the run.
        """
        super().__init__(setup, settings)
        self.criterion = TrainingCriterion(setup.network, setup.spec, setup.class_counts)
        self.temperature, self.weight = settings.temperature, settings.weight
        self._teachers = [load_model(path) for path in settings.teachers]  # in a list they are no children
        for path, teacher in zip(settings.teachers, self._teachers, strict=True):
            _check_values(path, teacher.spec, setup.model)
            teacher.module.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    @classmethod
    def check(cls, spec: TrainSpec, settings: DistillationSettings) -> None:
        """Refuse teachers whose answers are none for this run, by their headers.

        Raises:
            ModelError: if one cannot be read, or differs in bands, type of values, classes or windows.
            SpecError: if one is given twice.
        """
        paths = [existing_model(path) for path in settings.teachers]
        resolved = [path.resolve() for path in paths]
        if twice := next((path for path, real in zip(paths, resolved, strict=True) if resolved.count(real) > 1), None):
            raise SpecError(f"method distillation: {public_form(twice)} is given twice: give each teacher once")
        for path in paths:
            _check_teacher(path, spec)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Names, files and digests of the teachers."""
        return {"teachers": [_named(teacher) for teacher in self._teachers]}

    def notices(self, known: Mapping[str, Any]) -> Sequence[str]:
        """Name teachers that may have learnt labels that score this run: their cards name other data or splits."""
        others = [one for one in self._teachers if _learnt(one.spec.card.training) != _learnt(known)]
        if not others:
            return ()
        names = ", ".join(_named(one)["file"] for one in others)
        return [
            f"{number_of(len(others), 'teacher')} learnt other labels than those of this run, or by another split "
            f"({names}): if labels of its validation or test side are among them, its scores are flattered"
        ]

    @classmethod
    def example(cls, model: ModelSpec, folder: Path) -> dict[str, Any]:
        """One teacher with random weights."""
        torch.manual_seed(1)
        return {"teachers": [str(save_model(build_network(model), model, folder / f"teacher{SUFFIX}"))]}

    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Loss of a batch of labelled windows; TensorBoard shows that of the teachers, too.

        Raises:
            SpecError: if the network does not learn from the labels of its windows, nor could it from the teachers.
        """
        setup = self.setup
        windows = batches[LABELLED].augmented(setup.augment, setup.spec.window, generator)
        taught = SoftTargets(self._probabilities(windows.image), windows.holds_data, self.temperature)
        weights = 1 - self.weight, self.weight
        criterion = JoinedCriterion(self.criterion, taught.loss, windows.labels, weights)
        value = setup.network.training_loss(windows, criterion, setup.averaged, generator)
        if criterion.last is None:
            raise SpecError(
                "method distillation: no logits of windows are trained in this run: set freeze_local to false, or take "
                "method supervised"
            )
        return StepLoss(value, {"distillation": criterion.last})

    @torch.no_grad()
    def _probabilities(self, image: Tensor) -> Tensor:
        """Mean of the teachers' probabilities (B, K, h, w) of band values (B, C, h, w)."""
        image = image.contiguous(memory_format=torch.channels_last)
        found = [
            (one.module.to(image.device)(image).float() / self.temperature).softmax(dim=1) for one in self._teachers
        ]
        return torch.stack(found).mean(dim=0)


@dataclass(frozen=True)
class SoftTargets:
    """Probabilities that a network is to learn."""

    probabilities: Tensor
    """Of each class (B, K, h, w), at the temperature."""
    counted: Tensor
    """Pixels that count (B, h, w), bool."""
    temperature: float
    """Number by which logits are divided."""

    def loss(self, logits: Tensor) -> Tensor:
        """T² times the mean Kullback-Leibler divergence of logits (B, K, h, w) from the targets; 0 if nothing counts.

        Its gradient is about as large at every temperature.
        """
        given = (logits.float() / self.temperature).log_softmax(dim=1)
        divergence = functional.kl_div(given, self.probabilities, reduction="none").sum(dim=1)
        total = (divergence * self.counted).sum() / self.counted.sum().clamp(min=1)
        return self.temperature**2 * total


def _check_teacher(path: Path, spec: TrainSpec) -> None:
    """Refuse a teacher that does not classify the windows of a run into its classes."""
    if path.suffix.lower() != SUFFIX:
        raise ModelError(f"teacher {public_form(path)} is no bundle of weights ({SUFFIX}): give one, or a run's folder")
    given = read_spec(path)
    _check_equal(path, "bands", given.bands, spec.data.bands)
    _check_equal(path, "type of values", [given.dtype], [spec.data.dtype])
    _check_equal(path, "classes", [c.name for c in given.classes], [c.name for c in spec.classes])
    if given.branch.training_views(spec.window):
        raise ModelError(
            f"teacher {public_form(path)} sees more than its windows ({given.branch.describe()}), which are all that a "
            "teacher is shown: give one that was trained without"
        )


def _check_values(path: Path, given: ModelSpec, run: ModelSpec) -> None:
    """Refuse a teacher for which the values or the pixels of a run mean something else than those it knows."""
    if conversion(run.scaling, given.scaling) is not None:
        scalings = [describe_scaling(one) for one in (given.scaling, run.scaling) if one is not None]
        _check_equal(path, "scaling", *([one] for one in scalings))
    if given.resolution_m is None or run.resolution_m is None:
        return
    ratio = given.resolution_m / run.resolution_m
    if max(ratio, 1 / ratio) > MOST_RATIO:
        _check_equal(path, "pixel size", [f"{given.resolution_m:g} m"], [f"{run.resolution_m:g} m"])


def _check_equal(path: Path, name: str, given: Sequence[str], wanted: Sequence[str]) -> None:
    if list(given) != list(wanted):
        raise ModelError(
            f"teacher {public_form(path)} and this run differ in {name} ({_brief(given)}; {_brief(wanted)}): give "
            "teachers that were trained on such images, with these classes"
        )


def _brief(values: Sequence[str]) -> str:
    text = ", ".join(values)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _learnt(training: Mapping[str, Any]) -> list[Any]:
    """What a card says of the labels that a model has learnt."""
    found = [training.get(name) for name in LEARNT]
    return [{k: v for k, v in one.items() if k not in NO_LABELS} if isinstance(one, dict) else one for one in found]


def _named(teacher: Model) -> dict[str, str]:
    assert teacher.file is not None  # it was read from one
    return {"name": teacher.spec.name, "file": teacher.file.path.name, "sha256": teacher.file.sha256}
