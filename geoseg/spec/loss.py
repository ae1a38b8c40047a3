"""Settings of the loss, a weighted sum of registered losses."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from geoseg.core.errors import did_you_mean
from geoseg.core.registry import Registry
from geoseg.spec.base import Spec

Weight = Annotated[float, Field(ge=0)]
LOSSES: Registry[Any] = Registry(
    "loss",
    "geoseg.losses",
    {
        "cross_entropy": "geoseg.losses.cross_entropy:CrossEntropy",
        "ohem": "geoseg.losses.ohem:Ohem",
        "focal": "geoseg.losses.focal:Focal",
        "dice": "geoseg.losses.dice:Dice",
        "jaccard": "geoseg.losses.jaccard:Jaccard",
        "tversky": "geoseg.losses.tversky:Tversky",
        "lovasz": "geoseg.losses.lovasz:Lovasz",
        "generalized_cross_entropy": "geoseg.losses.generalized_cross_entropy:GeneralizedCrossEntropy",
    },
)
"""Losses by name; each is a `geoseg.losses.loss.Loss`."""
PARAMETERS = {
    ("cross_entropy", "label_smoothing"): "label_smoothing",
    ("ohem", "threshold"): "ohem_threshold",
    ("ohem", "share"): "ohem_share",
    ("focal", "gamma"): "focal_gamma",
    ("tversky", "alpha"): "tversky_alpha",
    ("tversky", "beta"): "tversky_beta",
    ("generalized_cross_entropy", "q"): "generalized_q",
}
"""Fields of `LossSpec` that hold a parameter of a loss."""


class LossTerm(Spec):
    """One term of the sum: its weight, and its parameters, which the loss validates when it is built."""

    model_config = ConfigDict(extra="allow")

    weight: Weight = 1.0
    """Weight in the sum."""

    @model_validator(mode="before")
    @classmethod
    def _from_weight(cls, value: Any) -> Any:
        return value if isinstance(value, dict | LossTerm) else {"weight": value}

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters by name."""
        return dict(self.model_extra or {})


class LossSpec(Spec):
    """Weights of the losses that are summed, and their settings. A loss of another installed package is named likewise;
    any may be written `name: {weight: 1.0, parameter: value}`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, LossTerm] = Field(init=False)

    cross_entropy: Weight = 1.0
    """Weight of the cross-entropy per pixel."""
    ohem: Weight = 0.0
    """Weight of the cross-entropy of hard pixels only (online hard example mining)."""
    focal: Weight = 0.0
    """Weight of the focal loss."""
    dice: Weight = 1.0
    """Weight of one minus the Dice overlap, averaged over the classes present in the batch."""
    jaccard: Weight = 0.0
    """Weight of one minus the Jaccard overlap (a soft IoU), averaged likewise."""
    tversky: Weight = 0.0
    """Weight of one minus the Tversky overlap, averaged likewise."""
    lovasz: Weight = 0.0
    """Weight of the Lovász-softmax loss."""
    generalized_cross_entropy: Weight = 0.0
    """Weight of the generalised cross-entropy, which wrong labels mislead less: for coarse or doubtful labels, with
    cross_entropy and dice at 0."""
    auxiliary: Weight = 0.0
    """Weight of the same losses on a second head at the encoder's last stage but one, which only training has."""
    class_weights: Literal["none", "inverse", "sqrt_inverse", "median_frequency"] | tuple[Weight, ...] = "none"
    """How the classes count in cross_entropy, ohem, focal and generalized_cross_entropy: by their frequency in the
    training labels, or as given in the order of `classes`."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target of cross_entropy that is spread uniformly over all classes."""
    ohem_threshold: float = Field(default=0.7, gt=0, le=1)
    """Pixels whose true class has less than this probability are hard."""
    ohem_share: float = Field(default=0.0625, gt=0, le=1)
    """Least share of the labelled pixels that count as hard."""
    focal_gamma: Weight = 2.0
    """Focusing parameter of focal: how strongly well-classified pixels are down-weighted."""
    tversky_alpha: Weight = 0.3
    """Weight of false positives of a class."""
    tversky_beta: Weight = 0.7
    """Weight of false negatives of a class."""
    generalized_q: float = Field(default=0.7, gt=0, le=1)
    """Exponent of generalized_cross_entropy: near 0 it is cross-entropy, at 1 the mean absolute error."""

    @classmethod
    def known_settings(cls) -> list[str]:
        """The fields, and the registered losses without a field."""
        return [*cls.model_fields, *(name for name in LOSSES if name not in cls.model_fields)]

    @model_validator(mode="before")
    @classmethod
    def _flattened(cls, values: Any) -> Any:
        """Move parameters written below their loss to their fields; refuse unknown losses."""
        if not isinstance(values, dict):
            return values
        flat: dict[Any, Any] = {}
        for name, value in values.items():
            if name not in cls.model_fields and name not in LOSSES and isinstance(name, str):
                raise _problem("extra_forbidden", (name,), value)
            is_nested = name in cls._weights() and isinstance(value, dict)
            flat |= _flat(name, value, values) if is_nested else {name: value}
        return flat

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.terms:
            raise ValueError(f"all losses have weight 0: give one of {', '.join(LOSSES)} a positive weight")
        if not isinstance(self.class_weights, str) and not any(self.class_weights):
            raise ValueError("all class_weights are 0: give at least one class a positive weight")
        if self.tversky and self.tversky_alpha == self.tversky_beta == 0:
            raise ValueError("tversky_alpha and tversky_beta are both 0: raise one of them")
        return self

    @property
    def terms(self) -> dict[str, LossTerm]:
        """Losses with a weight above 0, by name."""
        fields = {name: LossTerm(weight=getattr(self, name), **self._own(name)) for name in self._weights()}
        return {name: term for name, term in (fields | self.__pydantic_extra__).items() if term.weight}

    @classmethod
    def _weights(cls) -> list[str]:
        """Fields that hold the weight of a loss."""
        return [name for name in LOSSES.own if name in cls.model_fields]

    def _own(self, name: str) -> dict[str, Any]:
        """Parameters of a loss that has a field."""
        return {parameter: getattr(self, field) for (of, parameter), field in PARAMETERS.items() if of == name}


def _flat(name: str, settings: dict[Any, Any], others: dict[Any, Any]) -> dict[Any, Any]:
    """Fields for a loss that is written with its parameters below it."""
    own = {parameter: field for (of, parameter), field in PARAMETERS.items() if of == name}
    known = {"weight": name, **own}
    for parameter, value in settings.items():
        if parameter not in known:
            meant = did_you_mean(str(parameter), known)
            text = f"{name} has no such setting{meant}; known here: {', '.join(known)}"
            raise _problem(PydanticCustomError("unknown_parameter", "{text}", {"text": text}), (name, parameter), value)
        if parameter != "weight" and own[parameter] in others:
            text = f"this is loss.{own[parameter]}, which is given too: keep one of them"
            raise _problem(PydanticCustomError("twice", "{text}", {"text": text}), (name, parameter), value)
    return {name: 1.0} | {known[parameter]: value for parameter, value in settings.items()}


def _problem(kind: str | PydanticCustomError, place: tuple[Any, ...], value: Any) -> ValidationError:
    return ValidationError.from_exception_data("LossSpec", [InitErrorDetails(type=kind, loc=place, input=value)])
