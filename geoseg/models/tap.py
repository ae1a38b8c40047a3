"""Takes what passes a module of a network while it is trained. Knows no module's meaning.

In: a module. Out: its output, or its input, of the batch that was forwarded last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Pick = Callable[[Any], Any]


class Tap:
    """What passes a module, kept by a forward hook until it is taken.

    Nothing is kept without gradients, as networks are scored. The module's parameters and its state dict stay as they
    are; copies of it copy the hook too, and what they keep is their own.
    """

    def __init__(self, module: nn.Module, *, of_input: bool = False, if_frozen: bool = False, pick: Pick | None = None):
        """Hook a module.

        Args:
            of_input: keep its first input instead of its output.
            if_frozen: also keep what passes in evaluation mode, as of a frozen part in training.
            pick: gives the part that is kept; None keeps all. It can be copied and pickled, as the network can.
        """
        self._if_frozen, self._pick = if_frozen, pick
        self._kept: Any = None
        if of_input:
            module.register_forward_pre_hook(self._keep_input)
        else:
            module.register_forward_hook(self._keep_output)

    def take(self) -> Any:
        """What passed last; None if nothing did since the last call."""
        kept, self._kept = self._kept, None
        return kept

    def _keep_input(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._keep(module, inputs[0])

    def _keep_output(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._keep(module, output)

    def _keep(self, module: nn.Module, value: Any) -> None:
        is_learnt = torch.is_grad_enabled() and (module.training or self._if_frozen)
        if not is_learnt:
            self._kept = None
        else:
            self._kept = value if self._pick is None else self._pick(value)
