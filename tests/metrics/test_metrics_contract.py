"""What every registered metric keeps, also one of another package that is installed."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.metric import METRICS, Counts
from geoseg.metrics.scores import Scores, scores_of

pytestmark = pytest.mark.parametrize("name", METRICS.names)
CLASSES = ("grass", "water", "road", "never")


def random_counts(seed: int = 0) -> list[torch.Tensor]:
    """Confusion, boundary intersections and unions; the last class occurs nowhere."""
    random = np.random.default_rng(seed)
    confusion = random.integers(0, 50, (4, 4))
    unions = random.integers(1, 50, 4)
    confusion[3], confusion[:, 3], unions[3] = 0, 0, 0
    return [torch.from_numpy(part) for part in (confusion, random.integers(0, unions + 1), unions)]


def scores(confusion, intersections, unions, names=CLASSES) -> Scores:
    return scores_of(confusion, names, intersections, unions, boundary_px=2)


def figures(name: str, found: Scores) -> list[float | None]:
    """The figure over all classes, or those of the classes, whatever their order."""
    return list(found.by_class[name].values()) if METRICS.get(name).by_class else [found.overall[name]]


def test_its_name_can_stand_in_files_and_in_a_floor(name):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert name not in {field.name for field in dataclasses.fields(Scores)}


def test_its_module_imports_no_pytorch(name):
    code = f"import sys; from geoseg.metrics.metric import METRICS; METRICS.get({name!r})"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_it_is_one_for_a_perfect_prediction(name):
    classes = torch.arange(3).repeat_interleave(12).reshape(1, 6, 6)
    counter = ScoreCounter(3, boundary_px=1)
    counter.update(classes, classes)
    assert set(figures(name, counter.scores(CLASSES[:3]))) == {1.0}


@pytest.mark.parametrize("seed", range(5))
def test_it_lies_within_its_bounds(name, seed):
    found = [value for value in figures(name, scores(*random_counts(seed))) if value is not None]
    assert found
    assert all(-1 <= value <= 1 for value in found)


def test_a_class_that_occurs_nowhere_has_none_and_takes_no_part(name):
    confusion, *boundaries = random_counts()
    with_it, without = (
        scores(confusion[:k, :k], *(part[:k] for part in boundaries), names=CLASSES[:k]) for k in (4, 3)
    )
    absent = [None] if METRICS.get(name).by_class else []
    assert figures(name, with_it) == pytest.approx([*figures(name, without), *absent])


def test_classes_in_another_order_have_the_same_figures(name):
    order = torch.tensor([2, 0, 3, 1])
    confusion, *boundaries = random_counts()
    moved = scores(confusion[order][:, order], *(part[order] for part in boundaries), names=[CLASSES[i] for i in order])
    found = scores(confusion, *random_counts()[1:])
    if METRICS.get(name).by_class:
        assert moved.by_class[name] == found.by_class[name]
    else:
        assert moved.overall[name] == pytest.approx(found.overall[name])


def test_a_class_that_is_only_predicted_has_none(name):
    confusion, *boundaries = random_counts()
    confusion[:3, 3] = 5
    boundaries[1][3] = 4
    if METRICS.get(name).by_class:
        assert scores(confusion, *boundaries).by_class[name]["never"] in (None, 0.0)


def test_nothing_counted_gives_none_without_a_fault(name):
    nothing = torch.zeros(4, dtype=torch.int64)
    found = scores(torch.zeros(4, 4, dtype=torch.int64), nothing, nothing)
    assert set(figures(name, found)) <= {None}


def test_it_is_shown_where_enough_was_counted(name):
    metric = METRICS.get(name)
    compared = scores(*random_counts())
    alone = scores_of(random_counts()[0], CLASSES)
    for found, is_shown in ((compared, True), (alone, not metric.needs_boundaries)):
        shown = {figure.name: figure for figure in (found.columns if metric.by_class else found.headline)}
        assert (name in shown) == is_shown
        assert name in found.as_dict()
    words = {figure.name: figure.words for figure in (*compared.headline, *compared.columns)}[name]
    assert words.label
    assert words.heading
    assert "{" not in words.label + words.heading + words.meaning


def test_it_comes_back_from_plain_values(name):
    found = scores(*random_counts())
    again = Scores.from_dict(found.as_dict())
    assert again == found
    assert getattr(again, name) == found.as_dict()[name]


def test_it_says_whether_it_is_another_figure_without_one_of_the_classes(name):
    """As the pixels of a missed class dwindle, a figure over classes keeps its share of it until the last one goes."""

    def figure(share: float) -> float:
        confusion = torch.tensor([[80, 20, 0], [10, 90, 0], [0, 0, 0]], dtype=torch.float64)
        confusion[2, 0] = 100 * share
        unions = torch.tensor([50, 50, 50 * share], dtype=torch.float64)
        return float(METRICS.get(name)().figure(Counts(confusion, unions * torch.tensor([0.8, 0.9, 0]), unions)))

    metric = METRICS.get(name)
    if metric.by_class:
        assert not metric.over_classes
    else:
        assert metric.over_classes == (abs(figure(1e-9) - figure(0)) > 0.01)
