"""Settings of a network."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Field,
    PlainSerializer,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from geoseg.spec.arguments import ARCHITECTURES, NetworkArguments
from geoseg.spec.base import LARGEST_MULTIPLE, Name, Spec, Word


def _by_architecture(value: Any, known: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Validate the arguments of smp's architectures; those of any other are validated by its family."""
    architecture = str(info.data.get("architecture", "")).lower()
    return known(value) if architecture in ARCHITECTURES or not isinstance(value, dict) else value


def _as_it_is(arguments: dict[str, Any]) -> dict[str, Any]:
    """Serialise arguments unchanged: those of other packages' networks have names that are unknown here."""
    return arguments


class NetworkSpec(Spec):
    """The architecture and encoder of a network, and the arguments to build it."""

    architecture: Name
    """One of the networks that `geoseg models` lists, e.g. unet; may also be given as `name`."""
    encoder: Word = ""
    """Encoder name of segmentation-models-pytorch, e.g. resnet18 or tu-convnext_atto; empty for a network that has its
    own."""
    arguments: Annotated[NetworkArguments, WrapValidator(_by_architecture), PlainSerializer(_as_it_is)] = Field(
        default=NetworkArguments()
    )
    """Further settings of the network, e.g. encoder_depth (`geoseg models NAME` shows them), and of timm's encoder,
    e.g. img_size."""
    semantic_normalization: bool = False
    """Semantic-aware normalisation and whitening (SAN & SAW; Peng et al. 2022) of the encoder's maps of a quarter and
    an eighth of the image, for regions that the training images do not show: features of each class are normalised by
    themselves, over pixels with data, and three small losses of these maps are added to that of the training method."""
    multiple: int = Field(default=32, ge=1, le=LARGEST_MULTIPLE)
    """Sides of windows when the model predicts, and steps between them, are multiples of this many pixels: the stride
    of the network, so that its answer does not depend on where windows start. Images of other sizes are padded for
    it."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        """Take `name` for `architecture`."""
        if not isinstance(values, dict) or "name" not in values or "architecture" in values:
            return values
        return {"architecture": values["name"]} | {key: value for key, value in values.items() if key != "name"}
