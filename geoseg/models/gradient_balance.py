"""Gradients of several branches of a computation, rescaled to equal norms.

In: one tensor per branch. Out: the same values. Gradients of different sizes would let one branch learn at the expense
of the others where they share weights. F2Net (CVPR 2026) balances the norms of its branches' gradients by a loss of
their own; here they are set equal, which needs neither a weight nor a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def balanced(values: Sequence[Tensor]) -> list[Tensor]:
    """Return the same values; their gradients are rescaled to the mean of their norms. Gradients of 0 stay 0."""
    return list(_Balance.apply(*values)) if len(values) > 1 else list(values)


class _Balance(Function):
    """The identity, with rescaled gradients."""

    @staticmethod
    def forward(context: Any, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.view_as(one) for one in values)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        norms = torch.stack([one.float().norm() for one in gradients])
        factors = torch.where(norms > 0, norms.mean() / norms, 1.0)
        return tuple((one * factor).to(one.dtype) for one, factor in zip(gradients, factors, strict=True))
