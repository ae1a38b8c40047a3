"""Ways to transfer style: what every registered one keeps, and identities of the ones that geoseg has."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.labelled_tiles import SMALL, write_config
from support.methods import make, small_data, write_data
from torch import Tensor

from geoseg.commands.train import train
from geoseg.core.errors import SpecError
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, TrainSpec, parse_spec
from geoseg.training.methods.method import check_method
from geoseg.training.methods.unlabelled import FromUnlabelled
from geoseg.training.styles import STYLES
from geoseg.training.styles.fourier import with_amplitudes, with_mean_amplitudes, without_gaps
from geoseg.training.styles.style import Style

every_style = pytest.mark.parametrize("name", STYLES.names)
every_change = pytest.mark.parametrize("name", [name for name in STYLES.names if name != "none"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_style(folder: Path, **style: Any) -> Style:
    """A way to transfer style of values from 0 to 255, of three bands."""
    method, _ = make("mean_teacher", folder, style=style, data=SMALL["data"] | {"target": "more.tif"})
    assert isinstance(method, FromUnlabelled)
    return method.style


def windows(seed: int, count: int = 2, side: int = 32, brightest: float = 120.0) -> LabelledWindows:
    """Smooth windows, of which a part holds no data, and a part no label."""
    image = torch.rand(count, 3, 8, 8, generator=generator(seed)) * brightest
    image = torch.nn.functional.interpolate(image, (side, side), mode="bilinear")
    labels = torch.randint(2, (count, side, side), generator=generator(seed + 1))
    labels[:, : side // 4] = IGNORE
    without = torch.zeros_like(labels, dtype=torch.bool)
    without[:, side // 8 : side // 4] = True
    return LabelledWindows(image, labels, unlabelled=without, plain=image.clone())


@every_style
def test_pixels_without_data_and_the_range_of_values_are_kept(name: str, tmp_path: Path) -> None:
    style, labelled = a_style(tmp_path, by=name), windows(0, count=3)
    for target in (windows(5), windows(6, count=4, brightest=255.0)):
        styled = style(labelled, target, generator())
        assert styled.image.shape == labelled.image.shape
        assert styled.image.isfinite().all()
        assert styled.image.min() >= 0
        assert styled.image.max() <= 255
        assert not styled.image.requires_grad
        gaps = ~labelled.holds_data.unsqueeze(1).expand_as(labelled.image)
        assert torch.equal(styled.image[gaps], labelled.image[gaps])
        assert set(style.figures) <= styled.figures.keys()


@every_style
def test_windows_of_the_target_take_the_look_of_labelled_ones_where_they_hold_data(name: str, tmp_path: Path) -> None:
    style, labelled, target = a_style(tmp_path, by=name), windows(0), windows(6, count=3, brightest=250.0)
    varied = replace(target, image=target.image / 2)
    back = style.back(varied, labelled, generator())
    assert not back.requires_grad
    assert back.min() >= 0
    assert back.max() <= 255
    gaps = ~target.holds_data.unsqueeze(1).expand_as(back)
    assert torch.equal(back[gaps], target.image[gaps])
    assert torch.equal(back, style.back(target, labelled, generator()))


@every_style
def test_the_same_generator_gives_the_same_windows_and_given_ones_are_not_changed(name: str, tmp_path: Path) -> None:
    style, labelled, target = a_style(tmp_path, by=name), windows(0), windows(5)
    kept = copy.deepcopy((labelled, target))
    state = copy.deepcopy(style.state_dict())
    first = style(labelled, target, generator(3)).image
    style.load_state_dict(state)
    assert torch.equal(first, style(labelled, target, generator(3)).image)
    for one, before in zip((labelled, target), kept, strict=True):
        assert torch.equal(one.image, before.image)
        assert torch.equal(one.plain, before.plain)


@every_style
def test_values_without_data_play_no_part(name: str, tmp_path: Path) -> None:
    style, (labelled, target) = a_style(tmp_path, by=name), (windows(0), windows(5))
    state = copy.deepcopy(style.state_dict())
    found = []
    for value in (0.0, 200.0):
        style.load_state_dict(state)
        given = [replace(one, image=one.image.where(one.holds_data.unsqueeze(1), value)) for one in (labelled, target)]
        held = labelled.holds_data.unsqueeze(1)
        found.append(style(given[0], given[1], generator()).image.where(held, torch.zeros(())))
    torch.testing.assert_close(*found)


@every_style
def test_where_the_target_shows_nothing_windows_stay_as_they_are(name: str, tmp_path: Path) -> None:
    labelled, target = windows(0), windows(5)
    nothing = replace(target, labels=torch.full_like(target.labels, IGNORE), unlabelled=torch.tensor(False))
    styled = a_style(tmp_path, by=name)(labelled, nothing, generator())
    assert torch.equal(styled.image, labelled.image)


@every_change
def test_a_run_learns_from_changed_windows_with_every_method(name: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    data = SMALL["data"] | {"target": "more.tif"}
    config = write_config(tmp_path, method={"name": "fixmatch", "style": name}, data=data, epochs=1)
    result = train(config, tmp_path / "run")
    assert result.scores.pixels


@every_change
def test_a_run_without_a_target_and_one_with_surroundings_are_refused(name: str) -> None:
    def check(**changes: Any) -> None:
        run = SMALL | {"method": {"name": "fixmatch", "style": name}} | changes
        check_method(parse_spec(TrainSpec, run, source="test"))

    with pytest.raises(SpecError, match=f"method fixmatch: style {name} is that of the region .* as data.target"):
        check(data=small_data("fixmatch"))
    data = SMALL["data"] | {"target": "more.tif"}
    surroundings = f"method fixmatch: style {name} changes windows, not their surroundings: set style to none"
    with pytest.raises(SpecError, match=surroundings):
        check(data=data, tile=128, context={"levels": [{"ratio": 4, "size": 64}]})


@pytest.mark.parametrize(
    ("parameters", "changes", "said"),
    [
        ({}, {}, None),
        ({"style": "none"}, {}, "method style_transfer without a style learns nothing of the target: give one"),
        ({"style": "none", "weight": 0.01}, {}, None),
        ({}, {"context": {"levels": [{"ratio": 4, "size": 64}]}}, "method style_transfer changes windows, not their"),
    ],
)
def test_the_transfer_of_style_alone_needs_one_and_windows_without_surroundings(
    parameters: dict[str, Any], changes: dict[str, Any], said: str | None
) -> None:
    method = {"name": "style_transfer", **parameters}
    run = SMALL | {"method": method, "data": SMALL["data"] | {"target": "more.tif"}, "tile": 128} | changes
    with nullcontext() if said is None else pytest.raises(SpecError, match=said):
        check_method(parse_spec(TrainSpec, run, source="test"))


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("fourrier", "no way to transfer style is called 'fourrier': did you mean 'fourier'"),
        ({"by": "fourier", "beta": 0.1}, "style fourier: unknown setting 'beta', did you mean betas"),
        ({"by": "fourier", "betas": [0.7]}, r"style fourier: betas\.0 = 0\.7"),
        (["fourier"], "give the name of a way to transfer style"),
    ],
)
def test_a_style_that_makes_no_sense_is_answered_in_a_line(style: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=said):
        make("fixmatch", tmp_path, style=style)


# -------------------------------------------------------------------------------------------------------------- fourier


def images() -> tuple[Tensor, Tensor]:
    return windows(0).image, windows(5).image


def test_windows_get_their_own_amplitudes_back_unchanged() -> None:
    image, _ = images()
    for beta in (0.0, 0.05, 0.5):
        torch.testing.assert_close(with_amplitudes(image, image, beta) / 255, image / 255, atol=1e-5, rtol=0)


def test_without_further_frequencies_only_the_mean_changes_and_becomes_that_of_the_target() -> None:
    image, other = images()
    for offset in (0.0, -500.0):  # values may be below 0, as those of radar are
        changed = with_amplitudes(image, other + offset, beta=0.0)
        shift = (changed - image).mean(dim=(2, 3), keepdim=True)
        torch.testing.assert_close(changed, image + shift, atol=1e-3, rtol=0)
        torch.testing.assert_close(changed.mean(dim=(2, 3)), (other + offset).mean(dim=(2, 3)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("beta", [0.0, 0.09])
def test_a_constant_offset_of_the_target_is_that_of_the_changed_window(beta: float) -> None:
    image, other = images()
    moved = with_amplitudes(image, other + 20, beta)
    torch.testing.assert_close(moved, with_amplitudes(image, other, beta) + 20, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(32, 32), (31, 33), (40, 24)])
def test_low_frequencies_have_the_targets_amplitudes_and_their_own_phases(size: tuple[int, int]) -> None:
    image, other = (torch.rand(1, 2, *size, generator=generator(seed)) for seed in (1, 2))
    own, wanted, found = (torch.fft.fft2(one) for one in (image, other, with_amplitudes(image, other, 0.1)))
    reach = int(min(size) * 0.1)
    low = torch.zeros(size, dtype=torch.bool)
    low[torch.arange(-reach, reach + 1).unsqueeze(1), torch.arange(-reach, reach + 1)] = True
    torch.testing.assert_close(found.abs()[..., low], wanted.abs()[..., low], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[..., ~low], own[..., ~low], atol=1e-3, rtol=1e-3)
    turned = found * own.conj()
    torch.testing.assert_close(turned.real, turned.abs(), atol=1e-2, rtol=1e-3)


ALL = torch.ones(2, dtype=torch.bool)


@pytest.mark.parametrize("beta", [0.0, 0.05, 0.5])
def test_of_all_windows_their_own_amplitudes_change_nothing_and_those_of_a_brighter_region_its_brightness(
    beta: float,
) -> None:
    image, _ = images()
    for offset in (0.0, -500.0, 20.0):
        changed = with_mean_amplitudes(image, image + offset, beta, (ALL, ALL))
        torch.testing.assert_close(changed, image + offset, atol=2e-2, rtol=0)


def test_of_all_windows_what_differs_within_a_region_stays_and_windows_without_data_do_not_count() -> None:
    image, other = images()
    image[0] += 100
    only = torch.tensor([True, False])
    changed = with_mean_amplitudes(image, other, 0.0, (ALL, only))
    means = changed.mean(dim=(2, 3)), image.mean(dim=(2, 3))
    torch.testing.assert_close(means[0][0] - means[0][1], means[1][0] - means[1][1], atol=1e-3, rtol=0)
    torch.testing.assert_close(means[0].mean(dim=0), other[0].mean(dim=(1, 2)), atol=1e-3, rtol=0)


def test_of_all_windows_low_frequencies_have_the_mean_amplitudes_of_the_target_and_their_own_phases() -> None:
    image, other = images()
    own, wanted, found = (
        torch.fft.fft2(one) for one in (image, other, with_mean_amplitudes(image, other, 0.1, (ALL, ALL)))
    )
    at = (..., slice(1, 4), slice(1, 4))
    torch.testing.assert_close(found.abs()[at].mean(dim=0), wanted.abs()[at].mean(dim=0), atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(found[..., 5:20, :], own[..., 5:20, :], atol=1e-2, rtol=1e-3)
    turned = (found * own.conj())[at]
    torch.testing.assert_close(turned.real, turned.abs(), atol=1, rtol=1e-3)


@pytest.mark.parametrize("of", ["batch", "window"])
@pytest.mark.parametrize("value", [0.0, 77.0, 0.1])
def test_a_flat_window_stays_flat_and_gets_the_mean_of_the_target(of: str, value: float) -> None:
    """A frequency that it does not hold has no phase, and no amplitude of which the target's is a multiple."""
    _, other = images()
    flat = torch.full_like(other, value)
    changed = (
        with_amplitudes(flat, other, 0.5) if of == "window" else with_mean_amplitudes(flat, other, 0.5, (ALL, ALL))
    )
    means = other.mean(dim=(2, 3), keepdim=True)
    wanted = means if of == "window" else means.mean(dim=0, keepdim=True)
    torch.testing.assert_close(changed, wanted.expand_as(changed), atol=1e-3, rtol=0)


def test_gaps_become_the_mean_of_the_other_pixels_of_their_band() -> None:
    image = windows(0).image
    held = torch.rand(2, 32, 32, generator=generator()) > 0.5
    filled = without_gaps(image, held)
    assert torch.equal(filled[held.unsqueeze(1).expand_as(image)], image[held.unsqueeze(1).expand_as(image)])
    for band in range(3):
        mean = image[0, band][held[0]].mean()
        torch.testing.assert_close(filled[0, band][~held[0]], mean.expand(int((~held[0]).sum())))
    assert torch.equal(without_gaps(image, torch.zeros_like(held)), torch.zeros_like(image))


# ------------------------------------------------------------------------------------------------------------ histogram


@pytest.mark.parametrize("of", ["batch", "window"])
def test_windows_that_are_the_target_themselves_stay_as_they_are(of: str, tmp_path: Path) -> None:
    labelled = windows(0)
    styled = a_style(tmp_path, by="histogram", of=of, quantiles=1024)(labelled, labelled, generator())
    torch.testing.assert_close(styled.image, labelled.image, atol=1e-3, rtol=0)


@pytest.mark.parametrize("of", ["batch", "window"])
def test_ranks_are_kept_and_distributions_become_those_of_the_target(of: str, tmp_path: Path) -> None:
    labelled, target = windows(0), windows(5, brightest=250.0)
    styled = a_style(tmp_path, by="histogram", of=of, quantiles=1024)(labelled, target, generator()).image
    held, other = labelled.holds_data, target.holds_data
    groups = [slice(None)] if of == "batch" else [slice(0, 1), slice(1, 2)]
    for band in range(3):
        for part in groups:
            before, after = (one[part, band][held[part]] for one in (labelled.image, styled))
            assert (after[before.argsort()].diff() >= -1e-3).all()
            wanted = target.image[part, band][other[part]].sort().values
            torch.testing.assert_close(after.sort().values, wanted, atol=5.0, rtol=0)


def test_equal_values_become_one_value_in_the_middle_of_their_ranks(tmp_path: Path) -> None:
    labelled, target = windows(0), windows(5)
    flat = replace(labelled, image=torch.full_like(labelled.image, 7.0))
    styled = a_style(tmp_path, by="histogram", quantiles=64)(flat, target, generator()).image
    held = labelled.holds_data.unsqueeze(1).expand_as(styled)
    for band in range(3):
        values = target.image[:, band][target.holds_data]
        assert len(styled[:, band][held[:, band]].unique()) == 1
        torch.testing.assert_close(styled[:, band][held[:, band]][0], (values.min() + values.max()) / 2)
