"""Cross-consistency training: what perturbations do to features, and which decoders learn from which."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.methods import a_batch, make

from geoseg.core.errors import SpecError
from geoseg.models.families.body import Features
from geoseg.training.methods.cct import CrossConsistency
from geoseg.training.methods.method import UNLABELLED
from geoseg.training.perturbations.features import (
    ATTENTION,
    CUT_OUT,
    NOISE,
    PERTURBATIONS,
    channel_dropout,
    cutout,
    dropout,
    feature_drop,
    feature_noise,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand(8, 16, 20, 24, generator=generator()) + 0.5


@pytest.mark.parametrize("name", PERTURBATIONS.names)
def test_a_perturbation_changes_maps_by_the_generator_and_passes_gradients(name: str, maps: torch.Tensor) -> None:
    given = maps.clone().requires_grad_()
    first, same, other = (PERTURBATIONS.get(name)(given, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(given, maps)
    first.sum().backward()
    assert given.grad is not None
    assert given.grad.any()


def test_dropout_drops_whole_channels_and_keeps_the_mean(maps: torch.Tensor) -> None:
    dropped = dropout(maps, generator())
    is_kept = (dropped != 0).flatten(2)
    assert torch.equal(is_kept.any(dim=2), is_kept.all(dim=2))
    assert torch.equal(dropped[dropped != 0], 2 * maps[dropped != 0])
    empty = Features([maps[:, :0], maps])
    assert channel_dropout(0.5, generator())(empty).maps[0].shape[1] == 0


def test_feature_drop_drops_the_most_active_pixels_of_each_map(maps: torch.Tensor) -> None:
    dropped = (feature_drop(maps, generator()) == 0).all(dim=1)
    for activity, gone in zip(maps.mean(dim=1), dropped, strict=True):
        assert gone.any()
        assert activity[gone].min() > activity[~gone].max()
        assert ATTENTION[0] - 0.05 < activity[gone].min() / activity.max() < 1


def test_feature_noise_is_a_share_of_each_value(maps: torch.Tensor) -> None:
    change = (feature_noise(maps, generator()) / maps - 1).abs()
    assert 0.9 * NOISE < change.max() <= NOISE + 1e-5


def test_cutout_hides_a_share_of_each_map(maps: torch.Tensor) -> None:
    hidden = cutout(maps, generator()) == 0
    assert torch.equal(hidden.any(dim=1), hidden.all(dim=1))
    assert ((hidden.float().mean(dim=(1, 2, 3)) - CUT_OUT).abs() < 0.06).all()


def test_auxiliary_decoders_learn_from_the_main_one_and_not_the_other_way(tmp_path: Path) -> None:
    method, setup = make("cct", tmp_path)
    assert isinstance(method, CrossConsistency)
    windows = a_batch()[UNLABELLED].augmented(setup.augment, 32, generator())
    method.unlabelled_loss(windows, windows, generator()).value.backward()
    assert all(decoder.weight.grad is not None for decoder in method.decoders)
    assert len(method.decoders) == 2 * len(PERTURBATIONS.names)
    assert all(parameter.grad is None for parameter in setup.network.body.head.parameters())


def test_an_unknown_perturbation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no perturbation of features is called 'drop_out': did you mean 'dropout'"):
        make("cct", tmp_path, perturbations=["drop_out"])
