"""Losses against values worked out by hand, and against numpy, torch and smp where those are right."""

import math
import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from torch.nn import functional

from geoseg.core.errors import SpecError
from geoseg.losses.class_weights import class_weights
from geoseg.losses.combined import SegmentationLoss, make_losses
from geoseg.losses.cross_entropy import CrossEntropy
from geoseg.losses.dice import Dice
from geoseg.losses.focal import Focal
from geoseg.losses.generalized_cross_entropy import GeneralizedCrossEntropy
from geoseg.losses.jaccard import Jaccard
from geoseg.losses.loss import LOSSES as registry
from geoseg.losses.lovasz import Lovasz
from geoseg.losses.ohem import Ohem
from geoseg.losses.tversky import Tversky
from geoseg.spec import IGNORE, LossSpec

LOSSES = ("cross_entropy", "ohem", "focal", "dice", "jaccard", "tversky", "lovasz", "generalized_cross_entropy")

NEVER = torch.full((1, 2, 2), IGNORE)
ALONE = {
    "cross_entropy": CrossEntropy(label_smoothing=0.1),
    "ohem": Ohem(share=0.25),
    "focal": Focal(gamma=0.5),
    "dice": Dice(),
    "jaccard": Jaccard(),
    "tversky": Tversky(),
    "lovasz": Lovasz(),
    "generalized_cross_entropy": GeneralizedCrossEntropy(q=0.5),
}


def only(name: str, **settings) -> LossSpec:
    """A spec with one loss."""
    return LossSpec(**{loss: float(loss == name) for loss in LOSSES} | settings)


def logits_of(shares: list[list[float]]) -> torch.Tensor:
    """Logits (1, K, 1, W) whose softmax gives these shares, one list per pixel."""
    return torch.tensor(shares).log().T.reshape(1, len(shares[0]), 1, len(shares))


def labels_of(*indexes: int) -> torch.Tensor:
    return torch.tensor(indexes).reshape(1, 1, -1)


def random_batch(
    seed: int = 0, classes: int = 4, side: int = 6, void: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (2, side, side), generator=random)
    labels[torch.rand(labels.shape, generator=random) < void] = IGNORE
    return 2 * torch.randn(2, classes, side, side, generator=random), labels


def valid_pixels(logits: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, K) and labels (N,) of the valid pixels, in float64."""
    shares = logits.double().softmax(1).permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).numpy()
    flat = labels.flatten().numpy()
    return shares[flat != IGNORE], flat[flat != IGNORE]


def true_shares(logits: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    shares, truth = valid_pixels(logits, labels)
    return shares[np.arange(len(truth)), truth]


def numpy_lovasz(shares: np.ndarray, truth: np.ndarray) -> float:
    """Lovász extension of the Jaccard loss, prefix by prefix instead of by its gradient (Berman et al. 2018, eq. 8)."""
    losses = []
    for index in np.unique(truth):
        is_true = truth == index
        errors = np.abs(is_true - shares[:, index])
        order = np.argsort(-errors)
        jaccard = [0.0]
        for end in range(1, len(order) + 1):
            wrong = np.zeros(len(order), bool)
            wrong[order[:end]] = True
            jaccard.append(1 - (is_true & ~wrong).sum() / (is_true | wrong).sum())
        losses.append(float(errors[order] @ np.diff(jaccard)))
    return float(np.mean(losses))


def test_cross_entropy_is_the_mean_over_valid_pixels() -> None:
    logits = logits_of([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    found = SegmentationLoss(only("cross_entropy"), [1, 1])(logits, labels_of(0, 1, IGNORE))
    assert found.item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_label_smoothing_spreads_the_target() -> None:
    found = SegmentationLoss(only("cross_entropy", label_smoothing=0.1), [1, 1])(logits_of([[0.2, 0.8]]), labels_of(1))
    assert found.item() == pytest.approx(-(0.95 * math.log(0.8) + 0.05 * math.log(0.2)))


@pytest.mark.parametrize(("weights", "smoothing"), [("none", 0.0), ("none", 0.1), ((0.5, 1.0, 2.0, 0.0), 0.0)])
def test_cross_entropy_is_torchs(weights, smoothing) -> None:
    logits, labels = random_batch()
    spec = only("cross_entropy", class_weights=weights, label_smoothing=smoothing)
    given = None if weights == "none" else torch.tensor(weights)
    expected = functional.cross_entropy(logits, labels, given, ignore_index=IGNORE, label_smoothing=smoothing)
    torch.testing.assert_close(SegmentationLoss(spec, [1] * 4)(logits, labels), expected)


def test_a_smoothed_pixel_weighs_what_its_class_weighs() -> None:
    logits, labels = logits_of([[0.5, 0.5], [0.2, 0.8]]), labels_of(0, 1)
    found = CrossEntropy(label_smoothing=0.1)(logits, labels, torch.tensor([3.0, 1.0]))
    second = -(0.95 * math.log(0.8) + 0.05 * math.log(0.2))
    assert found.item() == pytest.approx((3 * math.log(2) + second) / 4)


def target_of(loss) -> torch.Tensor:
    """Target probabilities (K,) of one pixel of class 0: shares of a loss's gradient by the logs (1, K, 1, 1)."""
    logs = torch.zeros(1, 6, 1, 1, requires_grad=True)
    loss(logs).backward()
    assert logs.grad is not None
    return (logs.grad / logs.grad.sum()).flatten()


def test_class_weights_leave_the_smoothed_target_as_it_is_unlike_torchs() -> None:
    weights, label = torch.tensor([0.1, 0.5, 0.7, 0.7, 1.0, 3.0]), labels_of(0)
    own = target_of(lambda logs: CrossEntropy(label_smoothing=0.1)(logs, label, weights))
    torch.testing.assert_close(own, torch.tensor([0.9, *[0.0] * 5]) + 0.1 / 6)
    shares = 0.1 * weights / 6  # torch's documentation: each class's share of the target has the weight of that class
    shares[0] += 0.9 * weights[0]
    theirs = functional.cross_entropy(torch.zeros(1, 6, 1, 1), label, weights, label_smoothing=0.1)
    assert theirs.item() == pytest.approx(math.log(6) * (shares.sum() / weights[0]).item(), rel=1e-5)
    assert shares[5] / shares.sum() > 0.25, "a rare class gets a large part of the target of a frequent one"


def test_ohem_keeps_the_pixels_below_the_threshold() -> None:
    logits = logits_of([[0.5, 0.5], [0.2, 0.8], [0.69, 0.31], [0.71, 0.29]])
    found = Ohem(threshold=0.7, share=0.01)(logits, labels_of(0, 1, 0, 0), None)
    assert found.item() == pytest.approx(-(math.log(0.5) + math.log(0.69)) / 2)


def test_ohem_keeps_at_least_its_share_of_the_valid_pixels() -> None:
    logits = logits_of([[0.95, 0.05], [0.9, 0.1], [0.8, 0.2], [0.75, 0.25], [0.1, 0.9], [0.1, 0.9]])
    labels = labels_of(0, 0, 0, 0, IGNORE, IGNORE)
    found = Ohem(threshold=0.7, share=0.3)(logits, labels, None)  # 1.2 of 4 valid pixels: two
    assert found.item() == pytest.approx(-(math.log(0.8) + math.log(0.75)) / 2, rel=1e-5)


def test_ohem_that_keeps_all_is_cross_entropy() -> None:
    logits, labels = random_batch()
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    for settings_ in ({"ohem_threshold": 1.0}, {"ohem_share": 1.0}):
        spec = only("ohem", class_weights=tuple(weights.tolist()), **settings_)
        found = SegmentationLoss(spec, [1] * 4)(logits, labels)
        torch.testing.assert_close(found, functional.cross_entropy(logits, labels, weights, ignore_index=IGNORE))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.05, 1), st.floats(0.01, 1))
def test_ohem_is_numpys(seed: int, threshold: float, share: float) -> None:
    logits, labels = random_batch(seed)
    shares = np.sort(true_shares(logits, labels))
    kept = max((shares < threshold).sum(), math.ceil(share * len(shares)))
    found = Ohem(threshold=threshold, share=share)(logits.log_softmax(1), labels, None)
    assert found.item() == pytest.approx(-np.log(shares[:kept]).mean(), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_numpys(gamma: float) -> None:
    logits, labels = random_batch()
    shares = true_shares(logits, labels)
    found = SegmentationLoss(only("focal", focal_gamma=gamma), [1] * 4)(logits, labels)
    assert found.item() == pytest.approx((-((1 - shares) ** gamma) * np.log(shares)).mean(), rel=1e-5)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalized_cross_entropy_is_numpys_and_wrong_labels_teach_little(q: float) -> None:
    logits, labels = random_batch()
    shares, valid = logits.softmax(dim=1), labels != IGNORE
    true = shares.gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)[valid].numpy()
    spec = only("generalized_cross_entropy", generalized_q=q)
    found = SegmentationLoss(spec, [1] * 4)(logits, labels)
    np.testing.assert_allclose(found, np.mean((1 - true**q) / q), rtol=1e-5)
    doubted = logits_of([[0.001, 0.999], [0.7, 0.3]]).requires_grad_()
    SegmentationLoss(spec, [1, 1])(doubted, labels_of(0, 0)).backward()
    doubted_by_both = torch.autograd.grad(
        functional.cross_entropy(doubted, labels_of(0, 0), reduction="sum") / 2, doubted
    )[0]
    shares = torch.tensor([0.001, 0.7])
    torch.testing.assert_close(doubted.grad[0, 0, 0], doubted_by_both[0, 0, 0] * shares**q)


def test_focal_weighs_by_class() -> None:
    found = Focal(gamma=2.0)(logits_of([[0.5, 0.5], [0.2, 0.8]]), labels_of(0, 1), torch.tensor([3.0, 1.0]))
    assert found.item() == pytest.approx(-(3 * 0.25 * math.log(0.5) + 0.04 * math.log(0.8)) / 4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_gradient_where_a_pixel_is_wholly_right(gamma: float) -> None:
    logits = torch.tensor([200.0, -200.0]).reshape(1, 2, 1, 1).requires_grad_()
    SegmentationLoss(only("focal", focal_gamma=gamma), [1, 1])(logits, labels_of(0)).backward()
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_dice_by_hand() -> None:
    logits = logits_of([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]])
    found = SegmentationLoss(only("dice"), [1, 1])(logits, labels_of(0, 1, IGNORE))
    first = 1 - 2 * 0.5 / (0.7 + 1)
    second = 1 - 2 * 0.8 / (1.3 + 1)
    assert found.item() == pytest.approx((first + second) / 2)


def test_dice_and_tversky_are_smps_where_all_classes_are_present() -> None:
    logits, labels = random_batch()
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
    torch.testing.assert_close(SegmentationLoss(only("dice"), [1] * 4)(logits, labels), dice(logits, labels))
    labels = labels.where(labels != IGNORE, 0)  # smp's other two know no ignored pixels
    spec = only("tversky", tversky_alpha=0.2, tversky_beta=0.9)
    reference = smp.losses.TverskyLoss("multiclass", alpha=0.2, beta=0.9)
    torch.testing.assert_close(SegmentationLoss(spec, [1] * 4)(logits, labels), reference(logits, labels))
    jaccard = smp.losses.JaccardLoss("multiclass")
    torch.testing.assert_close(SegmentationLoss(only("jaccard"), [1] * 4)(logits, labels), jaccard(logits, labels))


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (1.0, 1.0), (0.3, 0.7)])
def test_overlaps_are_numpys(alpha: float, beta: float) -> None:
    logits, labels = random_batch()
    shares, truth = valid_pixels(logits, labels)
    overlaps = []
    for index in range(4):
        hits = shares[truth == index, index].sum()
        wrong, missed = shares[truth != index, index].sum(), (1 - shares[truth == index, index]).sum()
        overlaps.append(hits / (hits + alpha * wrong + beta * missed))
    found = Tversky(alpha=alpha, beta=beta)(logits.log_softmax(1), labels, None)
    assert found.item() == pytest.approx(1 - np.mean(overlaps), rel=1e-5)


def test_lovasz_is_numpys() -> None:
    logits, labels = random_batch()
    found = SegmentationLoss(only("lovasz"), [1] * 4)(logits, labels)
    assert found.item() == pytest.approx(numpy_lovasz(*valid_pixels(logits, labels)), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_classes_that_are_absent_do_not_dilute(name: str) -> None:
    two, labels = logits_of([[0.5, 0.5], [0.2, 0.8]]), labels_of(0, 0)
    four = logits_of([[0.5, 0.5, 1e-9, 1e-9], [0.2, 0.8, 1e-9, 1e-9]])
    expected = SegmentationLoss(only(name), [1] * 2)(two, labels)
    assert expected > 0.1
    torch.testing.assert_close(SegmentationLoss(only(name), [1] * 4)(four, labels), expected)


def test_weights_are_summed() -> None:
    logits, labels = random_batch()
    weights = {name: 0.5 + index for index, name in enumerate(LOSSES)}
    parts = [weight * SegmentationLoss(only(name), [1] * 4)(logits, labels) for name, weight in weights.items()]
    torch.testing.assert_close(SegmentationLoss(LossSpec(**weights), [1] * 4)(logits, labels), torch.stack(parts).sum())


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_nothing(name: str) -> None:
    _, labels = random_batch()
    logits = 30 * functional.one_hot(labels.where(labels != IGNORE, 0), 4).permute(0, 3, 1, 2).float()
    assert SegmentationLoss(only(name), [1] * 4)(logits, labels).item() == pytest.approx(0, abs=1e-5)
    assert SegmentationLoss(only(name), [1] * 4)(-logits, labels).item() > 0.5


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_a_valid_pixel_costs_nothing(name: str) -> None:
    for loss in (SegmentationLoss(only(name), [1] * 3), lambda logits, labels: ALONE[name](logits, labels, None)):
        logits = torch.randn(1, 3, 2, 2, requires_grad=True)
        found = loss(logits, NEVER)
        found.backward()
        assert found.item() == 0
        assert found.shape == ()
        assert logits.grad is not None
        assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", ["cross_entropy", "ohem", "focal"])
def test_a_batch_of_classes_that_weigh_nothing_costs_nothing(name: str) -> None:
    logits = torch.randn(1, 3, 1, 2, requires_grad=True)
    spec = only(name, class_weights=(0.0, 1.0, 1.0), label_smoothing=0.1)
    loss = SegmentationLoss(spec, [1] * 3)(logits, labels_of(0, 0))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.floats(-50, 50))
def test_ignored_pixels_change_nothing(name: str, seed: int, other: float) -> None:
    logits, labels = random_batch(seed, side=4, void=0.5)
    logits.requires_grad_()
    loss = SegmentationLoss(only(name, label_smoothing=0.1, class_weights="inverse"), [1, 2, 3, 4])
    ignored = (labels == IGNORE).unsqueeze(1).expand_as(logits)
    found = loss(logits, labels)
    torch.testing.assert_close(loss(logits.masked_fill(ignored, other), labels), found)
    shifted = logits + ignored * torch.arange(4).view(1, 4, 1, 1) * other
    torch.testing.assert_close(loss(shifted, labels), found)
    found.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[ignored] == 0).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "lovasz"])  # smp's is for float32 only
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    logits, labels = random_batch(side=2)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: ALONE[name](logits.log_softmax(1), labels, None), (logits,))


def test_half_precision_logits_give_a_full_precision_loss() -> None:
    logits, labels = random_batch(side=32)
    spec = LossSpec(**dict.fromkeys(LOSSES, 1.0))
    found = SegmentationLoss(spec, [1] * 4)(logits.bfloat16(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SegmentationLoss(spec, [1] * 4)(logits.bfloat16(), labels)
    assert found.dtype == inside.dtype == torch.float32
    assert inside.item() == found.item()


COUNTS = [100.0, 200.0, 0.0, 700.0]


def test_weights_by_inverse_share() -> None:
    expected = np.array([1 / 100, 1 / 200, 0, 1 / 700])
    found = class_weights(COUNTS, "inverse").numpy()
    np.testing.assert_allclose(found, expected / expected.sum() * 3, rtol=1e-6)
    assert found[[0, 1, 3]].mean() == pytest.approx(1)


def test_weights_by_the_root_of_the_inverse_share() -> None:
    expected = np.array([1 / 10, 1 / math.sqrt(200), 0, 1 / math.sqrt(700)])
    np.testing.assert_allclose(class_weights(COUNTS, "sqrt_inverse"), expected / expected.sum() * 3, rtol=1e-6)


def test_weights_by_the_median_share() -> None:
    np.testing.assert_allclose(class_weights(COUNTS, "median_frequency"), [2, 1, 0, 2 / 7], rtol=1e-6)
    np.testing.assert_allclose(class_weights([1, 3], "median_frequency"), [2, 2 / 3], rtol=1e-6)


def test_given_weights_stay_as_they_are() -> None:
    assert class_weights(COUNTS, (3.0, 0.0, 1.0, 7.0)).tolist() == [3, 0, 1, 7]


@pytest.mark.parametrize("how", ["inverse", "sqrt_inverse", "median_frequency"])
@pytest.mark.parametrize("counts", [[0.0, 0.0], [5.0, 5.0], [1.0, 1e12]])
def test_weights_are_finite_whatever_the_counts(how: str, counts: list[float]) -> None:
    found = class_weights(counts, how)
    assert found.isfinite().all()
    assert ((found > 0) == (torch.tensor(counts) > 0)).all()


def test_class_weights_come_from_the_training_labels() -> None:
    logits, labels = random_batch()
    loss = SegmentationLoss(only("cross_entropy", class_weights="inverse"), [10, 20, 30, 40])
    weights = torch.tensor([1 / 10, 1 / 20, 1 / 30, 1 / 40])
    torch.testing.assert_close(
        loss(logits, labels), functional.cross_entropy(logits, labels, weights, ignore_index=IGNORE)
    )
    assert not loss.state_dict()


class SoftDice(Dice):
    """Another package's loss."""

    smooth: float = Field(default=0.0, ge=0)


def test_a_loss_of_another_package_is_summed_with_its_parameters(monkeypatch) -> None:
    monkeypatch.setitem(registry._others, "soft_dice", EntryPoint("soft_dice", "elsewhere:SoftDice", registry.group))
    monkeypatch.setitem(registry._loaded, "soft_dice", SoftDice)
    logits, labels = random_batch()
    spec = LossSpec.model_validate({"cross_entropy": 0, "dice": 0, "soft_dice": {"weight": 3, "smooth": 1}})
    assert make_losses(spec) == [(3.0, SoftDice(smooth=1))]
    torch.testing.assert_close(
        SegmentationLoss(spec, [1] * 4)(logits, labels), 3 * SegmentationLoss(only("dice"), [1] * 4)(logits, labels)
    )
    for parameters, message in (
        ({"smooth": -1}, "loss soft_dice: smooth = -1: it must be greater than or equal to 0"),
        ({"smoth": 1}, "loss soft_dice: unknown setting 'smoth', did you mean smooth?; known here: smooth"),
    ):
        with pytest.raises(SpecError, match=re.escape(message)):
            make_losses(LossSpec.model_validate({"soft_dice": parameters}))
    monkeypatch.setitem(registry._loaded, "soft_dice", dict)
    with pytest.raises(SpecError, match=r"builtins\.dict is no geoseg\.losses\.loss\.Loss: mend it"):
        make_losses(spec)
