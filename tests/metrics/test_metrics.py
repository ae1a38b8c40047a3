"""Scores against values worked out by hand, other people's formulas, and boundaries found the slow way."""

import json
import pickle
import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from torchmetrics.functional.classification import multiclass_cohen_kappa, multiclass_f1_score

from geoseg.core.errors import SpecError
from geoseg.metrics.boundaries import find_boundaries
from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.metric import METRICS
from geoseg.metrics.scores import Scores, scores_of
from geoseg.spec import IGNORE


def blobs(height: int, width: int, seed: int, classes: int = 4, unlabelled: bool = False) -> np.ndarray:
    """Class indexes (H, W) int64 in blobs of four pixels with ragged edges; some of it not labelled if asked for."""
    random = np.random.default_rng(seed)
    values = np.kron(random.integers(0, classes, (height // 4 + 1, width // 4 + 1)), np.ones((4, 4), np.int64))
    values = values[:height, :width]
    values[random.random(values.shape) < 0.05] = classes - 1
    if unlabelled:
        values[
            np.kron(random.random((height // 4 + 1, width // 4 + 1)) < 0.2, np.ones((4, 4), bool))[:height, :width]
        ] = IGNORE
    return values


def names(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]


def score(predicted: np.ndarray, true: np.ndarray, classes: int = 4, boundary_px: int | None = None) -> Scores:
    counter = ScoreCounter(classes, boundary_px)
    counter.update(torch.from_numpy(predicted)[None], torch.from_numpy(true)[None])
    return counter.scores(names(classes))


def boundary_counts(predicted: np.ndarray, true: np.ndarray, k: int, reach: int) -> tuple[int, int]:
    """Pixels in both boundaries and in either one of class k, by erosion step by step as the paper's authors do."""
    boundaries = []
    for mask in (true == k, predicted == k):
        eroded = mask | (true == IGNORE)
        for _ in range(reach):
            eroded = binary_erosion(eroded, np.ones((3, 3)), border_value=1)
        boundaries.append(mask & ~eroded & (true != IGNORE))
    return int((boundaries[0] & boundaries[1]).sum()), int((boundaries[0] | boundaries[1]).sum())


# ------------------------------------------------------------------------------------------------------------- by hand


def test_scores_of_a_small_matrix() -> None:
    scores = scores_of(torch.tensor([[6, 2], [1, 3]]), ["grass", "water"])
    assert scores.iou == {"grass": pytest.approx(6 / 9, abs=1e-4), "water": pytest.approx(3 / 6)}
    assert scores.f1 == {"grass": pytest.approx(12 / 15), "water": pytest.approx(6 / 9, abs=1e-4)}
    assert scores.recall == {"grass": pytest.approx(6 / 8), "water": pytest.approx(3 / 4)}
    assert scores.precision == {"grass": pytest.approx(6 / 7, abs=1e-4), "water": pytest.approx(3 / 5)}
    assert scores.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(9 / 12)
    assert scores.mean_class_accuracy == pytest.approx(3 / 4)
    assert scores.frequency_weighted_iou == pytest.approx((8 * 6 / 9 + 4 * 3 / 6) / 12)
    assert scores.kappa == pytest.approx((9 / 12 - (8 * 7 + 4 * 5) / 144) / (1 - (8 * 7 + 4 * 5) / 144))
    assert (scores.confusion, scores.pixels) == (((6, 2), (1, 3)), 12)
    assert (scores.boundary_miou, scores.boundary_px) == (None, None)
    assert scores.boundary_iou == {"grass": None, "water": None}


def test_a_class_that_never_occurs_does_not_count() -> None:
    scores = scores_of(torch.tensor([[3, 0], [0, 0]]), ["grass", "water"])
    assert (scores.miou, scores.mean_class_accuracy, scores.frequency_weighted_iou) == (1, 1, 1)
    assert {values["water"] for values in (scores.iou, scores.f1, scores.recall, scores.precision)} == {None}


def test_a_class_without_labels_has_no_figure_and_is_not_averaged_though_it_is_predicted() -> None:
    scores = scores_of(torch.tensor([[3, 1, 0], [0, 0, 0], [2, 0, 0]]), ["grass", "water", "road"])
    assert {figures["water"] for figures in scores.by_class.values()} == {None}
    assert scores.labelled_classes == scores.as_dict()["labelled_classes"] == 2
    assert (scores.iou["road"], scores.recall["road"], scores.precision["road"]) == (0, 0, None)
    assert scores.miou == pytest.approx(3 / 6 / 2)
    assert scores.mean_class_accuracy == pytest.approx(3 / 4 / 2)


def test_kappa_of_a_single_class_is_zero() -> None:
    assert scores_of(torch.tensor([[3, 0], [0, 0]]), ["grass", "water"]).kappa == 0


@pytest.mark.parametrize("boundary_px", [None, 3])
def test_an_empty_counter_has_no_figures_and_gives_no_warnings(boundary_px: int | None) -> None:
    counter = ScoreCounter(2, boundary_px)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = counter.scores(names(2))
    assert set(scores.overall.values()) == {None}
    assert (scores.boundary_miou, scores.pixels) == (None, 0)


def test_scores_are_plain_values_for_json() -> None:
    values = scores_of(torch.tensor([[6, 2], [1, 3]]), names(2)).as_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["confusion"] == [[6, 2], [1, 3]]


def test_scores_have_all_digits_in_files_but_four_in_the_table_of_epochs() -> None:
    scores = scores_of(torch.tensor([[6, 2], [1, 3]]), ["grass", "water"])
    assert json.loads(json.dumps(scores.as_dict()))["iou"]["grass"] == 6 / 9
    assert scores.epoch_columns()["iou grass"] == 0.6667


def test_scores_that_an_older_geoseg_wrote_are_read() -> None:
    scores = scores_of(torch.tensor([[6, 2], [1, 3]]), names(2))
    values = scores.as_dict()
    values["accuracy"] = values.pop("recall")
    assert Scores.from_dict(values) == scores


def test_figures_are_attributes_by_name() -> None:
    scores = scores_of(torch.tensor([[6, 2], [1, 3]]), names(2))
    assert scores.kappa == scores.overall["kappa"]
    assert scores.f1 is scores.by_class["f1"]
    with pytest.raises(AttributeError, match="there is no figure 'f2'"):
        _ = scores.f2
    assert pickle.loads(pickle.dumps(scores)) == scores


def test_names_and_order_on_which_files_and_other_programs_rely_stay_whatever_is_added() -> None:
    scores = scores_of(torch.tensor([[6, 2], [1, 3]]), ["grass", "water"])
    by_class = ["iou", "f1", "recall", "precision", "boundary_iou"]
    figures = ["miou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "kappa", "boundary_miou"]
    epoch = {"miou": 0.5833, "pixel_accuracy": 0.75, "boundary_miou": None, "iou grass": 0.6667, "iou water": 0.5}

    def kept(names: Iterable[str], known: Iterable[str]) -> list[str]:
        return [name for name in names if name in set(known)]

    everything = [*figures, *by_class, "confusion", "pixels", "boundary_px"]
    assert kept(scores.as_dict(), everything) == everything
    assert epoch.items() <= scores.epoch_columns().items()
    assert kept(scores.epoch_columns(), epoch) == list(epoch)
    assert kept((figure.name for figure in scores.headline), figures) == figures[:-1]
    assert kept((figure.name for figure in scores.columns), by_class) == ["iou", "f1", "precision", "recall"]


# ------------------------------------------------------------------------------------------------- others' formulas


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_torchmetrics_and_plain_numpy(seed: int) -> None:
    true, predicted = blobs(40, 50, seed, unlabelled=True), blobs(40, 50, seed + 100)
    scores = score(predicted, true)
    p, t = torch.from_numpy(predicted), torch.from_numpy(true)
    assert scores.kappa == pytest.approx(float(multiclass_cohen_kappa(p, t, 4, ignore_index=IGNORE)), abs=1e-5)
    f1 = multiclass_f1_score(p, t, 4, average=None, ignore_index=IGNORE)
    assert list(scores.f1.values()) == pytest.approx(f1.tolist(), abs=1e-4)
    p, t = predicted[true != IGNORE], true[true != IGNORE]
    iou = [((p == k) & (t == k)).sum() / ((p == k) | (t == k)).sum() for k in range(4)]
    assert scores.miou == pytest.approx(np.mean(iou))
    assert scores.pixel_accuracy == pytest.approx((p == t).mean())
    assert scores.mean_class_accuracy == pytest.approx(np.mean([(p[t == k] == k).mean() for k in range(4)]))
    assert scores.frequency_weighted_iou == pytest.approx(sum((t == k).mean() * iou[k] for k in range(4)))
    assert scores.pixels == len(t)


# ------------------------------------------------------------------------------------------------------- the counter


def test_batches_are_pooled_and_ignored_pixels_left_out() -> None:
    counter = ScoreCounter(2)
    counter.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, IGNORE]]]))
    counter.update(torch.tensor([[[1]]]), torch.tensor([[[1]]]))
    assert counter.scores(names(2)).confusion == ((1, 1), (0, 1))
    counter.reset()
    assert counter.scores(names(2)).pixels == 0


def test_what_is_predicted_on_unlabelled_ground_makes_no_difference() -> None:
    true = blobs(30, 30, 0, unlabelled=True)
    one, other = (np.where(true == IGNORE, k, blobs(30, 30, 1)) for k in (0, 3))
    assert score(one, true, boundary_px=2) == score(other, true, boundary_px=2)


def test_a_single_class_can_be_counted() -> None:
    scores = score(np.zeros((5, 5), np.int64), np.zeros((5, 5), np.int64), classes=1, boundary_px=2)
    assert (scores.miou, scores.confusion, scores.boundary_miou) == (1, ((25,),), None)


def test_bytes_are_counted_like_wider_integers() -> None:
    true, predicted = blobs(30, 30, 0, unlabelled=True), blobs(30, 30, 1)
    assert score(predicted.astype(np.uint8), true.astype(np.uint8), boundary_px=2) == score(
        predicted, true, boundary_px=2
    )


def test_a_metric_that_cannot_be_loaded_is_refused_before_anything_is_counted(monkeypatch) -> None:
    monkeypatch.setitem(METRICS._others, "lost", EntryPoint("lost", "no_such_package:Lost", METRICS.group))
    with pytest.raises(SpecError, match=r"metric 'lost': no_such_package:Lost cannot be loaded"):
        ScoreCounter(2)


def test_processes_are_summed() -> None:
    counter = ScoreCounter(4, boundary_px=2)
    true, predicted = (torch.from_numpy(blobs(30, 30, seed))[None] for seed in (0, 1))
    counter.update(predicted, true)
    alone = counter.scores(names(4))
    counter.update(predicted, true)
    twice = counter.scores(names(4))
    counter.reset()
    counter.update(predicted, true)
    counter.distributed_available_fn = lambda: True
    counter.dist_sync_fn = lambda state, group=None: [state, state]
    assert counter.scores(names(4)) == twice
    assert twice.boundary_iou == alone.boundary_iou
    assert twice.pixels == 2 * alone.pixels


# -------------------------------------------------------------------------------------------------------- boundaries


def test_the_border_of_the_image_is_no_contour() -> None:
    assert not find_boundaries(torch.zeros(1, 6, 6, dtype=torch.int64), 2).any()


def test_the_border_of_unlabelled_ground_is_no_contour() -> None:
    classes = torch.tensor([[[0, 0, IGNORE, 1, 1, 2]]])
    assert find_boundaries(classes, 1).tolist() == [[[False, False, False, False, True, True]]]
    assert find_boundaries(classes, 2).tolist() == [[[False, True, False, True, True, True]]]


def test_boundary_iou_by_hand() -> None:
    true, predicted = np.zeros((4, 8), np.int64), np.zeros((4, 8), np.int64)
    true[:, 4:], predicted[:, 5:] = 1, 1
    scores = score(predicted, true, classes=2, boundary_px=2)
    assert scores.boundary_iou == {"class 0": pytest.approx(1 / 3, abs=1e-4), "class 1": pytest.approx(1 / 3, abs=1e-4)}
    assert scores.boundary_miou == pytest.approx(1 / 3)


@pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 12, 70])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_boundary_iou_agrees_with_erosion_step_by_step(reach: int, unlabelled: bool) -> None:
    true, predicted = blobs(44, 57, reach, unlabelled=unlabelled), blobs(44, 57, reach + 100)
    predicted[:20] = np.where(true[:20] == IGNORE, 0, true[:20])
    counter = ScoreCounter(5, reach)
    counter.update(torch.from_numpy(predicted)[None], torch.from_numpy(true)[None])
    expected = [boundary_counts(predicted, true, k, reach) for k in range(5)]
    assert list(zip(counter.boundary_intersections.tolist(), counter.boundary_unions.tolist(), strict=True)) == expected
    shares = {f"class {k}": both / either if either else None for k, (both, either) in enumerate(expected)}
    assert counter.scores(names(5)).boundary_iou == shares


@pytest.mark.parametrize("highest", [1, 254])
def test_boundaries_know_all_class_indexes(highest: int) -> None:
    classes = torch.tensor([[[0, 0, highest, highest, highest]]])
    assert find_boundaries(classes, 1).tolist() == [[[False, True, True, False, False]]]


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    side=st.integers(1, 25),
    reach=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_windows_with_a_halo_count_like_the_whole_scene(height, width, side, reach, seed) -> None:
    true, predicted = blobs(height, width, seed, unlabelled=True), blobs(height, width, seed + 1000)
    counter = ScoreCounter(4, reach)
    for row in range(0, height, side):
        for col in range(0, width, side):
            halo = slice(max(row - reach, 0), row + side + reach), slice(max(col - reach, 0), col + side + reach)
            counted = torch.zeros(height, width, dtype=torch.bool)
            counted[row : row + side, col : col + side] = True
            parts = (torch.from_numpy(part)[halo][None] for part in (predicted, true))
            counter.update(*parts, counted[halo][None])
    assert counter.scores(names(4)) == score(predicted, true, boundary_px=reach)
