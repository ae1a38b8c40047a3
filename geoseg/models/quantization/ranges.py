"""Ranges of the values that the convolutions of a network take and give, as a bundle holds them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown

Ranges = Mapping[str, Tensor]
"""Least and largest values of channels, and of inputs their mean, too (2 or 3, C), by "name of the convolution/inputs"
and ".../outputs"."""
INPUTS, OUTPUTS = "/inputs", "/outputs"


def check_ranges(network: nn.Module, ranges: Ranges, path: str) -> None:
    """Refuse ranges that are not those of a network's convolutions.

    Raises:
        ModelError: if there are any.
    """
    body = getattr(network, "body", network)
    sizes: dict[str, tuple[int, int]] = {}
    for name, layer in body.named_modules():
        if isinstance(layer, nn.Conv2d):
            sizes |= {name + INPUTS: (3, layer.in_channels), name + OUTPUTS: (2, layer.out_channels)}
    for name, values in ranges.items():
        pair = {name.rpartition("/")[0] + end for end in (INPUTS, OUTPUTS)}
        if sizes.get(name) != tuple(values.shape) or not pair <= ranges.keys() or bool((values[0] > values[1]).any()):
            raise ModelError(
                f"{path} is damaged: its ranges for 8-bit integers ({shown(name)}) are not those of its network: take "
                "another copy of it"
            )
