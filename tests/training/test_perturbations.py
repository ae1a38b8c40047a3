"""Perturbations of windows without labels: image, targets and validity change alike, and thresholds say what counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.training.perturbations.mixing import CUTMIX_SHARE, MIXINGS, draw_boxes
from geoseg.training.perturbations.targets import Targets, share

FILL = torch.full((1,), -1.0)
every_mixing = pytest.mark.parametrize("name", MIXINGS.names)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(seed: int = 0, count: int = 3, side: int = 16, classes: int = 5) -> tuple[torch.Tensor, Targets]:
    """Windows each of whose pixels has a number of its own, the classes that it shows, and data in most places."""
    image = torch.arange(count * side * side, dtype=torch.float32).view(count, 1, side, side)
    known = torch.randint(classes, (count, side, side), generator=generator(seed))
    probabilities = torch.full((count, classes, side, side), 0.1 / (classes - 1))
    probabilities.scatter_(1, known.unsqueeze(1), 0.9)
    counted = torch.rand(count, side, side, generator=generator(seed + 1)) > 0.2
    return image, Targets(probabilities, counted)


@every_mixing
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_every_pixel_keeps_its_own_targets_and_whether_it_holds_data(name: str, seed: int) -> None:
    image, targets = numbered(seed % 100)
    mixed = MIXINGS.get(name)(image, targets, FILL, generator(seed))
    shown = mixed.image[:, 0]
    hidden = shown == FILL
    source = shown.where(~hidden, torch.zeros_like(shown)).long().flatten()
    flat = targets.probabilities.movedim(1, -1).flatten(0, 2)[source].view(*shown.shape, -1).movedim(-1, 1)
    assert torch.equal(mixed.targets.probabilities.where(~hidden.unsqueeze(1), flat), flat)
    assert torch.equal(mixed.targets.counted, targets.counted.flatten()[source].view(shown.shape) & ~hidden)


@every_mixing
def test_nothing_is_pasted_from_where_there_is_no_data(name: str) -> None:
    image, targets = numbered()
    mixed = MIXINGS.get(name)(image, targets, FILL, generator())
    changed = (mixed.image != image)[:, 0]
    assert mixed.targets.counted[changed & (mixed.image != FILL)[:, 0]].all()


def test_cutmix_pastes_half_of_every_window_and_of_none_if_there_is_no_data() -> None:
    image, targets = numbered(count=64)
    everywhere = Targets(targets.probabilities, torch.ones_like(targets.counted))
    changed = (
        (MIXINGS.get("cutmix")(image, everywhere, FILL, generator()).image != image)[:, 0].float().mean(dim=(1, 2))
    )
    assert (changed - CUTMIX_SHARE).abs().max() < 0.1
    nowhere = Targets(targets.probabilities, torch.zeros_like(targets.counted))
    assert torch.equal(MIXINGS.get("cutmix")(image, nowhere, FILL, generator()).image, image)


def test_classmix_pastes_whole_classes_and_half_of_them() -> None:
    image, targets = numbered(classes=4, side=32)
    everywhere = Targets(targets.probabilities, torch.ones_like(targets.counted))
    mixed = MIXINGS.get("classmix")(image, everywhere, FILL, generator())
    pasted = (mixed.image != image)[:, 0]
    for window in range(len(image)):
        shown = everywhere.classes[(window + 1) % len(image)]
        shares = [pasted[window][shown == k].float().mean().item() for k in range(4)]
        assert sorted(shares) == [0, 0, 1, 1]


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=8), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_boxes_have_their_area_and_lie_inside(shares: list[float], seed: int) -> None:
    masks = draw_boxes(torch.tensor(shares), (64, 48), generator(seed))
    for mask, wanted in zip(masks, shares, strict=True):
        rows, cols = mask.any(dim=1).sum(), mask.any(dim=0).sum()
        assert mask.sum() == rows * cols
        assert abs(float(mask.float().mean()) - wanted) < 0.06


def test_a_threshold_keeps_sure_pixels_or_weighs_the_batch_by_their_share() -> None:
    probabilities = torch.tensor([[0.9, 0.6], [0.1, 0.4]]).view(1, 2, 1, 2)
    targets = Targets(probabilities, torch.ones(1, 1, 2, dtype=torch.bool))
    assert targets.weights(0.8, "pixel").tolist() == [[[1, 0]]]
    assert targets.weights(0.8, "batch").tolist() == [[[0.5, 0.5]]]
    assert targets.passing(torch.tensor([0.95, 0.0])).tolist() == [[[False, False]]]
    assert share(targets.passing(0.8), targets.counted) == 0.5


def test_losses_are_0_for_the_targets_themselves_and_count_valid_pixels_alone() -> None:
    _, targets = numbered()
    logits = targets.probabilities.log()
    everything = torch.ones(targets.counted.shape)
    assert targets.square_loss(logits, everything) < 1e-10
    sure = Targets((targets.probabilities > 0.5).float(), targets.counted)
    assert sure.class_loss(sure.probabilities * 100, everything) < 1e-6
    spoilt = logits.where(targets.counted.unsqueeze(1), torch.randn(logits.shape, generator=generator()))
    assert targets.square_loss(spoilt, everything) < 1e-10
    nothing = Targets(targets.probabilities, torch.zeros_like(targets.counted))
    assert nothing.square_loss(torch.randn(logits.shape), everything) == 0
