"""The modules of a body whose outputs are its maps of a quarter and an eighth of the image: its early stages.

In: a body of any family. Out: modules to hook, so that what is done to their outputs reaches all later layers as well
as the decoder. They are found by forwarding an image of zeros; weights and names of weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body

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
    seen = _Seen(image)
    hooks = [
        handle
        for module in body.modules()
        for handle in (module.register_forward_pre_hook(seen.enter), module.register_forward_hook(seen.leave))
    ]
    modes = {module: module.training for module in body.modules()}
    body.eval()
    try:
        with torch.no_grad():
            maps = body.encode(image).maps
    finally:
        for handle in hooks:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    found = [(one, seen.source(one)) for one in maps if image.shape[-1] // max(one.shape[-1], 1) in STRIDES]
    stages = [Stage(module, one.shape[1]) for one, module in found if module is not None]
    if not stages or seen.entry is None:
        raise ModelError(
            "this network has no stage of a quarter or an eighth of the image whose features could be changed: take a "
            "convolutional encoder, e.g. resnet34, or leave out mix_style and semantic_normalization"
        )
    return EarlyStages(seen.entry, stages)


class _Seen:
    """What passes the modules of a body while it encodes an image."""

    def __init__(self, image: Tensor):
        self._image = image
        self.entry: nn.Module | None = None
        self._outputs: list[tuple[Tensor, nn.Module]] = []

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.entry is None and inputs and inputs[0] is self._image:
            self.entry = module

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            self._outputs.append((output, module))

    def source(self, wanted: Tensor) -> nn.Module | None:
        """The outermost module that has made a map: it contains the first that gave it, which others may have changed
        in place; an identity that passes it on later does not."""
        makers = [module for output, module in self._outputs if output is wanted]
        around = [outer for outer in makers if any(module is makers[0] for module in outer.modules())]
        return around[-1] if around else None
