"""Every registered way to adapt a network keeps its contract, and does what its papers say."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError, SpecError
from geoseg.inference.adaptations import ADAPTATIONS
from geoseg.inference.adaptations.adaptation import SceneWindow
from geoseg.inference.adaptations.batch_norm import FEW_PLACES
from geoseg.inference.adaptations.entropy import WINDOWS_PER_STEP

every = pytest.mark.parametrize("name", ADAPTATIONS.names)
SIDE = 48


def network(norm: Any = nn.BatchNorm2d, seed: int = 0) -> nn.Module:
    """Two convolutions, each with a normalisation, one at a coarser scale."""
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), norm(8), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 4, 1),
    )  # fmt: skip
    with torch.no_grad():
        made[-1].weight.mul_(8)
    return made.eval()


def windows(count: int = 5, shift: float = 0.0, seed: int = 1) -> list[SceneWindow]:
    """Windows of random values, all with data."""
    generator = torch.Generator().manual_seed(seed)
    images = shift + torch.randn(count, 1, 3, SIDE, SIDE, generator=generator)
    return [SceneWindow(image, torch.ones(1, SIDE, SIDE, dtype=torch.bool)) for image in images]


def adapted(name: str, seen: Sequence[SceneWindow], share: float, made: nn.Module | None = None) -> dict[str, Tensor]:
    return dict(ADAPTATIONS.get(name).adapt(copy.deepcopy(made or network()), iter(seen), share))


def differences(found: dict[str, Tensor], made: nn.Module | None = None) -> float:
    """Sum of the distances from the trained entries."""
    state = (made or network()).state_dict()
    return sum(float((values - state[name]).abs().sum()) for name, values in found.items())


@every
def test_entries_are_of_the_state_dict_and_the_same_on_repetition(name: str) -> None:
    found, again = (adapted(name, windows(shift=1.0), 0.7) for _ in range(2))
    state = network().state_dict()
    assert found
    for entry, values in found.items():
        assert values.shape == state[entry].shape
        assert values.dtype == state[entry].dtype
        assert torch.equal(values, again[entry])
    assert differences(found) > 0


@every
@pytest.mark.parametrize(("seen", "share"), [([], 1.0), (windows(shift=1.0), 0.0)])
def test_nothing_seen_and_share_0_leave_every_bit(name: str, seen: list[SceneWindow], share: float) -> None:
    state = network().state_dict()
    assert all(torch.equal(values, state[entry]) for entry, values in adapted(name, seen, share).items())


@every
def test_a_larger_share_goes_further(name: str) -> None:
    seen = windows(shift=2.0)
    far = [differences(adapted(name, seen, share)) for share in (0.1, 0.5, 1.0)]
    assert 0 < far[0] < far[1] < far[2]


@every
def test_pixels_without_data_do_not_count(name: str) -> None:
    """Logits of this network depend on the pixel itself alone."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    plain = windows()
    filled = [SceneWindow(window.image.clone(), window.valid.clone()) for window in plain]
    other = [SceneWindow(window.image.clone(), window.valid.clone()) for window in plain]
    for one, value in ((filled, 0.0), (other, 90.0)):
        for window in one:
            window.valid[:, 10:30, 5:] = False
            window.image[:, :, 10:30, 5:] = value
    found, same = (adapted(name, one, 1.0, made) for one in (filled, other))
    for entry, values in found.items():
        torch.testing.assert_close(values, same[entry])


@every
def test_the_share_is_in_words_and_by_itself_between_0_and_1(name: str) -> None:
    way = ADAPTATIONS.get(name)
    assert 0 < way.share <= 1
    assert "0.25" in way.describe(0.25)


@every
def test_a_network_without_normalisation_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ModelError, match=f"--adapt {name}: .*: .*leave --adapt out") as found:
        ADAPTATIONS.get(name).check(nn.Sequential(nn.Conv2d(3, 4, 1)))
    assert "\n" not in str(found.value)
    ADAPTATIONS.get(name).check(network())


def test_an_unknown_way_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'entropy'"):
        ADAPTATIONS.get("entropie")


# ------------------------------------------------------------------------------------------------ batch normalisation


def test_statistics_are_the_mixture_of_the_paper() -> None:
    made = nn.Sequential(nn.BatchNorm2d(3)).eval()
    made[0].running_mean[:], made[0].running_var[:] = 5.0, 4.0
    seen = windows(6, shift=1.0)
    found = adapted("bn", seen, 0.4, made)
    values = torch.cat([window.image for window in seen]).transpose(0, 1).flatten(1).double()
    weight = 0.4 * values.shape[1] / (values.shape[1] + FEW_PLACES)
    torch.testing.assert_close(found["0.running_mean"].double(), (1 - weight) * 5 + weight * values.mean(1))
    torch.testing.assert_close(found["0.running_var"].double(), (1 - weight) * 4 + weight * values.var(1, correction=0))


def test_each_layer_sees_what_the_adapted_layers_before_it_make() -> None:
    made, seen = network(), windows(40, shift=3.0)
    found = adapted("bn", seen, 1.0, made)
    made.load_state_dict(made.state_dict() | found)
    with torch.no_grad():
        features = torch.cat([made[:4](window.image) for window in seen]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found["4.running_mean"], features.mean(1), rtol=0.05, atol=0.02)
    torch.testing.assert_close(found["4.running_var"], features.var(1), rtol=0.1, atol=0.02)


def test_a_layer_that_saw_few_places_stays_near_the_training() -> None:
    made = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).eval()
    found = adapted("bn", windows(4, shift=9.0), 1.0, made)
    assert found["1.running_mean"].max() < 9.2 * 4 / (4 + FEW_PLACES)


@pytest.mark.parametrize("norm", [lambda c: nn.GroupNorm(2, c), lambda c: nn.BatchNorm2d(c, track_running_stats=False)])
def test_statistics_of_other_normalisations_are_refused_with_the_other_way(norm: Any) -> None:
    with pytest.raises(ModelError, match="take --adapt entropy"):
        ADAPTATIONS.get("bn").check(network(norm))


# ------------------------------------------------------------------------------------------------------------ entropy


def entropy(made: nn.Module, seen: Sequence[SceneWindow]) -> float:
    with torch.no_grad():
        logs = torch.cat([made(window.image) for window in seen]).log_softmax(1)
    return float(-(logs.exp() * logs).sum(1).mean())


NORMS = pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d, lambda c: nn.GroupNorm(2, c), lambda c: nn.InstanceNorm2d(c, affine=True)]
)


@NORMS
def test_only_affine_parameters_are_learnt_and_the_network_is_surer(norm: Any) -> None:
    made, seen = network(norm), windows(40, shift=1.0)
    found = adapted("entropy", seen, 1.0, made)
    affine = {"1.weight", "1.bias", "4.weight", "4.bias"}
    estimated = {name for name in made.state_dict() if "running" in name}
    assert set(found) == affine | estimated
    made.load_state_dict(made.state_dict() | {name: found[name] for name in estimated})
    before = entropy(made, seen)
    made.load_state_dict(made.state_dict() | found)
    assert entropy(made, seen) < before


def test_a_layer_that_is_used_twice_is_learnt() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            logits: Tensor = self.head(self.norm(self.norm(image).relu()))
            return logits

    assert differences(adapted("entropy", windows(shift=1.0), 1.0, Twice().eval()), Twice()) > 0


def test_scale_and_shift_of_layer_norm_are_learnt_in_a_transformer() -> None:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(2), nn.LayerNorm(SIDE * SIDE), nn.Unflatten(2, (SIDE, SIDE)), nn.Conv2d(3, 4, 1))
    assert set(adapted("entropy", windows(), 1.0, made.eval())) == {"1.weight", "1.bias"}


def test_windows_that_are_left_over_make_a_step() -> None:
    assert differences(adapted("entropy", windows(1), 1.0)) > 0
    seen = windows(WINDOWS_PER_STEP + 1)
    assert differences(adapted("entropy", seen, 1.0)) != differences(adapted("entropy", seen[:-1], 1.0))
