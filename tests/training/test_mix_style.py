"""MixStyle: statistics of features are mixed by the formula, over pixels with data, in training alone."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.models import make_spec
from support.reporters import Watching

from geoseg.commands.train import train
from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.early_stages import early_stages
from geoseg.models.families import FAMILIES
from geoseg.spec import NetworkSpec, NormalizationSpec
from geoseg.training.mix_style import EPSILON, MixStyle, mix_style

BANDS = "red", "green", "blue"
RESNET = {"architecture": "unet", "encoder": "tu-test_resnet", "arguments": {"decoder_channels": [16, 16, 8, 8, 8]}}


def features(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.arange(1, count + 1).view(-1, 1, 1, 1)
    return scale * torch.randn(count, 3, 6, 5, generator=generator) + scale


def everywhere(values: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(values[:, :1], dtype=torch.bool)


def statistics(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (B, C) of the pixels of a mask."""
    found = [one[:, own[0]] for one, own in zip(values, mask, strict=True)]
    return torch.stack([one.mean(1) for one in found]), torch.stack([one.std(1, correction=0) for one in found])


def test_statistics_are_those_of_the_formula_over_pixels_with_data() -> None:
    values, order, weights = features(), torch.tensor([1, 2, 3, 0]), torch.tensor([0.0, 0.3, 0.9, 1.0])
    mask = everywhere(values)
    mask[:, :, :2] = False
    mixed = mix_style(values, mask, order, weights)
    (mean, deviation), (found_mean, found_deviation) = statistics(values, mask), statistics(mixed, mask)
    weight = weights.unsqueeze(1)
    assert torch.allclose(found_mean, weight * mean + (1 - weight) * mean[order], atol=1e-4)
    assert torch.allclose(found_deviation, weight * deviation + (1 - weight) * deviation[order], atol=1e-4)
    assert torch.equal(mixed[:, :, :2], values[:, :, :2]), "pixels without data are as they were"
    other = values.clone()
    other[:, :, :2] = 1e4
    assert torch.equal(mix_style(other, mask, order, weights)[:, :, 2:], mixed[:, :, 2:]), "and count for nothing"
    assert EPSILON < 1e-4


def test_a_window_without_data_neither_gives_nor_takes() -> None:
    values, mask = features(), everywhere(features())
    mask[0] = False
    mixed = mix_style(values, mask, torch.tensor([1, 0, 3, 2]), torch.zeros(4))
    assert torch.equal(mixed[:2], values[:2])
    assert not torch.allclose(mixed[2:], values[2:])


def test_own_statistics_are_no_change_and_gradients_pass_through_values_alone() -> None:
    values = features().requires_grad_()
    assert torch.allclose(mix_style(values, everywhere(values), torch.arange(4), torch.rand(4)), values, atol=1e-4)
    mixed = mix_style(values, everywhere(values), torch.tensor([1, 2, 3, 0]), torch.zeros(4))
    mixed[0].sum().backward()
    assert values.grad is not None
    assert values.grad[0].abs().sum() > 0
    assert values.grad[1:].abs().sum() == 0


def a_network() -> Any:
    torch.manual_seed(0)
    normalization = NormalizationSpec(mean=(100.4, 90.0, 80.0), std=(40.0, 40.0, 40.0))
    network = NetworkSpec.model_validate(RESNET)
    return build_network(make_spec(bands=BANDS, network=network, normalization=normalization))


def test_it_happens_in_training_with_gradients_alone_and_leaves_copies_and_weights_as_they_were() -> None:
    network = a_network()
    image = 255 * torch.rand(4, 3, 64, 64) * torch.tensor([0.1, 0.4, 0.7, 1.0]).view(4, 1, 1, 1)
    twin, names = copy.deepcopy(network), list(network.state_dict())
    MixStyle(network, 1.0)
    assert list(network.state_dict()) == names
    network.eval()
    twin.eval()
    assert torch.equal(network(image), twin(image))
    network.train()
    twin.train()
    with torch.no_grad():
        assert torch.equal(network(image), twin(image))
    twin.load_state_dict(network.state_dict())
    assert not torch.allclose(network(image), twin(image), atol=1e-3)


def test_fill_is_no_data() -> None:
    """With fill of the mean of each band, or rounded, the mask of the hook is that of the pixels that are left."""
    network, image = a_network().train(), 255 * torch.rand(2, 3, 64, 64)
    mixing = MixStyle(network, 1.0)
    image[0, :, :32] = network.normalize.mean
    image[1, :, :32] = network.normalize.mean.round()
    network(image)
    assert mixing._mask is not None
    assert not mixing._mask[:, :, :32].any()
    assert mixing._mask[:, :, 32:].all()


@pytest.mark.parametrize("name", ["unet", "fpn", "deeplabv3plus", "hrnetv2", "ddrnet23_slim", "fcn8s"])
def test_stages_are_found_whose_change_reaches_the_last_map(name: str) -> None:
    network = build_network(make_spec(bands=BANDS, network=FAMILIES.get(name).example(name))).eval()
    found = early_stages(network.body, 3)
    before = network.body.encode(torch.rand(1, 3, 64, 64)).maps[-1]
    handle = found.stages[0].module.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    changed = network.body.encode(torch.rand(1, 3, 64, 64)).maps[-1]
    handle.remove()
    assert not torch.allclose(before, changed)


def test_a_network_without_early_stages_is_refused() -> None:
    with pytest.raises(ModelError, match="no stage of a quarter or an eighth of the image"):
        early_stages(build_network(make_spec()).body, 1)


def weights(bundle: Path) -> dict[str, bytes]:
    with safe_open(bundle, framework="np") as tensors:
        return {name: tensors.get_tensor(name).tobytes() for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)


def test_a_killed_run_goes_on_exactly_and_none_is_as_without(tmp_path: Path) -> None:
    write_tiles(tmp_path)

    def run(folder: str, **changes: Any) -> dict[str, bytes]:
        augment = SMALL["augment"] | changes.pop("augment", {})
        config = write_config(tmp_path, network=RESNET, augment=augment, epochs=2, window=64)
        return weights(train(config, tmp_path / folder, **changes).bundle)

    plain = run("plain")
    assert run("none", augment={"mix_style": 0, "randomise_colours": 0}) == plain
    mixed = run("mixed", augment={"mix_style": 1})
    assert mixed.keys() == plain.keys()
    assert mixed != plain

    def stop(state: Any) -> None:
        if state.stage == "scored":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("killed", augment={"mix_style": 1}, reporter=Watching(stop))
    assert run("killed", augment={"mix_style": 1}, resume=True) == mixed
