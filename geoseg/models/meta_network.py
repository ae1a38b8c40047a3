"""Networks on PyTorch's meta device: names, shapes and types of weights, without memory for them.

In: a ModelSpec. Out: the network, its weights without storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.spec import ModelSpec

MOST_TABLES = 2**29
"""Most bytes of the buffers that a network keeps besides its weights, such as the masks of shifted windows."""


def build_meta_network(spec: ModelSpec) -> nn.Module:
    """Build the network that a spec names on the meta device.

    Raises:
        ModelError: if it cannot be built, or its tables would exceed `MOST_TABLES`.
    """
    with meta_device():
        network = build_network(spec, fresh=False)
    everything = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    if everything - weights > MOST_TABLES:
        raise ModelError(
            f"{spec.network.architecture} {spec.network.encoder} would keep tables of "
            f"{(everything - weights) / 1e9:,.1f} GB besides its weights: take a smaller img_size or window_size"
        )
    return network


@contextmanager
def meta_device() -> Iterator[None]:
    """Networks built in this context have weights without storage; what they make of images on that device, too."""
    with torch.device("meta"), _CountOnCpu():
        yield


class _CountOnCpu(TorchFunctionMode):
    """Makes torch.linspace on the CPU, where its values exist: networks take drop rates per layer from them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        return func(*args, **(kwargs or {}) | ({"device": "cpu"} if func is torch.linspace else {}))
