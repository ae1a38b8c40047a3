"""Attention between all pixels of feature maps, in memory that does not grow with the square of their number.

In: queries, keys and values. Out: for each query the mean of the values, weighted by softmax(query · key).

A map of 128 × 128 pixels (a window of 1024 pixels at stride 8) has 16,384² affinities: 1 GiB per image in fp32, and as
much for each copy that a backward pass keeps. So queries are answered in groups, and in training the affinities of a
group are computed once more when its gradients are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

MOST_AFFINITIES = 2**24
"""Most affinities in memory at once, of all images of a batch: 64 MiB in fp32."""


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(Q Kᵀ) V of queries (B, N, C), keys (B, M, C) and values (B, M, V): (B, N, V)."""
    group = max(1, MOST_AFFINITIES // (keys.shape[0] * keys.shape[1]))
    if group >= queries.shape[1]:
        return _attend(queries, keys, values)
    answers = [_answer(some, keys, values) for some in torch.split(queries, group, dim=1)]
    return torch.cat(answers, dim=1)


def _answer(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The answers to a group of queries; with gradients, its affinities are not kept."""
    if not torch.is_grad_enabled():
        return _attend(queries, keys, values)
    answers: Tensor = checkpoint(_attend, queries, keys, values, use_reentrant=False)
    return answers


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (queries @ keys.transpose(1, 2)).softmax(dim=2) @ values
