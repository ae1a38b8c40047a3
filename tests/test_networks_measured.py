"""The table of all networks at one small budget: what it trains, and how a picture of it is drawn."""

import importlib
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from geoseg.models.families import FAMILIES
from geoseg.models.families.building import check_network

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def plan(benchmarks):
    return benchmarks("network_runs.plan").load_plan()


def test_every_network_is_measured_or_left_out_with_the_reason(plan):
    assert {*plan.networks, *plan.left_out} == set(FAMILIES.own)
    assert not plan.networks.keys() & plan.left_out.keys()
    assert all(plan.left_out.values())


def test_ten_networks_get_three_seeds_and_all_others_one(plan):
    runs = list(plan.runs(3))
    assert len(plan.most_used) == 10
    assert runs[: len(plan.networks)] == [(name, 0) for name in plan.networks], "all once, before any again"
    assert list(plan.networks)[:10] == list(plan.most_used)
    assert {name for name, seed in runs if seed} == set(plan.most_used)
    assert len(runs) == len(plan.networks) + 2 * 10
    assert list(plan.runs(3, ["unet"])) == [("unet", 0), ("unet", 1), ("unet", 2)]


@pytest.mark.parametrize("name", FAMILIES.own)
def test_a_network_has_the_budget_of_all_others(plan, name):
    if name in plan.left_out:
        pytest.skip(plan.left_out[name])
    spec = plan.spec(name, 1, Path("tiles.csv"))
    check_network(spec.network)
    other = plan.spec("unet", 1, Path("tiles.csv"))
    assert spec.model_copy(update={"network": other.network}) == other
    assert spec.encoder_weights is None
    assert spec.init_from is None


def test_what_is_done_is_not_done_again(benchmarks, plan, tmp_path):
    training = benchmarks("network_runs.training").Training(plan, tmp_path, tmp_path / "tiles.csv")
    assert len(training.left(3)) == len(plan.networks) + 20
    benchmarks("network_runs.results").trained(tmp_path).keep("unet-0", {"run_s": 100.0})
    assert ("unet", 0) not in training.left(3)
    assert training.estimate([("unet", 1), ("fpn", 0)], {"fpn": 7.0}) == 107.0


def test_names_in_the_picture_do_not_cover_each_other(benchmarks):
    picture = benchmarks("network_runs.picture")
    dots = [picture.Dot(f"network{i}", 1 + 0.05 * i, 0.4 + i % 3 / 100, 0.39, 0.43, i < 3) for i in range(24)]
    root = ElementTree.fromstring(picture.draw(dots, "Mpx/s", "mIoU"))
    texts = [one for one in root.iter("{http://www.w3.org/2000/svg}text") if (one.text or "").startswith("network")]
    assert len(texts) == len(dots)
    places = [(float(one.get("x")), float(one.get("y")), 6 * len(one.text)) for one in texts]
    for (x, y, width), (other_x, other_y, other_width) in combinations(places, 2):
        assert x + width <= other_x or other_x + other_width <= x or abs(y - other_y) >= 11
