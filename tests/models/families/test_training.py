"""Training reaches all weights of networks with auxiliary losses; they run in 16-bit arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.models import make_spec

from geoseg.models.build import build_network
from geoseg.models.families import FAMILIES
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, TrainSpec
from geoseg.training.criterion import TrainingCriterion

NAMES = [
    *("ddrnet23_slim", "gated_scnn", "unetformer"),
    *("segmenter", "setr_naive", "setr_pup", "setr_mla", "structtoken", "transunet"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_gives_each_weight_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    spec = make_spec(3, bands=("red", "green", "blue"), network=FAMILIES.get(name).example(name))
    network = build_network(spec).train()
    data = {"tiles": ".", "bands": spec.bands}
    settings = TrainSpec(name="m", data=data, classes=spec.classes, network=spec.network)
    criterion = TrainingCriterion(network, settings, [1.0] * 3)
    labels = torch.randint(0, 3, (2, 8, 8)).repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    labels[:, :16] = IGNORE
    windows = LabelledWindows(torch.rand(2, 3, 64, 64), labels)
    loss = network.training_loss(windows, criterion, network, torch.Generator())
    loss.backward()
    assert loss.isfinite()
    assert [part for part, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_16_bit_arithmetic(name: str) -> None:
    torch.manual_seed(0)
    spec = make_spec(bands=("red", "green", "blue"), network=FAMILIES.get(name).example(name))
    network = build_network(spec).eval()
    windows = np.random.default_rng(0).integers(0, 2, (1, 3, 64, 64), dtype=np.uint8)
    options = RunnerOptions(multiple=spec.network.multiple, bands=3)
    exact, rounded = (Runner(network, "cpu", kind, options)(windows).softmax(dim=1) for kind in ("fp32", "bf16"))
    assert (exact - rounded).abs().max() < 0.1
