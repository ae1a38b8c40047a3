"""Scenes whose coarse classes are refined: the same however work is shared, less of it when asked, off when asked."""

import copy

import numpy as np
import pytest
import rasterio
import torch
from support.branches import POINT, SETTINGS, SMALL, colours, scores
from support.executors import Apart
from support.models import make_spec
from support.rasters import write_raster
from support.reporters import Heard

from geoseg.commands.predict import predict
from geoseg.core.errors import SpecError
from geoseg.inference.views.coarse_classes import refine
from geoseg.inference.views.refined_windows import most_certain
from geoseg.inference.windows import make_grid
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.models.runner import Runner
from geoseg.models.surroundings import Context
from geoseg.spec import ClassifySpec, NormalizationSpec, RefineSpec


@pytest.fixture(scope="module")
def model():
    """A network with random weights whose classes differ, and a module that has a say."""
    return random_model(SMALL)


def random_model(network, ratios=(2, 8)):
    torch.manual_seed(0)
    spec = make_spec(
        network=network,
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
        refine=RefineSpec(ratios=ratios, channels=8),
        tile=64,
        overlap=16,
    )
    network = build_network(spec).eval()
    with torch.no_grad():
        network.body.head.apply(louder)
        network.refine.residual.out.weight.normal_(std=2)
        network.refine.thresholds.copy_(torch.linspace(0.05, 0.1, len(ratios)))
    return Model(spec, network)


def louder(module):
    if isinstance(module, torch.nn.Conv2d):
        module.weight.mul_(20)


@pytest.fixture
def scene(tmp_path):
    return colours(tmp_path / "s.tif")


def test_coarser_views_change_what_is_found_and_can_be_left_out(tmp_path, scene, model):
    refined, _ = scores(scene, tmp_path / "with", model)
    without, _ = scores(scene, tmp_path / "without", model, context=False)
    alone, _ = scores(scene, tmp_path / "alone", Model(model.spec.model_copy(update={"refine": None}), model.module))
    np.testing.assert_array_equal(without, alone)
    assert np.abs(refined - without).max() > 0.1


def test_it_is_the_same_however_windows_are_shared(tmp_path, scene, model):
    alone, _ = scores(scene, tmp_path / "one", model, batch_size=1, refine_fraction=0.4)
    shared, _ = scores(scene, tmp_path / "two", model, batch_size=1, scheduler=Apart(), refine_fraction=0.4)
    np.testing.assert_allclose(shared, alone, atol=1e-5)


@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_it_is_the_same_however_windows_are_batched(tmp_path, scene, model, fraction):
    alone, _ = scores(scene, tmp_path / "one", model, batch_size=1, refine_fraction=fraction)
    together, _ = scores(scene, tmp_path / "four", model, batch_size=4, refine_fraction=fraction)
    # A roundoff may move a pixel over the threshold, no more.
    assert (np.abs(together - alone).max(axis=0) > 1e-4).mean() < 1e-3


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_a_constant_scene_gives_constant_classes(tmp_path, fraction):
    """No window leaves a step; the network itself sees no edge here."""
    scene = write_raster(tmp_path / "flat.tif", np.full((3, 280, 208), 77, np.uint8))
    found, _ = scores(scene, tmp_path / "out", random_model(POINT), refine_fraction=fraction)
    if fraction in (0.0, 1.0):
        assert np.ptp(found, axis=(1, 2)).max() < 1e-5
    assert np.ptp(found.argmax(axis=0)) == 0


def test_every_level_has_a_threshold_of_its_own(tmp_path, scene, model):
    """With one of 1 nothing is corrected there: the windows of the scene then know nothing of what is around them."""
    whole, _ = scores(scene, tmp_path / "both", model)
    shut = copy.deepcopy(model)
    shut.module.refine.thresholds[1] = 1.0
    half, _ = scores(scene, tmp_path / "finest", shut)
    shut.module.refine.thresholds[0] = 1.0
    none, _ = scores(scene, tmp_path / "none", shut)
    alone, _ = scores(scene, tmp_path / "alone", model, context=False)
    np.testing.assert_array_equal(none, alone)
    assert np.abs(whole - half).max() > 1e-3
    assert np.abs(half - none).max() > 1e-3


@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_steps_of_two_go_all_the_way(tmp_path, scene, fraction):
    model = random_model(POINT, ratios=(2, 4, 8))
    found, _ = scores(scene, tmp_path / "out", model, refine_fraction=fraction)
    assert np.isfinite(found).all()
    alone, _ = scores(scene, tmp_path / "alone", model, context=False)
    assert np.abs(found - alone).max() > 0.1


def test_an_untrained_module_leaves_every_forwarded_window_as_it_is(tmp_path, scene, model):
    untrained = copy.deepcopy(model)
    torch.nn.init.zeros_(untrained.module.refine.residual.out.weight)
    found, _ = scores(scene, tmp_path / "with", untrained)
    alone, _ = scores(scene, tmp_path / "alone", model, context=False)
    np.testing.assert_array_equal(found, alone)


def test_no_look_again_gives_what_the_coarse_view_told(tmp_path, scene, model):
    none, _ = scores(scene, tmp_path / "none", model, refine_fraction=0.0)
    few, _ = scores(scene, tmp_path / "few", model, refine_fraction=0.3)
    every, _ = scores(scene, tmp_path / "all", model)
    inside = np.abs(none - every).max(axis=0) > 1e-3
    some = np.abs(none - few).max(axis=0) > 1e-3
    assert 0 < some.mean() < inside.mean()
    # What the coarsest view told is smooth over its pixels of 8 x 8.
    assert np.abs(np.diff(none, axis=1)).max() < 0.2
    assert np.abs(np.diff(every, axis=1)).max() > 0.3


def test_two_answers_are_mixed_by_their_shares(model):
    image = np.random.default_rng(4).integers(1, 255, (4, 3, 64, 64)).astype(np.float32)
    coarse = torch.rand(4, len(model.spec.classes), 12, 12, generator=torch.Generator().manual_seed(1))
    context = Context((coarse,), (torch.tensor([[0.1, 0.1, 0.9, 0.9]]).repeat(4, 1),))
    runner = Runner(model.module, "cpu", "fp32")
    shares = np.zeros((4, 64, 64), np.float32)
    shares[1], shares[2], shares[3] = 1, 0.25, np.linspace(0, 1, 64)
    every = refine(runner, image, context, np.ones_like(shares)).softmax(dim=1)
    none = refine(runner, image, context, np.zeros_like(shares)).softmax(dim=1)
    mixed = refine(runner, image, context, shares).softmax(dim=1)
    share = torch.from_numpy(shares)[:, None]
    assert (every - none).abs().amax(dim=(1, 2, 3)).min() > 0.1
    torch.testing.assert_close(mixed, every * share + none * (1 - share), atol=1e-5, rtol=0)


def test_it_goes_on_where_it_was_stopped(tmp_path, scene, model):
    whole, _ = scores(scene, tmp_path / "whole", model, batch_size=1, refine_fraction=0.5)

    def stop(stage, done, total):
        if stage == "predicting" and done > total / 3:
            raise KeyboardInterrupt

    folder = tmp_path / "parts"
    folder.mkdir()
    settings = SETTINGS | {"batch_size": 1, "refine_fraction": 0.5, "scores": folder / "scores.tif"}
    with pytest.raises(KeyboardInterrupt):
        predict(scene, folder, model=model, reporter=Heard(stop), **settings)
    predict(scene, folder, model=model, resume=True, **settings)
    with rasterio.open(folder / "scores.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), whole)
    assert not list(folder.glob(".*"))


def test_large_maps_lie_on_disk_and_go(tmp_path, scene, model, monkeypatch):
    held, _ = scores(scene, tmp_path / "held", model, batch_size=1)
    monkeypatch.setattr("geoseg.raster.window_store.HELD_BYTES", 0)
    filed, _ = scores(scene, tmp_path / "filed", model, batch_size=1)
    np.testing.assert_array_equal(filed, held)
    assert not list((tmp_path / "filed").glob(".*"))


def test_ground_without_data_is_left_out(tmp_path, scene, model):
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(np.zeros((3, 100, 208), np.uint8), window=rasterio.windows.Window(0, 100, 208, 100))
    scores(scene, tmp_path / "out", model, refine_fraction=0.5)
    with rasterio.open(next((tmp_path / "out").glob("*landcover.tif"))) as dataset:
        classes = dataset.read(1)
    assert (classes[100:200] == 255).all()
    assert (classes[:100] != 255).all()


def test_windows_without_data_take_no_share_of_the_work(tmp_path, model, monkeypatch):
    values = np.random.default_rng(3).integers(1, 255, (3, 512, 512), np.uint8)
    values[:, :, 200:] = 0
    scene = write_raster(tmp_path / "half.tif", values, nodata=0)
    grid = make_grid(512, 512, model.spec, ClassifySpec(tile=64, overlap=16))
    with_data = {(place.i, place.j) for place in grid.places() if place.core.pixels and place.core.col < 200}
    skipped = []

    def spy(*arguments):
        skipped.append(most_certain(*arguments))
        return skipped[-1]

    monkeypatch.setattr("geoseg.inference.views.coarse_to_fine.most_certain", spy)
    scores(scene, tmp_path / "out", model, refine_fraction=0.25)
    assert len(skipped[-1][0]) == len(with_data) * 3 // 4
    assert skipped[-1][0] <= with_data


def test_small_scenes_are_refined_too(tmp_path, model):
    scene = write_raster(tmp_path / "tiny.tif", np.random.default_rng(2).integers(1, 255, (3, 9, 13), np.uint8))
    found, _ = scores(scene, tmp_path / "out", model)
    assert np.isfinite(found).all()


def test_windows_that_are_skipped_are_not_counted_as_forwarded(tmp_path, scene, model):
    every, half, none = (
        predict(scene, tmp_path, model=model, overwrite=True, refine_fraction=fraction, **SETTINGS).forwarded_px
        for fraction in (1.0, 0.5, 0.0)
    )
    assert none == 0
    assert 0.4 * every < half < 0.6 * every


def test_a_model_that_refines_nothing_says_so(tmp_path, scene, model):
    result = predict(scene, tmp_path, model=model, refine_fraction=0.5, context=False, **SETTINGS)
    assert any("changes nothing" in line for line in result.notices)


def test_a_fraction_out_of_range_is_refused(tmp_path, scene, model):
    with pytest.raises(SpecError, match="refine_fraction"):
        scores(scene, tmp_path / "out", model, refine_fraction=1.5)
