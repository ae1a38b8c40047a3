"""Semantic-aware normalisation: by the formula, over pixels with data, in the bundle, and learnt with any method."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.models import make_spec
from torch import nn
from torch.nn import functional

from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.train import train
from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.families import FAMILIES
from geoseg.models.semantic_normalization import (
    EPSILON,
    Forwarded,
    SemanticNormalization,
    covariances,
    otsu_regions,
)
from geoseg.models.weights.start import start_from
from geoseg.spec import IGNORE, TrainSpec

BANDS = "red", "green", "blue"
CHANNELS, CLASSES = 6, 3


@pytest.fixture
def stage() -> SemanticNormalization:
    torch.manual_seed(0)
    made = SemanticNormalization(CHANNELS, CLASSES)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


def features(count: int = 2, side: int = 8) -> torch.Tensor:
    return torch.randn(count, CHANNELS, side, side, generator=torch.Generator().manual_seed(1)) + 0.5


def everywhere(values: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(values[:, :1], dtype=torch.bool)


def test_each_class_is_normalised_by_itself_and_all_are_added(stage: SemanticNormalization) -> None:
    """As the sum over classes of an instance norm of each would be, which is never made."""
    values = features()
    gates = torch.rand(2, CLASSES, 8, 8, generator=torch.Generator().manual_seed(2))
    summed = torch.zeros_like(values)
    for k in range(CLASSES):
        summed += functional.instance_norm(
            values * gates[:, k : k + 1], weight=stage.weight[k], bias=stage.bias[k], eps=EPSILON
        )
    assert torch.allclose(stage.normalized(values, gates, everywhere(values)), summed.relu(), atol=1e-4)


def test_pixels_without_data_change_nothing(stage: SemanticNormalization) -> None:
    values = features()
    wide = functional.pad(values, (0, 5, 0, 3), value=77.0)
    mask = functional.pad(everywhere(values), (0, 5, 0, 3))
    narrow, padded = stage(values, everywhere(values)), stage(wide, mask)
    assert torch.allclose(padded.normalized[:, :, :8, :8], narrow.normalized, atol=1e-5)
    labels = torch.randint(CLASSES, (2, 32, 32), generator=torch.Generator().manual_seed(3))
    outside = functional.pad(labels, (0, 20, 0, 12), value=IGNORE)
    assert torch.allclose(stage.loss(padded, outside), stage.loss(narrow, labels), rtol=1e-5)


def correlation(stage: SemanticNormalization, values: torch.Tensor) -> float:
    return float(stage._correlation(values, everywhere(values)))


def whitened(values: torch.Tensor) -> torch.Tensor:
    flat = values.flatten(2) - values.flatten(2).mean(dim=2, keepdim=True)
    factor = torch.linalg.cholesky(covariances(values, everywhere(values)))
    return torch.linalg.solve_triangular(factor, flat, upper=False).view_as(values)


def test_whitened_features_have_no_correlation_and_others_that_of_the_loops(stage: SemanticNormalization) -> None:
    values = 40 * features() @ torch.rand(8, 8, generator=torch.Generator().manual_seed(5))
    values = values + values[:, :1]  # channels alike
    assert correlation(stage, whitened(values)) == 0
    weight = stage.classifier.weight.detach().flatten(1).abs()
    order = weight.argsort(dim=1, descending=True)
    total = 0.0
    for j in range(CHANNELS):
        per_window = []
        for one in covariances(values, everywhere(values)):
            found = 0.0
            for a in range(CLASSES):
                for b in range(a + 1, CLASSES):
                    c, d = int(order[a, j]), int(order[b, j])
                    if c != d:
                        found += abs(float(one[c, d] * weight[a, c].sigmoid() * weight[b, d].sigmoid()))
            per_window.append(max(0.0, found - 1) / 3)
        total += float(np.mean(per_window))
    assert total > 1
    assert correlation(stage, values) == pytest.approx(total, rel=1e-4)


def test_covariances_are_those_of_pixels_with_data() -> None:
    values, mask = features(), everywhere(features())
    mask[:, :, :3] = False
    found = covariances(values, mask)
    for one, own in zip(values, found, strict=True):
        assert np.allclose(own, np.cov(one[:, 3:].flatten(1).numpy()), atol=1e-5)


def test_a_region_is_what_lies_above_the_threshold_that_parts_values_best() -> None:
    values = torch.tensor([[0.1, 0.12, 0.9, 0.95, 0.11, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    mask = torch.tensor([[True] * 5 + [False], [True] * 6])
    assert otsu_regions(values, mask).tolist() == [[False, False, True, True, False, False], [True] * 6]


def test_the_classifier_of_a_stage_changes_no_features(stage: SemanticNormalization) -> None:
    values = features().requires_grad_()
    scores = stage(values, everywhere(values)).scores
    scores.square().sum().backward()
    assert values.grad is None
    assert stage.classifier.weight.grad is not None


def test_true_regions_leave_nothing_to_guide_and_unlabelled_pixels_nothing_to_learn(
    stage: SemanticNormalization,
) -> None:
    values, labels = 1e-3 * features(), torch.randint(CLASSES, (2, 8, 8), generator=torch.Generator().manual_seed(4))
    gates = functional.one_hot(labels, CLASSES).movedim(3, 1).float()
    sure = 50 * gates - 25
    right = Forwarded(values, sure, everywhere(values), stage.normalized(values, gates, everywhere(values)))
    with torch.no_grad():
        rest = 0.1 * correlation(stage, right.normalized)
        assert float(stage.loss(right, labels)) == pytest.approx(rest, abs=1e-6)
        assert float(stage.loss(right, torch.full_like(labels, IGNORE))) == pytest.approx(rest, abs=1e-6)
        assert float(stage.loss(right, labels.roll(1, 0))) > rest + 1e-3


def spec_of(name: str, **changes: Any) -> Any:
    network = FAMILIES.get(name).example(name).model_copy(update={"semantic_normalization": True} | changes)
    return make_spec(bands=BANDS, network=network)


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus", "hrnetv2", "segnet"])
def test_any_convolutional_network_takes_it_and_its_bundle_keeps_it(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    network, image = build_network(spec), torch.randn(2, 3, 64, 64)
    assert len(network.body.semantic.stages) >= 1
    network(image).square().mean().backward()
    assert all(one.weight.grad is not None for one in network.body.semantic.stages)
    (part,) = network.body.stage_losses
    assert part.loss(torch.zeros(2, 64, 64, dtype=torch.long)) > 0
    assert part.loss(torch.zeros(2, 64, 64, dtype=torch.long)) is None, "once per batch"
    network.eval()
    loaded = load_model(save_model(network, spec, tmp_path / "m.safetensors"))
    with torch.inference_mode():
        assert torch.equal(loaded.module(image), network(image))
        for one in network.body.semantic.stages:
            one.weight.mul_(3)
        assert not torch.allclose(loaded.module(image), network(image), atol=1e-4), "it changes what is predicted"


def test_a_network_without_early_stages_is_refused() -> None:
    with pytest.raises(ModelError, match="no stage of a quarter or an eighth"):
        build_network(spec_of("pointwise"))


def test_surroundings_are_refused() -> None:
    settings = SMALL | {
        "network": {"architecture": "unet", "encoder": "resnet18", "semantic_normalization": True},
        "context": {"levels": [{"ratio": 4, "size": 64}], "network": {"architecture": "pointwise"}},
    }
    with pytest.raises(ValidationError, match="semantic_normalization is for networks that see their windows alone"):
        TrainSpec.model_validate(settings)


def test_training_learns_it_and_starts_from_a_model_without(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    plain = {"architecture": "unet", "encoder": "tu-test_resnet", "arguments": {"decoder_channels": [16, 16, 8, 8, 8]}}
    config = write_config(tmp_path, network=plain | {"semantic_normalization": True}, epochs=2, window=64)
    result = train(config, tmp_path / "run")
    trained = load_model(result.bundle).module.body.semantic.stages[0]
    assert not torch.equal(trained.weight, torch.ones_like(trained.weight))
    assert evaluate_model(result.bundle, config).scores == result.scores
    spec = spec_of("unet")
    without = spec.model_copy(update={"network": spec.network.model_copy(update={"semantic_normalization": False})})
    donor = save_model(build_network(without), without, tmp_path / "donor.safetensors")
    network = build_network(spec)
    assert start_from(network, spec, donor).endswith("new: semantic normalisation")
    given = load_model(donor).module.body.encoder.state_dict()
    found = network.body.encoder.state_dict().items()
    assert all(torch.allclose(one.float(), given[name].float()) for name, one in found)
    assert start_from(build_network(without), without, save_model(network, spec, donor)) == (
        "weights of test; left out: semantic normalisation"
    )
