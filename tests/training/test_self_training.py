"""Self-training: thresholds are quantiles of each class, the first round is supervised, a snapshot gives classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.labelled_tiles import SMALL, write_config
from support.methods import a_batch, make, write_data

from geoseg.commands.train import train
from geoseg.core.errors import SpecError
from geoseg.training.methods.method import LABELLED
from geoseg.training.methods.self_training import SelfTraining
from geoseg.training.perturbations.class_thresholds import BINS, histogram, quantiles
from geoseg.training.perturbations.targets import Targets


def a_method(folder: Path, **parameters: float) -> SelfTraining:
    """A method of four rounds of 25 steps each, the first of which learns labels alone."""
    method, _ = make("self_training", folder, rounds=3, **parameters)
    assert isinstance(method, SelfTraining)
    return method


def skip_to(method: SelfTraining, step: int) -> None:
    while int(method.steps) < step:
        method.after_step()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("below", [0.0, 0.5, 0.66])
def test_thresholds_are_the_quantiles_of_the_confidences_of_each_class(below: float) -> None:
    logits = 3 * torch.randn(4, 5, 32, 32, generator=generator())
    logits[:, 4] = -9  # a class that is never seen
    targets = Targets(logits.softmax(dim=1), torch.rand(4, 32, 32, generator=generator()) > 0.3)
    counts = sum(
        histogram(Targets(*parts), 5)
        for parts in zip(targets.probabilities.split(2), targets.counted.split(2), strict=True)
    )
    found = quantiles(counts, below)
    for index in range(4):
        values = np.sort(targets.confidence[targets.counted & (targets.classes == index)].numpy())
        assert found[index].item() == pytest.approx(np.floor(values[int(len(values) * below)] * BINS) / BINS)
    assert found[4] == 1


@pytest.mark.parametrize("name", ["dpl", "self_training"])
def test_where_the_network_answers_no_numbers_any_more_the_run_ends_in_a_line_on_its_loss(
    name: str, tmp_path: Path
) -> None:
    write_data(tmp_path)
    data = SMALL["data"] | {"target": "more.tif"}
    config = write_config(tmp_path, method=name, data=data, optimizer={"learning_rate": 1e35}, epochs=4)
    with pytest.raises(SpecError, match="the loss became infinite or no number"):
        train(config, tmp_path / "run")


def test_a_confidence_that_is_no_number_counts_as_none() -> None:
    probabilities = torch.full((1, 2, 4, 4), torch.nan)
    probabilities[..., 0] = torch.tensor([0.9, 0.1]).view(2, 1)
    counts = histogram(Targets(probabilities, torch.ones(1, 4, 4, dtype=torch.bool)), 2)
    assert counts[:, 0].sum() == 12
    assert counts[0, 900] == 4


def test_the_first_round_is_bit_for_bit_supervised_training(tmp_path: Path) -> None:
    (method, setup), (supervised, alone) = make("self_training", tmp_path), make("supervised", tmp_path)
    assert isinstance(method, SelfTraining)
    for _ in range(2):
        for one, network in ((method, setup.network), (supervised, alone.network)):
            network.zero_grad()
            one.loss(a_batch() if one is method else {LABELLED: a_batch()[LABELLED]}, generator()).value.backward()
        pairs = zip(setup.network.parameters(), alone.network.parameters(), strict=True)
        assert all(torch.equal(p.grad, q.grad) for p, q in pairs)
        skip_to(method, 20)  # where confidences are gathered as well
    assert method.counts.sum() > 0


def test_a_round_learns_the_classes_of_its_beginning_by_thresholds_of_the_round_before(tmp_path: Path) -> None:
    method = a_method(tmp_path)
    skip_to(method, 24)
    method.loss(a_batch(), generator())
    wanted = quantiles(method.counts, 0.66).clamp(max=0.9)
    kept = {name: tensor.clone() for name, tensor in method.setup.averaged.state_dict().items()}
    skip_to(method, 25)
    assert method.round == 1
    assert torch.equal(method.thresholds, wanted)
    assert not method.counts.any()
    with torch.no_grad():
        for parameter in method.setup.network.parameters():
            parameter.add_(1)
    skip_to(method, 26)
    assert all(torch.equal(kept[name], tensor) for name, tensor in method.snapshot.state_dict().items())
    loss = method.loss(a_batch(), generator())
    assert loss.figures["unlabelled"] > 0
    assert 0 < loss.figures["confident"] < 1


def test_the_share_that_is_learnt_grows_from_round_to_round_as_in_the_paper(tmp_path: Path) -> None:
    method = a_method(tmp_path, taken=0.2, taken_more=0.5, cap=1)
    shares = []
    for step in (24, 49, 74):
        skip_to(method, step)
        method.loss(a_batch(), generator())
        counts = method.counts.clone()
        skip_to(method, step + 1)
        shares.append(method.taken)
        assert torch.equal(method.thresholds, quantiles(counts, 1 - method.taken).clamp(max=1))
    assert shares == pytest.approx([0.2, 0.7, 1.0])
