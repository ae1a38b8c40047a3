"""The settings that every part shares: what a model is, how a scene is predicted, how a model is trained.

In: YAML files, JSON metadata, keyword arguments. Out: frozen, validated pydantic specs. Knows neither tensors nor
rasters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geoseg.errors import SpecError

NODATA_ID = 255
"""Class id of pixels without data, in every class raster."""
IGNORE = 255
"""Class index of pixels that neither teach nor count: not labelled, or without data."""

DataType = Literal["uint8", "uint16", "int16", "float32"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Resolution = Literal["native", "model"] | Annotated[float, Field(gt=0, allow_inf_nan=False)]
SpecT = TypeVar("SpecT", bound="Spec")


class Spec(BaseModel):
    """Base of all specs: frozen, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ClassSpec(Spec):
    """One land-cover class."""

    id: int = Field(ge=0, lt=NODATA_ID)
    """Value in the class raster, 0 to 254."""
    name: str
    """Name shown to people."""
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    """Colour as #rrggbb."""


class NetworkSpec(Spec):
    """Which network, and with which arguments it is built."""

    architecture: str
    """An architecture of segmentation-models-pytorch in lower case (unet, fpn), or pointwise: a 1 × 1 convolution."""
    encoder: str = ""
    """Encoder name of segmentation-models-pytorch, e.g. resnet18 or tu-convnext_atto; empty for pointwise."""
    arguments: dict[str, Any] = {}
    """Further keyword arguments of the architecture, e.g. encoder_depth."""
    multiple: int = Field(default=32, ge=1)
    """Height and width of an input must be multiples of this many pixels."""


class NormalizationSpec(Spec):
    """Statistics per band, in the bands' own values: the network sees (value - mean) / std."""

    mean: tuple[float, ...]
    """Mean per band; also what stands in for pixels without data."""
    std: tuple[Annotated[float, Field(gt=0)], ...]
    """Standard deviation per band."""


class ModelCard(Spec):
    """What a person should know before trusting the model."""

    description: str = ""
    """What it maps, in a sentence."""
    data: str = ""
    """What it was trained on."""
    credits: str = ""
    """Who made the data, as they ask to be cited."""
    licence: str = ""
    """Under which terms the weights may be used."""
    limits: str = ""
    """Where it is known to fail."""
    scores: dict[str, Any] = {}
    """Scores on the validation data: miou, pixel_accuracy, iou per class name."""
    training: dict[str, Any] = {}
    """The resolved training settings and their provenance."""


class ModelSpec(Spec):
    """Everything a bundle says about its model."""

    name: str
    """Short name, e.g. landcover-naip-rgb."""
    network: NetworkSpec
    """The network behind the normalisation layer."""
    bands: tuple[str, ...] = Field(min_length=1)
    """Band names in input order: red, green, blue, nir, ..."""
    dtype: DataType = "uint8"
    """Type of the band values the model was trained on."""
    normalization: NormalizationSpec
    """Statistics of the bands."""
    classes: tuple[ClassSpec, ...] = Field(min_length=1)
    """Classes in the order of the logits."""
    resolution_m: float | None = Field(default=None, gt=0)
    """Ground size of a pixel the model was trained on, in metres."""
    tile: int = Field(default=1024, ge=1)
    """Largest side of a window, in pixels."""
    overlap: int = Field(default=64, ge=0)
    """Pixels shared by neighbouring windows, across which their probabilities are blended."""
    card: ModelCard = ModelCard()
    """The model's card."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        counts = len(self.bands), len(self.normalization.mean), len(self.normalization.std)
        if len(set(counts)) > 1:
            raise ValueError("{} bands, {} means, {} stds: give one of each per band".format(*counts))
        if len({c.id for c in self.classes}) < len(self.classes):
            raise ValueError("two classes share an id: give each its own")
        return self


class PredictSpec(Spec):
    """How a scene is predicted; None leaves the choice to the model."""

    tile: int | None = Field(default=None, ge=32, le=16384)
    """Largest side of a window, in pixels."""
    overlap: int | None = Field(default=None, ge=0)
    """Pixels shared by neighbouring windows, across which their probabilities are blended."""
    batch_size: int | None = Field(default=None, ge=1)
    """Windows forwarded at once."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")
    """auto, cpu, cuda, cuda:1, or mps."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto takes bf16 where the device has it natively."""
    bands: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """The scene's bands in the model's order, counted from 1."""
    nodata: float | None = None
    """Value that marks pixels without data, over what the file says."""
    rescale: tuple[float, float] | None = None
    """The scene's values that become the lowest and highest value of the model's type, e.g. (0, 3000) for 16-bit."""
    resolution: Resolution = "native"
    """Ground size of a pixel the network sees: native, model, or metres."""
    scores: Path | None = None
    """Write per-class probabilities to this GeoTIFF."""
    confidence: Path | None = None
    """Write the probability of the chosen class, in percent, to this GeoTIFF."""
    polygons: bool = True
    """Write polygons as a GeoPackage."""
    preview: bool = True
    """Write a preview picture."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tile is not None and self.overlap is not None and 2 * self.overlap > self.tile:
            raise ValueError(
                f"overlap {self.overlap} is more than half of tile {self.tile}: lower it or raise the tile"
            )
        if self.rescale is not None and not self.rescale[0] < self.rescale[1]:
            raise ValueError(
                f"rescale {self.rescale[0]:g},{self.rescale[1]:g}: the first value must be below the second"
            )
        return self


class DataSpec(Spec):
    """Labelled tiles and which of their bands the network sees."""

    tiles: Path
    """CSV with the columns image, label, split (train or val); its paths are relative to the CSV's folder."""
    bands: tuple[str, ...] = Field(min_length=1)
    """Band names in the network's order: red, green, blue, nir, ..."""
    band_indexes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Where the bands stand in the image files, counted from 1; None means the first ones, in order."""
    dtype: DataType = "uint8"
    """Type of the band values."""
    resolution_m: float | None = Field(default=None, gt=0)
    """Ground size of a pixel, in metres."""
    class_balance: float = Field(default=0.4, ge=0, le=1)
    """Share of the training windows drawn around an evenly drawn class; the rest are drawn evenly by area."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.band_indexes is not None and len(self.band_indexes) != len(self.bands):
            raise ValueError(f"{len(self.bands)} bands, {len(self.band_indexes)} band_indexes: give one index per band")
        return self


class LossSpec(Spec):
    """Weights of the summed losses."""

    cross_entropy: float = Field(default=1.0, ge=0)
    """Weight of the cross-entropy per pixel."""
    dice: float = Field(default=1.0, ge=0)
    """Weight of one minus the Dice overlap, averaged over the classes present in the batch."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the cross-entropy's target spread evenly over all classes."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cross_entropy == self.dice == 0:
            raise ValueError("all losses have weight 0: give at least one a positive weight")
        return self


class AugmentSpec(Spec):
    """How training windows are varied; spreads are standard deviations, 0 turns a variation off.

    Colours are varied on values scaled so that the lowest and highest value of the set become 0 and 1.
    """

    d4: bool = True
    """Turn by quarter turns and mirror."""
    warp: float = Field(default=0.5, ge=0, le=1)
    """Share of the windows that are also turned freely and scaled."""
    turn_deg: float = Field(default=45.0, ge=0, le=180)
    """Largest free turn, in degrees."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.7, 1.4)
    """Smallest and largest ground size of a pixel, relative to the tiles'."""
    gamma: float = Field(default=0.25, ge=0)
    """Spread of the logarithm of gamma."""
    contrast: float = Field(default=0.2, ge=0)
    """Spread of the logarithm of the contrast."""
    brightness: float = Field(default=0.2, ge=0)
    """Spread of the logarithm of the brightness."""
    saturation: float = Field(default=0.3, ge=0)
    """Spread of the logarithm of the distance of each band from the bands' mean."""
    band_gain: float = Field(default=0.06, ge=0)
    """Spread of the logarithm of brightness, contrast and gamma of each band on its own."""
    band_shift: float = Field(default=0.03, ge=0)
    """Spread of what is added to each band, e.g. haze."""
    band_mix: float = Field(default=0.05, ge=0)
    """Spread of the share of each band that leaks into each other one."""
    noise: float = Field(default=0.03, ge=0)
    """Largest standard deviation of noise per pixel."""
    blur_px: float = Field(default=1.4, ge=0)
    """Largest standard deviation of a Gaussian blur, in pixels."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {self.scale[0]:g},{self.scale[1]:g}: give the smaller one first")
        return self


class TrainSpec(Spec):
    """How a model is trained."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the model, and of its bundle's file."""
    data: DataSpec
    """What it learns from."""
    classes: tuple[ClassSpec, ...] = Field(min_length=2)
    """Classes in the order of the logits; label value 255 means: not labelled."""
    network: NetworkSpec
    """The network."""
    loss: LossSpec = LossSpec()
    """What is minimised."""
    augment: AugmentSpec = AugmentSpec()
    """How the training windows are varied."""
    epochs: int = Field(default=40, ge=1)
    """Rounds; after each one the validation tiles are scored."""
    windows_per_epoch: int = Field(default=400, ge=1)
    """Training windows drawn per epoch."""
    batch_size: int = Field(default=8, ge=1)
    """Windows per step."""
    window: int = Field(default=256, ge=32)
    """Side of a training window, in pixels; a multiple of network.multiple."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Highest learning rate of AdamW; reached after the warm-up, then lowered to zero along a cosine."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's decay of the kernels; biases and normalisation layers are not decayed."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    ema: float = Field(default=0.99, ge=0, lt=1)
    """Decay per step of the running mean of weights and buffers, which is what is scored and kept; 0 turns it off."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")
    """auto, cpu, cuda, cuda:1, or mps."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto takes bf16 where the device has it natively."""
    tile: int = Field(default=1024, ge=32)
    """Largest side of a window when the model predicts, in pixels."""
    overlap: int = Field(default=64, ge=0)
    """Pixels shared by neighbouring windows when the model predicts."""
    card: ModelCard = ModelCard()
    """The model's card; scores and training are filled in by the run."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.window % self.network.multiple:
            raise ValueError(
                f"window {self.window} is not a multiple of {self.network.multiple}, which the network needs: "
                f"take {self.window - self.window % self.network.multiple or self.network.multiple}"
            )
        if len({c.id for c in self.classes}) < len(self.classes):
            raise ValueError("two classes share an id: give each its own")
        return self


def parse_spec(kind: type[SpecT], values: Any, *, source: str) -> SpecT:
    """Validate plain values as a spec.

    Raises:
        SpecError: naming the source, the field, and the remedy, on one line.
    """
    if not isinstance(values, dict):
        raise SpecError(f"{source} holds no settings: write `name: value` lines")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SpecError(f"{source}: {_first_problem(kind, error)}") from None


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        SpecError: if the file is missing, is no YAML, or holds no mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read settings from {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SpecError(f"{path} holds no settings: write `name: value` lines")
    return values


def load_train_spec(path: str | Path) -> TrainSpec:
    """Read a training config; its paths are relative to its own folder.

    Raises:
        SpecError: if the file or one of its settings is wrong.
    """
    spec = parse_spec(TrainSpec, load_yaml(path), source=str(path))
    tiles = Path(path).parent / spec.data.tiles
    return spec.model_copy(update={"data": spec.data.model_copy(update={"tiles": tiles})})


def _first_problem(kind: type[Spec], error: ValidationError) -> str:
    problems = error.errors()
    same = [p for p in problems if p["loc"][:1] == problems[0]["loc"][:1]]
    problem = same[-1]  # of the kinds that a value may have, the last and most general one
    field = ".".join(str(part) for part in problem["loc"] if not isinstance(part, str) or part.isidentifier())
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {field!r}; known here: {', '.join(kind.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch" and (known := kind.model_fields.get(field)) and known.description:
        message = known.description
    value = problem.get("input")
    return f"{field} = {value!r}: {message}" if field else message
