"""A filter along the minimum spanning tree of each image: nearby pixels and those of one object average, others do not.

Song et al. 2019, "Learnable Tree Filter for Structure-preserving Feature Transform"; Liang et al. 2022, "Tree Energy
Loss: Towards Sparsely Annotated Semantic Segmentation", section 3.2. In: values (B, C, h, w), and features (B, F, h, w)
whose differences say which neighbours are alike. Out: filtered values (B, C, h, w). Exact, in time linear in the pixels
but for sorting the edges; on the CPU, in float64, wherever its inputs are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from geoseg.losses.trees.loops import fill_slopes, grow_tree, sum_along_paths


def tree_filter(values: Tensor, features: Tensor, holds_data: Tensor, sigma: float = 1.0) -> Tensor:
    """Average values (B, C, h, w) over all pixels j of their image, weighted by affinities A_ij.

    The affinity of neighbours in the tree is exp(-|f_i - f_j|² / sigma), that of others the product along their path.
    The tree is that of the least sum of |f_i - f_j|² over its edges; it has no gradient, while `values` and `features`
    have.

    Args:
        values: what is filtered.
        features: (B, F, h, w).
        holds_data: pixels that are not empty (B, h, w), bool. Between others and their neighbours, the affinity is 0.
        sigma: the smaller, the less do neighbours that differ share.
    """
    distances = squared_distances(features, holds_data).cpu().double()
    trees = SpanningTrees.of(distances, *values.shape[-2:])
    return trees.averages(values.cpu().double(), (-distances / sigma).exp()).to(values.device, values.dtype)


def squared_distances(features: Tensor, holds_data: Tensor) -> Tensor:
    """|f_i - f_j|² (B, E) of features (B, F, h, w) of neighbours, infinite where one is empty; see `loops`."""
    features = features.contiguous()  # sums over channels that lie side by side take twice as long

    def along(dim: int) -> Tensor:
        count = features.shape[dim] - 1
        squares = (features.narrow(dim, 1, count) - features.narrow(dim, 0, count)).square().sum(dim=1)
        both = holds_data.narrow(dim - 1, 1, count) & holds_data.narrow(dim - 1, 0, count)
        return squares.masked_fill(~both, torch.inf).flatten(1)

    return torch.cat([along(3), along(2)], dim=1)


@dataclass(frozen=True)
class SpanningTrees:
    """The minimum spanning tree of each image of a batch, on the CPU; see `loops`."""

    nodes: Tensor
    """Pixel of each node (B, n), int64."""
    parents: Tensor
    """Place of the parent of each node but the root (B, n - 1), int64."""
    edges: Tensor
    """Edge between each node but the root and its parent (B, n - 1), int64."""

    @classmethod
    def of(cls, weights: Tensor, height: int, width: int) -> SpanningTrees:
        """The trees of images (h, w), given the weights of all edges (B, E) on the CPU.

        Of edges of equal weights, the first ones are taken.
        """
        order = weights.detach().sort(dim=1, stable=True).indices
        nodes = order.new_empty(len(order), height * width)
        parents, edges = torch.empty_like(nodes[:, 1:]), torch.empty_like(nodes[:, 1:])
        _for_each_image(partial(grow_tree, width), order, nodes, parents, edges)
        return cls(nodes, parents, edges)

    def averages(self, values: Tensor, affinities: Tensor) -> Tensor:
        """Averages of values (B, C, h, w), weighted by products of affinities of neighbours (B, E); all float64."""
        ordered = values.flatten(2).transpose(1, 2).take_along_dim(self.nodes.unsqueeze(2), dim=1)
        counted = torch.cat([ordered, torch.ones_like(ordered[..., :1])], dim=2)
        sums = _sums_along_paths(counted, affinities.take_along_dim(self.edges, dim=1), self.parents)
        pixels = (sums[..., :-1] / sums[..., -1:]).take_along_dim(self.nodes.argsort(dim=1).unsqueeze(2), dim=1)
        return pixels.transpose(1, 2).reshape(values.shape)


class _SumsAlongPaths(Function):
    """Sums (B, n, C) of the values (B, n, C) of all nodes, weighted by the products of affinities (B, n - 1) on paths.

    The products are a symmetric matrix, so that values have the sums of the gradients as gradient.
    """

    @staticmethod
    def forward(context: Any, values: Tensor, affinities: Tensor, parents: Tensor) -> Tensor:
        up, down = _up_and_down(values, affinities, parents)
        context.save_for_backward(up, down, affinities, parents)
        return down

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        up, down, affinities, parents = context.saved_tensors
        gradients = _up_and_down(gradient, affinities, parents)
        if not context.needs_input_grad[1]:
            return gradients[1], None, None
        slopes = torch.empty_like(affinities)
        _for_each_image(fill_slopes, affinities, parents, up, down, *gradients, slopes)
        return gradients[1], slopes, None


def _sums_along_paths(values: Tensor, affinities: Tensor, parents: Tensor) -> Tensor:
    sums: Tensor = _SumsAlongPaths.apply(values, affinities, parents)
    return sums


def _up_and_down(values: Tensor, affinities: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
    values = values.contiguous()
    up, down = torch.empty_like(values), torch.empty_like(values)
    _for_each_image(sum_along_paths, values, affinities, parents, up, down)
    return up, down


def _for_each_image(function: Callable[..., None], *batches: Tensor) -> None:
    """Call a function with the arrays of each image of several batches, in as many threads as torch has."""
    images = zip(*(batch.detach().numpy() for batch in batches), strict=True)
    threads = min(len(batches[0]), torch.get_num_threads())
    if threads < 2:  # starting one thread takes longer than a small image
        for arrays in images:
            function(*arrays)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda arrays: function(*arrays), images))
