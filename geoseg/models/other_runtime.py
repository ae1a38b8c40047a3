"""Networks that another library than PyTorch computes. In: band values (B, C, H, W). Out: logits (B, K, H, W)."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import nn

from geoseg.core.errors import SpecError


class OtherRuntime(nn.Module):
    """A network of another runtime, on the devices that this offers, in the arithmetic that its file prescribes."""

    precision: str
    """Arithmetic: fp32 or fp16."""
    weights_count: int
    """Number of its weights, which are no parameters of the module."""

    @abstractmethod
    def runs_on(self, device: torch.device) -> bool:
        """Whether the runtime of this machine computes on a kind of device."""

    def checked_precision(self, wanted: str) -> str:
        """The arithmetic, where `wanted` is it or auto.

        Raises:
            SpecError: if another one is wanted.
        """
        if wanted not in ("auto", self.precision):
            raise SpecError(
                f"precision {wanted}: this model computes in {self.precision}, as exported: leave --precision out"
            )
        return self.precision


def count_weights(network: nn.Module) -> int:
    """Number of a network's weights."""
    if isinstance(network, OtherRuntime):
        return network.weights_count
    return sum(parameter.numel() for parameter in network.parameters())
