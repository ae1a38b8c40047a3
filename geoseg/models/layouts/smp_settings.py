"""Settings of segmentation-models-pytorch's networks, as other tools write them, as geoseg's. Imports smp.

In: the keyword arguments of a class of smp. Out: architecture, encoder and arguments of a NetworkSpec, which build the
network whose weights have the same names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

import segmentation_models_pytorch as smp

from geoseg.core.errors import ModelError, did_you_mean, shown
from geoseg.models.families.timm_names import TIMM
from geoseg.models.layouts.found import count_in
from geoseg.spec.arguments import ARCHITECTURES, EncoderArguments, NetworkArguments

SOFTMAX, SIGMOID, NONE = "softmax", "sigmoid", ""
"""Activations after the head: probabilities of classes that exclude each other, of one or several classes by
themselves, and none."""
ACTIVATIONS: Mapping[str | None, str] = {
    **dict.fromkeys(("softmax", "softmax2d", "logsoftmax", "argmax", "argmax2d"), SOFTMAX),
    "sigmoid": SIGMOID,
    **dict.fromkeys((None, "identity"), NONE),
}
"""By smp's names."""
NOT_OF_THE_NETWORK = {"in_channels", "classes", "encoder_name", "encoder_weights", "activation", "aux_params"}
"""Keywords that are no arguments of a NetworkSpec."""
CLASSES = {kind.__name__.lower(): name for name, kind in smp.MODEL_ARCHITECTURES_MAPPING.items()}
"""Architectures by the names of smp's classes in lower case: deeplabv3plus, ..."""
CLASSIFIER = "classification_head."
"""Begin of the names of weights that classify whole images."""


def architecture_of(name: str, source: str) -> str:
    """The architecture that smp's class or `create_model` has under a name.

    Raises:
        ModelError: if smp has none, with the nearest.
    """
    word = name.lower().replace("deeplabv3+", "deeplabv3plus")
    found = CLASSES.get(word) or (word if word in ARCHITECTURES else None)
    if found is None:
        raise ModelError(
            f"{source} is a network {shown(name)}, which segmentation-models-pytorch does not have"
            f"{did_you_mean(word, ARCHITECTURES)}: geoseg imports {', '.join(ARCHITECTURES)}"
        )
    return found


def network_settings(architecture: str, keywords: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Encoder and arguments, as fields of an ImportSpec, from the keywords of an architecture's class.

    Arguments that are smp's defaults are left out.

    Raises:
        ModelError: if a keyword is unknown or makes no sense, or the head ends in an activation that logits cannot
            replace.
    """
    check_activation(keywords.get("activation"), count_in(keywords, "classes", source) or 2, source)
    parameters = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[architecture]).parameters
    encoder = str(keywords.get("encoder_name", parameters["encoder_name"].default))
    known = {*get_type_hints(NetworkArguments)} & {*parameters}
    known |= {*get_type_hints(EncoderArguments)} if encoder.startswith(TIMM) else set()
    known |= {"decoder_use_batchnorm"}  # the former name of decoder_use_norm
    arguments: dict[str, Any] = {}
    for name, value in keywords.items():
        if name in NOT_OF_THE_NETWORK or name.startswith("_"):
            continue
        if name not in known:
            raise ModelError(
                f"{source} builds {architecture} with {shown(name)}, which geoseg does not know: without it, it would "
                "be another network"
            )
        default = parameters[name].default if name in parameters else None
        if value != (list(default) if isinstance(default, tuple) else default):
            arguments[name] = value
    if arguments.get("decoder_use_batchnorm") is True:
        del arguments["decoder_use_batchnorm"]
    return {"architecture": architecture, "encoder": encoder, "arguments": arguments}


def check_activation(activation: Any, classes: int, source: str) -> None:
    """Refuse a head whose outputs are no logits of classes that exclude each other.

    Raises:
        ModelError: with the reason.
    """
    if not isinstance(activation, str | None) or activation not in ACTIVATIONS:
        raise ModelError(f"{source} ends in the activation {shown(activation)}: geoseg takes softmax, sigmoid or none")
    if ACTIVATIONS[activation] == SIGMOID and classes > 1:
        raise ModelError(
            f"{source} gives {classes} classes that may overlap (sigmoid): geoseg's models give each pixel one class"
        )


def activation_notice(activation: Any) -> tuple[str, ...]:
    """The notice that an activation is dropped; none where there is none."""
    if ACTIVATIONS[activation] == NONE:
        return ()
    return (f"the activation {activation} behind the head is dropped: geoseg makes probabilities of the logits itself",)


def preprocessing_hints(encoder: str, weights: Any) -> dict[str, str]:
    """How images for the pretrained weights of an encoder are normalised, for 8 bits; nothing for fresh ones."""
    if not isinstance(weights, str):
        return {}
    try:
        found = smp.encoders.get_preprocessing_params(encoder, weights)
    except (KeyError, ValueError, RuntimeError):  # of no encoder that smp knows
        return {}
    top = 255 / (found["input_range"] or [0, 1])[1]
    return {
        name: f"[{', '.join(f'{value * top:.6g}' for value in found[name])}] was that of the encoder's {weights} "
        "weights, for 8 bits"
        for name in ("mean", "std")
    }
