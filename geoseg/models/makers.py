"""Which modules of a network give a tensor. In: a network, while it is watched. Out: modules, as they were called."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn


class Makers:
    """What the modules of a network give while it is watched; used with `with`."""

    def __init__(self, network: nn.Module):
        self._network, self._found, self._handles = network, list[tuple[nn.Module, Any]](), list[Any]()

    def __enter__(self) -> Self:
        self._handles = [one.register_forward_hook(self._see) for one in self._network.modules()]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _see(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        self._found.append((module, output))

    def of(self, wanted: Tensor) -> list[nn.Module]:
        """The modules that gave a tensor, the first one first, which others may have changed in place."""
        return [module for module, output in self._found if output is wanted]
