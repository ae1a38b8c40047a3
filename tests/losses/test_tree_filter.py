"""The tree filter against a sum over all paths of a tree that scipy finds, and its gradients against differences."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path

from geoseg.losses.trees.tree_filter import SpanningTrees, squared_distances, tree_filter

SIZES = [(6, 6), (1, 7), (7, 1), (1, 1), (2, 3), (5, 4)]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def everywhere(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.ones(count, height, width, dtype=torch.bool)


def path_affinities(features: np.ndarray, sigma: float) -> np.ndarray:
    """A_ij (n, n) of one image's features (F, h, w), all of whose edges have different weights."""
    _, height, width = features.shape
    pixels = features.reshape(len(features), -1)
    numbers = np.arange(height * width).reshape(height, width)
    first = np.concatenate([numbers[:, :-1].ravel(), numbers[:-1].ravel()])
    second = np.concatenate([numbers[:, 1:].ravel(), numbers[1:].ravel()])
    weights = ((pixels[:, first] - pixels[:, second]) ** 2).sum(axis=0)
    tree = minimum_spanning_tree(csr_array((weights, (first, second)), shape=(height * width,) * 2))
    return np.exp(-shortest_path(tree, directed=False) / sigma)


def brute_force(values: torch.Tensor, features: torch.Tensor, sigma: float) -> torch.Tensor:
    """What the filter is defined as: a matrix product for each image."""
    averages = []
    for one, seen in zip(values, features, strict=True):
        affinities = torch.from_numpy(path_affinities(seen.numpy(), sigma))
        averages.append((one.flatten(1) @ affinities / affinities.sum(dim=1)).view_as(one))
    return torch.stack(averages)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sigma", [0.02, 1.0])
def test_the_filter_is_the_sum_over_all_paths(size: tuple[int, int], sigma: float) -> None:
    values, features = drawn(3, 4, *size), drawn(3, 2, *size, seed=1)
    found = tree_filter(values, features, everywhere(*size, 3), sigma)
    torch.testing.assert_close(found, brute_force(values, features, sigma), rtol=0, atol=1e-12)


def test_the_sum_over_all_paths_of_a_larger_image() -> None:
    values, features = drawn(1, 2, 24, 19), drawn(1, 3, 24, 19, seed=1)
    found = tree_filter(values, features, everywhere(24, 19), 0.1)
    torch.testing.assert_close(found, brute_force(values, features, 0.1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(3, 4), (1, 3)])
def test_gradients_are_those_of_the_filter(size: tuple[int, int]) -> None:
    values, features = drawn(2, 2, *size).requires_grad_(), drawn(2, 2, *size, seed=1).requires_grad_()
    data = everywhere(*size, 2)
    data[1, 0, 1] = False
    assert torch.autograd.gradcheck(lambda v, f: tree_filter(v, f, data, 0.5), (values, features))
    assert torch.autograd.gradcheck(lambda v: tree_filter(v, features.detach(), data, 0.5), (values,))
    assert torch.autograd.gradcheck(lambda v: tree_filter(tree_filter(v, v, data), features, data, 0.3), (values,))


def test_sums_along_paths_are_symmetric() -> None:
    features = drawn(1, 2, 5, 6)
    sums = torch.from_numpy(path_affinities(features[0].numpy(), 1.0)).sum(dim=1).view(1, 1, 5, 6)
    one, other = drawn(1, 1, 5, 6, seed=1), drawn(1, 1, 5, 6, seed=2)

    def summed(values: torch.Tensor) -> torch.Tensor:
        return tree_filter(values, features, everywhere(5, 6)) * sums

    torch.testing.assert_close((one * summed(other)).sum(), (other * summed(one)).sum(), rtol=0, atol=1e-12)


def test_a_constant_image_gives_the_mean_everywhere() -> None:
    values = drawn(2, 3, 8, 9)
    found = tree_filter(values, torch.full((2, 3, 8, 9), 0.4, dtype=torch.float64), everywhere(8, 9, 2), 0.02)
    torch.testing.assert_close(found, values.mean(dim=(2, 3), keepdim=True).expand_as(values), rtol=0, atol=1e-12)


def test_constant_values_stay() -> None:
    values = torch.full((1, 2, 16, 16), 0.3)
    torch.testing.assert_close(tree_filter(values, drawn(1, 3, 16, 16).float(), everywhere(16, 16)), values)


def test_flat_regions_do_not_mix_over_a_strong_edge() -> None:
    features, values = torch.zeros(1, 1, 10, 12, dtype=torch.float64), drawn(1, 2, 10, 12)
    features[..., 5:] = 1.0
    found = tree_filter(values, features, everywhere(10, 12), 0.02)
    for side in (slice(0, 5), slice(5, 12)):
        mean = values[..., side].mean(dim=(2, 3), keepdim=True).expand_as(values[..., side])
        torch.testing.assert_close(found[..., side], mean, rtol=0, atol=1e-12)


def test_pixels_without_data_keep_their_values_and_divide_what_they_lie_between() -> None:
    values, features, data = drawn(1, 2, 6, 9), torch.zeros(1, 1, 6, 9, dtype=torch.float64), everywhere(6, 9)
    data[..., 4] = False
    found = tree_filter(values, features, data)
    torch.testing.assert_close(found[..., 4], values[..., 4], rtol=0, atol=0)
    for side in (slice(0, 4), slice(5, 9)):
        mean = values[..., side].mean(dim=(2, 3), keepdim=True).expand_as(values[..., side])
        torch.testing.assert_close(found[..., side], mean, rtol=0, atol=1e-12)


def test_a_tree_reaches_each_pixel_once_and_parents_come_first() -> None:
    features = drawn(2, 3, 7, 5)
    trees = SpanningTrees.of(squared_distances(features, everywhere(7, 5, 2)), 7, 5)
    assert trees.nodes.sort(dim=1).values.tolist() == [list(range(35))] * 2
    assert (trees.parents < torch.arange(1, 35)).all()
    assert all(len(set(one)) == 34 for one in trees.edges.tolist())


@pytest.mark.parametrize("threads", [1, 2])
def test_types_and_images_of_a_batch_are_kept_apart(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    values, features = drawn(3, 2, 6, 6), drawn(3, 3, 6, 6, seed=1)
    together = tree_filter(values.float(), features.float(), everywhere(6, 6, 3))
    assert together.dtype == torch.float32
    for one in range(3):
        alone = tree_filter(values[one : one + 1].float(), features[one : one + 1].float(), everywhere(6, 6))
        assert torch.equal(alone[0], together[one])
