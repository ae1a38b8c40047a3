"""Networks whose weights are read next are built without drawing any: that takes as long as reading them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

_DRAWING = frozenset({
    init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_,
    init.kaiming_normal_, init.orthogonal_, init.sparse_, Tensor.uniform_, Tensor.normal_,
})  # fmt: skip


@contextmanager
def arbitrary_weights() -> Iterator[None]:
    """Weights that are drawn in this context are whatever their memory holds."""
    with _DrawNothing():
        yield


class _DrawNothing(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, unless it draws values."""
        if func in _DRAWING:
            return args[0] if args else next(iter((kwargs or {}).values()))
        return func(*args, **(kwargs or {}))
