"""Licences of encoders and models that forbid commercial use, or are unknown.

In: names, a model's card. Out: a sentence, or nothing. Downloads nothing.
"""

from __future__ import annotations

import re

from geoseg.spec import ModelSpec, NetworkSpec

SEGFORMER = "mit_"
"""Beginning of smp's names of SegFormer's encoders, whose code and weights have one licence."""
SMP_TAGS = {"instagram": "CC BY-NC 4.0", "swsl": "CC BY-NC 4.0", "ssl": "CC BY-NC 4.0"}
"""Tags of smp's weights that may not be used commercially, and their licences."""
NON_COMMERCIAL = "-nc-", "noncommercial", "non-commercial", "apple-amlr", "seer-license", "research-only"
"""Parts of the names of licences that allow research alone, words joined by hyphens."""

UNKNOWN = "nothing says under which licence"
"""How sentences on weights of unknown licence begin."""


def licence_notice(model: ModelSpec) -> str | None:
    """The sentence that results of a model may not be used commercially, or that another's weights have no licence.

    None if nothing is known that forbids it, as of models that were trained here, whose makers know what they allow.
    """
    card = model.card
    weights = card.training.get("encoder_weights")
    encoder = non_commercial(model.network, weights if isinstance(weights, str) else None)
    said = card.licence if forbids_commerce(card.licence) else encoder
    if said is not None:
        return f"licence of the model {model.name}: {said}; what is made with it is for non-commercial use only"
    if UNKNOWN in card.licence or ("imported" in card.training and not card.licence):
        return f"{UNKNOWN} the weights of the model {model.name} are: ask their makers before you pass results on"
    return None


def inherited(start: ModelSpec) -> str | None:
    """The sentence on the licence of a model that training starts from, which that of the new one must say, too."""
    card = start.card
    if forbids_commerce(card.licence):
        return f"weights of {start.name}: {card.licence}, for non-commercial use only, as is a model with them"
    if UNKNOWN in card.licence or ("imported" in card.training and not card.licence):
        return f"{UNKNOWN} the weights of {start.name} are, from which this model learnt on: ask their makers"
    return None


def non_commercial(network: NetworkSpec, weights: str | None) -> str | None:
    """The sentence that an encoder may not be used commercially; None if nothing is known that forbids it.

    Args:
        network: names the encoder.
        weights: tag of its pretrained weights, or a file, whose licence is not known; None for fresh ones.
    """
    encoder = network.encoder
    if encoder.startswith(SEGFORMER):
        licence: str | None = "NVIDIA Source Code License-NC"
    elif weights is None or not encoder:
        licence = None
    else:
        licence = _of_timm(encoder.removeprefix("tu-"), weights) if encoder.startswith("tu-") else SMP_TAGS.get(weights)
    what = f"encoder {encoder}" if weights is None else f"encoder {encoder} ({weights})"
    return licence and f"{what}: {licence}, for non-commercial use only, as is a model with it"


def _of_timm(name: str, tag: str) -> str | None:
    import timm  # takes seconds

    names = [name] if tag == "imagenet" else [f"{name.partition('.')[0]}.{tag}"]
    settings = timm.get_pretrained_cfg(names[0]) if timm.models.is_model_pretrained(names[0]) else None
    licence = settings.license if settings is not None else None
    return licence if licence and forbids_commerce(licence) else None


def forbids_commerce(licence: str) -> bool:
    """Whether the name of a licence says that it allows no commercial use."""
    text = re.sub(r"[\W_]+", "-", f" {licence.lower()} ")
    return any(part in text for part in NON_COMMERCIAL)
