"""The modules of a body whose outputs are its maps of a quarter and an eighth of the image: its early stages.

In: a body of any family. Out: modules to hook, so that what is done to their outputs reaches all later layers as well
as the decoder. They are found by forwarding an image of zeros; weights and names of weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body
from geoseg.models.makers import Makers

STRIDES = 4, 8
"""Pixels of the image per pixel of the maps of early stages."""
SIDE = 64
"""Side of the image of zeros."""


class Stage(NamedTuple):
    """A stage of an encoder."""

    module: nn.Module
    """Gives its map (B, channels, h, w)."""
    channels: int
    """Channels of the map."""


class EarlyStages(NamedTuple):
    """Where features of a body can be changed before later layers see them."""

    entry: nn.Module
    """Takes the image (B, C, H, W), normalised and padded, before any stage."""
    stages: Sequence[Stage]
    """One or two stages."""


def early_stages(body: Body, bands: int) -> EarlyStages:
    """Find the early stages of a body.

    Raises:
        ModelError: if no module gives such a map.
    """
    device = next(body.parameters()).device
    image = torch.zeros(1, bands, *body.sides.fitting((SIDE, SIDE)), device=device)
    entered: list[nn.Module] = []

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and inputs[0] is image:
            entered.append(module)

    hooks = [module.register_forward_pre_hook(enter) for module in body.modules()]
    modes = {module: module.training for module in body.modules()}
    body.eval()
    try:
        with torch.no_grad(), Makers(body) as makers:
            maps = body.encode(image).maps
    finally:
        for handle in hooks:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    found = [(one, _outermost(makers.of(one))) for one in maps if image.shape[-1] // max(one.shape[-1], 1) in STRIDES]
    stages = [Stage(module, one.shape[1]) for one, module in found if module is not None]
    if not stages or not entered:
        raise ModelError(
            "this network has no stage of a quarter or an eighth of the image whose features could be changed: take a "
            "convolutional encoder, e.g. resnet34, or leave out mix_style and semantic_normalization"
        )
    return EarlyStages(entered[0], stages)


def _outermost(makers: Sequence[nn.Module]) -> nn.Module | None:
    """The outermost module that has made a map: it contains the first that gave it, which others may have changed in
    place; an identity that passes it on later does not."""
    around = [outer for outer in makers if any(module is makers[0] for module in outer.modules())]
    return around[-1] if around else None
