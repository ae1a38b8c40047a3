"""Settings of training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from geoseg.core.composites import each_part
from geoseg.core.safe_paths import joined
from geoseg.spec.augment import AugmentSpec
from geoseg.spec.base import (
    LARGEST_COUNT,
    LARGEST_TILE,
    NODATA_ID,
    SMALLEST_TILE,
    Device,
    FilePath,
    Precision,
    Spec,
    parse_spec,
)
from geoseg.spec.branch import BranchSpec, TrainingTerms, branch_in
from geoseg.spec.cache import CacheSpec
from geoseg.spec.classes import ClassSpec
from geoseg.spec.context import ContextSpec
from geoseg.spec.data import DataSpec
from geoseg.spec.label_values import check_label_values
from geoseg.spec.levels import ContextLevel
from geoseg.spec.loss import LossSpec
from geoseg.spec.method import MethodSpec
from geoseg.spec.model import ModelCard
from geoseg.spec.network import NetworkSpec
from geoseg.spec.refine import RefineSpec
from geoseg.spec.surroundings import OtherBranch
from geoseg.spec.yaml_file import load_yaml

_ADDRESS = re.compile(r"(hf|https?):/+", re.IGNORECASE)
"""Begin of an address; a path of files keeps one slash of it."""
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin")
"""File types of encoder weights."""


class OptimizerSpec(Spec):
    """How the weights are updated."""

    name: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with Nesterov momentum."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Highest learning rate."""
    encoder_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the encoder, as a share of the others'; below 1 for a pretrained one."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decay of the kernels; biases and normalisation layers are not decayed."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    accumulate: int = Field(default=1, ge=1, le=LARGEST_COUNT)
    """Batches whose gradients are averaged before each update of the weights."""


class ScheduleSpec(Spec):
    """How the learning rate changes over the steps."""

    name: Literal["cosine", "poly", "one_cycle", "constant"] = "cosine"
    """How it falls to zero after the warm-up: along a cosine, as (1 - progress) ** power, or not at all; one_cycle also
    rises along a cosine."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which it rises; one_cycle is usually given 0.3."""
    power: float = Field(default=0.9, gt=0)
    """Power of poly."""


class TrainSpec(Spec):
    """How a model is trained."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Name of the model, and of its bundle's file: letters, digits, dot, dash and underscore."""
    data: DataSpec
    """The training data."""
    classes: tuple[ClassSpec, ...] = Field(min_length=2, max_length=254)
    """Classes in the order of the logits; label value 255 means: not labelled. If an id is above 254, as CORINE's are,
    ids are the values of the labels, and class rasters number the classes from 0."""
    network: NetworkSpec
    """The network."""
    context: ContextSpec | None = None
    """A branch that sees the surroundings of each window; None trains a network that sees its windows alone."""
    refine: RefineSpec | None = None
    """Coarser views of the scene whose classes are refined step by step; None trains a network that predicts them
    directly."""
    surroundings: OtherBranch = None
    """Another way to see the surroundings of each window, of another package, by its name and with its settings:
    {name: ..., setting: ...}."""
    encoder_weights: str | None = None
    """Pretrained weights of the encoder: imagenet or another tag of smp or timm; a file of timm's weights
    (.safetensors, .pth, .bin); a folder of timm's (config.json and weights), named with a slash: ./folder; or the
    address of either, hf://timm/NAME or https://...; None starts from random ones."""
    init_from: FilePath | None = None
    """Bundle whose weights the network starts from, or its address (hf://..., https://...), or default; its bands and
    classes may differ."""
    frozen_epochs: int = Field(default=0, ge=0, le=LARGEST_COUNT)
    """Number of first epochs in which the encoder is frozen."""
    method: MethodSpec = MethodSpec()
    """Training method: supervised, from labelled windows alone; distillation, from trained models as well: {name:
    distillation, teachers: [a.safetensors, runs/b], temperature: 2, weight: 0.5}; or a method of another package, by
    its name or with parameters: {name: ..., parameter: ...}."""
    loss: LossSpec = LossSpec()
    """The loss that is minimised."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """How the weights are updated."""
    schedule: ScheduleSpec = ScheduleSpec()
    """How the learning rate changes."""
    augment: AugmentSpec = AugmentSpec()
    """How the training windows are varied."""
    epochs: int = Field(default=40, ge=1, le=LARGEST_COUNT)
    """Rounds of training; after each one the validation side is scored."""
    windows_per_epoch: int = Field(default=400, ge=1, le=LARGEST_COUNT)
    """Training windows drawn per epoch; those that fill no step are left out."""
    cache: CacheSpec | None = None
    """Training windows that are drawn, augmented and forwarded through frozen parts once, and seen in all epochs: this
    saves what these take of a step, at the price of fewer distinct windows. None draws new ones in every epoch."""
    batch_size: int = Field(default=8, ge=1, le=LARGEST_COUNT)
    """Windows per batch, over all devices."""
    window: int = Field(default=256, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Side of a training window, in pixels; best a multiple of network.multiple, to which it is padded otherwise."""
    ema: float = Field(default=0.99, ge=0, lt=1)
    """Decay per step of the running mean of weights and buffers, which is what is scored and kept; 0 turns it off."""
    swa_epochs: int = Field(default=0, ge=0, le=LARGEST_COUNT)
    """Number of last epochs whose weights and buffers at their ends are averaged to what is scored and kept (stochastic
    weight averaging, Izmailov et al. 2018), with ema its running means; 0 turns it off."""
    boundary_px: int = Field(default=3, ge=1, le=LARGEST_COUNT)
    """Width of the bands along class borders that boundary IoU compares, in pixels."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random."""
    seeds: int = Field(default=1, ge=1, le=100)
    """Runs that differ in their seed alone: seed, seed + 1, ..., each in a folder of its own. Mean and spread of their
    scores are reported, and the model of the first is kept."""
    device: Device = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    devices: int = Field(default=1, ge=1, le=LARGEST_COUNT)
    """Number of processes, one per GPU or per part of the CPU; they share each batch."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto takes bf16 where the device has it natively."""
    tile: int = Field(default=1024, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Largest side of a window when the model predicts, in pixels."""
    overlap: int = Field(default=64, ge=0, le=LARGEST_TILE)
    """Pixels shared by neighbouring windows when the model predicts."""
    card: ModelCard = ModelCard()
    """The model's card; scores and training are filled in by the run."""

    @model_validator(mode="before")
    @classmethod
    def _numbered(cls, values: Any) -> Any:
        """Number the classes from 0 if an id does not fit into a class raster; the ids become their codes."""
        classes = values.get("classes") if isinstance(values, dict) else None
        if not isinstance(classes, list | tuple) or not any(map(_is_wide, classes)):
            return values
        numbered = [c | {"id": k, "code": c["id"]} if _has_code(c) else c for k, c in enumerate(classes)]
        return values | {"classes": numbered}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 2 * self.overlap > self.tile:
            raise ValueError(
                f"overlap {self.overlap} is more than half of tile {self.tile}: lower it or raise the tile"
            )
        if len({c.id for c in self.classes}) < len(self.classes):
            raise ValueError("two classes share an id: give each its own")
        if len({c.label_value for c in self.classes}) < len(self.classes):
            raise ValueError("two classes share a code: give each its own")
        if len({c.name for c in self.classes}) < len(self.classes):
            raise ValueError("two classes share a name: give each its own")
        check_label_values(self.data, self.classes)
        weights = self.loss.class_weights
        if not isinstance(weights, str) and len(weights) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes, {len(weights)} loss.class_weights: give one per class")
        if self.swa_epochs > self.epochs:
            raise ValueError(f"swa_epochs {self.swa_epochs} is more than epochs {self.epochs}: lower it")
        if self.encoder_weights is not None and self.init_from is not None:
            raise ValueError("both encoder_weights and init_from are given: a bundle has an encoder, give one of them")
        self._check_branch()
        self._check_seeds()
        if self.windows_per_epoch < self.batch_size * self.optimizer.accumulate:
            raise ValueError(
                f"windows_per_epoch {self.windows_per_epoch} is less than a step takes (batch_size {self.batch_size} × "
                f"accumulate {self.optimizer.accumulate}): raise it"
            )
        if self.batch_size % self.devices:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide among {self.devices} devices: take a multiple"
            )
        return self

    def _check_seeds(self) -> None:
        split = self.data.split
        if self.seeds > 1 and split.has_several_folds:
            raise ValueError(
                f"seeds {self.seeds} do not go with data.split.folds, each of which is a run already: leave out one of "
                "both, or give one fold (data.split.fold)"
            )
        if self.seeds > 1 and not split.validates:
            raise ValueError(f"seeds {self.seeds} are for the spread of scores, and nothing is validated: take seeds 1")

    def _check_branch(self) -> None:
        sees_around = bool(self.branch.levels)
        context = self.context.network.semantic_normalization if self.context is not None else False
        if context or (sees_around and self.network.semantic_normalization):
            raise ValueError(
                "semantic_normalization is for networks that see their windows alone: set it to false, or leave out "
                "their surroundings (context, refine)"
            )
        terms = TrainingTerms(
            window=self.window,
            tile=self.tile,
            pastes=bool(self.augment.cutmix),
            has_second_head=bool(self.loss.auxiliary),
            multiple=self.network.multiple,
            starts_trained=self.init_from is not None,
        )
        self.branch.check_training(terms)

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is kept, whatever its scores."""
        return bool(self.swa_epochs) or self.data.split.keeps_last

    @property
    def branch(self) -> BranchSpec:
        """Settings of the model's branch, which sees more than the windows."""
        return branch_in(self)

    @property
    def batch_px(self) -> int:
        """Pixels of a training batch: about as many are also scored at once."""
        return self.batch_size * self.window**2

    @property
    def unlabelled_batch(self) -> int:
        """Windows without labels per step, over all devices, of methods that get a batch of these beside the labelled
        ones: by `data.unlabelled_share`, but as many on each device, and at least one."""
        share = self.data.unlabelled_share
        return self.devices * max(1, round(self.batch_size / self.devices * share / (1 - share)))

    @property
    def views(self) -> tuple[ContextLevel, ...]:
        """The coarser views, centred on each training window."""
        return self.branch.training_views(self.window)

    @property
    def read_side(self) -> int:
        """Side of the area to read for a training window, with room for its scaling, in pixels."""
        return self.augment.read_side(self.window)


def _is_wide(c: Any) -> bool:
    """Whether the id of a written class is a value that class rasters cannot hold."""
    return _has_code(c) and c["id"] >= NODATA_ID


def _has_code(c: Any) -> bool:
    return isinstance(c, dict) and type(c.get("id")) is int and c.get("code") is None


def load_train_spec(path: str | Path) -> TrainSpec:
    """Read a training config, or that of a run's folder; its paths are relative to its own folder.

    Raises:
        SpecError: if the file or one of its settings is wrong.
    """
    path = Path(path) / "config.yaml" if Path(path).is_dir() else Path(path)
    folder = path.parent
    spec = parse_spec(TrainSpec, load_yaml(path), source=str(path))
    changes: dict[str, Any] = {"data": paths_from(spec.data, folder)}
    if spec.init_from is not None and not is_web_address(spec.init_from):
        changes["init_from"] = folder / spec.init_from
    if spec.cache is not None:
        changes["cache"] = spec.cache.below(folder)
    if spec.encoder_weights and is_path_of_weights(spec.encoder_weights):
        changes["encoder_weights"] = str(folder / spec.encoder_weights)
    return spec.model_copy(update=changes)


def is_web_address(place: str | Path) -> bool:
    """Whether a model or weights are named by an address, not by a path."""
    return _ADDRESS.match(str(place)) is not None


def is_path_of_weights(weights: str) -> bool:
    """Whether weights of an encoder are named by a path: by its ending, or by a slash, which no tag has."""
    return not is_web_address(weights) and (Path(weights).suffix in WEIGHT_FILES or "/" in weights or "\\" in weights)


def paths_from(data: DataSpec, folder: Path) -> DataSpec:
    """The same data with its relative paths taken from a folder."""
    scenes = [
        scene.model_copy(update={"image": joined(folder, scene.image), "label": joined(folder, scene.label)})
        for scene in data.scenes
    ]
    corrections = tuple(joined(folder, path) for path in data.corrections)
    without_labels = tuple(_joined(folder, pattern) for pattern in data.without_labels)
    changes: dict[str, Any] = {"scenes": tuple(scenes), "corrections": corrections}
    changes[data.kind_without_labels] = without_labels
    if data.extent is not None:
        changes["extent"] = joined(folder, data.extent)
    if data.tiles is not None:
        changes["tiles"] = joined(folder, data.tiles)
    if data.images is not None and data.labels is not None:
        changes |= {"images": _joined(folder, data.images), "labels": _joined(folder, data.labels)}
    return data.model_copy(update=changes)


def _joined(folder: Path, pattern: str) -> str:
    return each_part(pattern, lambda part: part if "://" in part else str(joined(folder, part)))
