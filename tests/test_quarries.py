"""The land-cover task of the benchmarks: bare soil whose class only far things decide."""

import csv
import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.ndimage import distance_transform_edt

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def quarries():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("quarries")


@pytest.fixture(scope="module")
def shown(quarries):
    return importlib.import_module("landscape.task")


@pytest.fixture(scope="module", params=[40, 160])
def task(quarries, request):
    return quarries.Task(reach_px=request.param, side=896, parcel_px=70, site_px=60, spread_px=150, margin_px=50)


@pytest.fixture(scope="module")
def scenes(quarries, task):
    return [quarries.make_scene(task, np.random.default_rng(seed)) for seed in range(3)]


def test_the_same_seed_gives_the_same_scene(quarries, task, scenes):
    again = quarries.make_scene(task, np.random.default_rng(0))
    np.testing.assert_array_equal(again.image, scenes[0].image)
    np.testing.assert_array_equal(again.labels, scenes[0].labels)
    assert not np.array_equal(scenes[1].image, scenes[0].image)


def test_every_pixel_has_a_class_and_every_class_pixels(shown, quarries, task, scenes):
    assert {scene.image.shape for scene in scenes} == {(3, task.side, task.side)}
    assert {scene.labels.shape for scene in scenes} == {(task.side, task.side)}
    assert set(np.unique([scene.labels for scene in scenes])) == {one["id"] for one in shown.CLASSES}


def test_each_scene_holds_as_much_bare_soil_of_either_kind(shown, quarries, scenes):
    shares = np.array([[(scene.labels == kind).mean() for kind in shown.PAIR] for scene in scenes])
    assert shares.min() > 0.003
    assert np.abs(np.log(shares[:, 0] / shares[:, 1])).max() < 0.5
    assert shares.mean(axis=0)[0] == pytest.approx(shares.mean(axis=0)[1], rel=0.15)


def test_evidence_lies_as_far_from_bare_soil_as_the_task_says(shown, quarries, task, scenes):
    for scene in scenes:
        away = distance_transform_edt(scene.evidence == 0)[np.isin(scene.labels, shown.PAIR)]
        assert away.min() >= task.reach_px
        assert away.max() <= task.reach_px + task.spread_px + task.site_px / 2


def test_bare_soil_belongs_to_the_nearest_site(shown, quarries, scenes):
    for scene in scenes:
        farm, quarry = (distance_transform_edt(scene.evidence != 1 + kind) for kind in (shown.FARM, shown.QUARRY))
        assert (farm < quarry)[scene.labels == shown.BARE_FIELD].all()
        assert (quarry < farm)[scene.labels == shown.BARE_QUARRY].all()


def test_nothing_but_the_sites_shows_the_class_of_bare_soil(shown, quarries, task):
    """Where farms and quarries change places, all pixels beyond the sites stay, and bare soil changes its class."""
    plan = quarries.make_plan(task, np.random.default_rng(5))
    sites = replace(plan.sites, kinds=1 - plan.sites.kinds)
    swapped = replace(plan, sites=sites, bare={number: 1 - kind for number, kind in plan.bare.items()})
    one, other = (quarries.draw_scene(task, drawn, np.random.default_rng(6)) for drawn in (plan, swapped))
    beyond = distance_transform_edt((one.evidence == 0) & (other.evidence == 0)) > 2 * shown.GUARD_PX
    bare = np.isin(one.labels, shown.PAIR)
    assert bare[beyond].sum() == bare.sum() > 0
    np.testing.assert_array_equal(one.image[:, beyond], other.image[:, beyond])
    np.testing.assert_array_equal(one.labels[beyond & ~bare], other.labels[beyond & ~bare])
    np.testing.assert_array_equal(one.labels[bare] + other.labels[bare], sum(shown.PAIR))


def test_scenes_are_written_with_their_list(quarries, task, tmp_path):
    path = quarries.write_scenes(tmp_path / "scenes", replace(task, side=768), {"train": 2, "val": 1})
    rows = list(csv.DictReader(path.open()))
    assert sorted(row["split"] for row in rows) == ["train", "train", "val"]
    for row in rows:
        with rasterio.open(path.parent / row["image"]) as image, rasterio.open(path.parent / row["label"]) as label:
            assert (image.shape, image.transform, image.crs) == (label.shape, label.transform, label.crs)
            assert (image.count, image.dtypes[0], image.res) == (3, "uint8", (0.5, 0.5))


def test_scenes_too_small_for_the_reach_are_refused(quarries):
    with pytest.raises(ValueError, match="larger side or a shorter reach"):
        quarries.make_plan(quarries.Task(reach_px=400, side=512), np.random.default_rng(0))
