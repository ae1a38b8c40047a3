"""A state dict alone: tensors by name, in a file or in the only file of weights of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError, shown
from geoseg.models.layouts.cards import licence_of
from geoseg.models.layouts.found import Example, Found, example_says, said, stripped
from geoseg.models.layouts.source import Source
from geoseg.models.layouts.torchvision_names import is_deeplab, network_of, under_own_names

WRAPPERS = "module.", "_orig_mod.", "model.", "net.", "network."
"""Prefixes that every name may have: of modules around the network, such as DataParallel, torch.compile, a trainer."""

OF_GEOSEG = {"normalize.mean", "normalize.std"}
"""Names of weights in geoseg's own bundles."""
OF_TIMM = "pretrained_cfg"
"""Key of config.json in folders of timm's encoders."""


class StateDict:
    """Reads any weights; which network they are of must be said, but for torchvision's DeepLabV3."""

    title = "weights alone"

    def recognises(self, source: Source) -> bool:
        """By tensors with names."""
        return bool(source.weights)

    def read(self, source: Source) -> Found:
        """The weights, without prefixes that all of their names have.

        Raises:
            ModelError: if it is a bundle of geoseg, or a folder of timm, with an encoder alone.
        """
        if source.weights.keys() >= OF_GEOSEG:
            raise ModelError(f"{source.shown} is a bundle of geoseg already: use it as it is, with --model")
        config = source.settings("config.json")
        if OF_TIMM in config:
            raise ModelError(
                f"{source.shown} is an encoder alone, timm's {shown(config.get('architecture'), quoted=False)}, which "
                f"has no classes: train with it, encoder_weights: {source.shown}"
            )
        weights, prefix = unwrapped(source.weights)
        notices: tuple[str, ...] = (
            (f"the names of the weights begin with {prefix}, which is left out",) if prefix else ()
        )
        says: dict[str, Any] = {"licence": licence_of(source)}
        if is_deeplab(weights):
            says |= network_of(weights)
            weights, more = under_own_names(weights)
            notices += more
        return Found(weights, said(says, source.shown), notices=notices)

    def example(self, folder: Path) -> Example:
        """An FPN over timm's smallest ResNet, as `torch.save(model.state_dict())` writes it."""
        import segmentation_models_pytorch as smp
        import torch

        model = smp.FPN("tu-test_resnet", encoder_weights=None, classes=4)
        torch.save(model.state_dict(), folder / "weights.pth")
        return Example(folder / "weights.pth", example_says(architecture="fpn", encoder="tu-test_resnet"))


def unwrapped(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Weights without prefixes of `WRAPPERS` that all of their names have, and these prefixes."""
    found = dict(weights)
    prefix = ""
    while begin := next((one for one in WRAPPERS if found and all(name.startswith(one) for name in found)), ""):
        found, prefix = stripped(found, begin), prefix + begin
    return found, prefix


STATE_DICT = StateDict()
