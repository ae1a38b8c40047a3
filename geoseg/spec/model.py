"""Description of a model: its bands, network and classes, and its card."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from geoseg.spec.base import (
    LARGEST,
    LARGEST_SIZE_M,
    LARGEST_TILE,
    MOST_BANDS,
    NODATA_ID,
    SMALLEST_TILE,
    DataType,
    Name,
    Spec,
    Text,
)
from geoseg.spec.branch import BRANCH_FIELDS, BranchSpec, branch_in
from geoseg.spec.brightness import BrightnessSpec
from geoseg.spec.classes import ClassSpec
from geoseg.spec.context import ContextSpec
from geoseg.spec.imagery import ImagerySpec
from geoseg.spec.int8 import Int8Spec
from geoseg.spec.network import NetworkSpec
from geoseg.spec.refine import RefineSpec
from geoseg.spec.seams import SeamsSpec
from geoseg.spec.surroundings import OtherBranch

LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.05, 20.0
"""Bounds of a model's temperature."""


class NormalizationSpec(Spec):
    """Statistics per band, in the bands' own values: the network sees (value - mean) / std."""

    mean: tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...]
    """Mean per band; it also replaces pixels without data."""
    std: tuple[Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)], ...]
    """Standard deviation per band."""


class ScalingSpec(Spec):
    """Scale and offset of band values: value * scale + offset is a physical quantity, e.g. reflectance."""

    scale: tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...]
    """Scale per band, not 0."""
    offset: tuple[Annotated[float, Field(ge=-LARGEST, le=LARGEST)], ...]
    """Offset per band."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.scale) != len(self.offset) or not all(self.scale):
            raise ValueError("give a scale other than 0 and an offset per band")
        return self


class ModelCard(Spec):
    """Data, limits and scores of a model, for people who consider using it."""

    purpose: Text = ""
    """What the model is for, in one sentence that a layman understands."""
    description: Text = ""
    """Classes and kind of imagery, in a sentence."""
    data: Text = ""
    """Training data."""
    credits: Text = ""
    """Makers of the data, in the form in which they wish to be cited."""
    licence: Text = ""
    """Licence of the weights."""
    limits: Text = ""
    """Known limits of the model."""
    scores: dict[str, Any] = Field(default={})
    """Scores on the validation data: miou, pixel_accuracy, iou, precision and recall per class name, ..."""
    test_scores: dict[str, Any] = Field(default={})
    """The same on test data, which chose nothing; empty if there was no test side."""
    epoch_rule: Text = ""
    """Which epoch of the training was kept, and by what rule."""
    calibration: dict[str, Any] = Field(default={})
    """How well confidences fit the validation data, with the temperature and without: errors, and pixels by confidence;
    empty if that is unknown."""
    training: dict[str, Any] = Field(default={})
    """The resolved training settings and their provenance."""

    @property
    def what_for(self) -> str:
        """What the model is for: its purpose, else its description."""
        return self.purpose or self.description


class ModelSpec(Spec):
    """Description of a model, as its bundle holds it."""

    name: Name
    """Short name, e.g. landcover-naip-rgb."""
    network: NetworkSpec
    """The network, without the normalisation layer."""
    bands: tuple[Name, ...] = Field(min_length=1, max_length=MOST_BANDS)
    """Band names in input order: red, green, blue, nir, ..."""
    dtype: DataType = "uint8"
    """Type of the band values the model was trained on."""
    normalization: NormalizationSpec
    """Statistics of the bands, by which the network normalises them."""
    statistics: NormalizationSpec | None = None
    """Statistics of the bands in the training data, where the network normalises by others; None where they are the
    same, or unknown."""
    brightness: BrightnessSpec | None = None
    """How bright the training data are, by colour, for `--rescale auto`; None where that is unknown."""
    imagery: ImagerySpec | None = None
    """What the training imagery looks like, so that scenes unlike it are noticed; None where that is unknown."""
    scaling: ScalingSpec | None = None
    """Scale and offset of the bands in the training data; None where these have none."""
    classes: tuple[ClassSpec, ...] = Field(min_length=1, max_length=NODATA_ID)
    """Classes in the order of the logits."""
    resolution_m: float | None = Field(default=None, ge=1 / LARGEST_SIZE_M, le=LARGEST_SIZE_M)
    """Ground resolution that the model was trained on, in metres per pixel."""
    tile: int = Field(default=1024, ge=SMALLEST_TILE, le=LARGEST_TILE)
    """Largest side of a window, in pixels."""
    overlap: int = Field(default=64, ge=0, le=LARGEST_TILE)
    """Pixels shared by neighbouring windows, across which their probabilities are blended."""
    temperature: float = Field(default=1.0, ge=LEAST_TEMPERATURE, le=LARGEST_TEMPERATURE)
    """Number by which logits are divided before they become probabilities, so that a confidence is the share of pixels
    that are right (Guo et al. 2017); 1 leaves them as they are."""
    int8: Int8Spec | None = None
    """How the network does with 8-bit integers, whose ranges are in the bundle; None where that is unknown."""
    seams: SeamsSpec | None = None
    """What seams between windows do to its classes; None where that is unknown, or the network sees whole windows."""
    context: ContextSpec | None = None
    """Branch for the surroundings of a window; None if there is none."""
    refine: RefineSpec | None = None
    """Coarser views from which the model refines its classes; None if it predicts them directly."""
    surroundings: OtherBranch = None
    """Branch of another package for the surroundings of a window, by its name and with its settings; None if there is
    none."""
    card: ModelCard = ModelCard()
    """The model's card."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        counts = len(self.bands), len(self.normalization.mean), len(self.normalization.std)
        if len(set(counts)) > 1:
            raise ValueError("{} bands, {} means, {} stds: give one of each per band".format(*counts))
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands {', '.join(self.bands)}: one is named twice, give each its own name")
        if self.statistics is not None and {len(self.statistics.mean), len(self.statistics.std)} != {len(self.bands)}:
            raise ValueError(f"{len(self.bands)} bands, other counts of statistics: give a mean and a std per band")
        if self.brightness is not None and len(self.brightness.colours[0]) != len(self.bands):
            raise ValueError(f"{len(self.bands)} bands, colours of another number: give a number per band")
        if self.imagery is not None and len(self.imagery.values) != len(self.bands):
            raise ValueError(f"{len(self.bands)} bands, imagery of {len(self.imagery.values)}: describe each band")
        if self.scaling is not None and len(self.scaling.scale) != len(self.bands):
            raise ValueError(f"{len(self.bands)} bands, {len(self.scaling.scale)} scales: give one per band")
        if len({c.id for c in self.classes}) < len(self.classes):
            raise ValueError("two classes share an id: give each its own")
        if self.refine is not None and len(self.classes) < 2:
            raise ValueError("a single class leaves nothing to refine: leave refine out")
        if self.context is not None:
            self.context.check_multiple(self.network.multiple)
        self.branch.check_tile(self.tile, "tile")
        return self

    @property
    def branch(self) -> BranchSpec:
        """Settings of the model's branch, which sees more than the windows."""
        return branch_in(self)

    def without_branch(self) -> ModelSpec:
        """The same model without its branch."""
        return self.model_copy(update=dict.fromkeys(BRANCH_FIELDS))
