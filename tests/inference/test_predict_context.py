"""Scenes classified with a context branch: once per view, the same however the work is shared, off when asked."""

import numpy as np
import pytest
import rasterio
import torch
from support.branches import POINT, SMALL, colours, scores
from support.context_networks import awake
from support.executors import Apart
from support.models import make_spec
from support.rasters import write_raster

from geoseg.core.errors import SpecError
from geoseg.models.box_sampling import sample_boxes
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.models.surroundings import Context
from geoseg.models.tta import Augmentation, find_augmentations
from geoseg.spec import ContextLevel, ContextSpec, NormalizationSpec
from geoseg.spec.fusion import DEFAULT_FUSION, FUSIONS


@pytest.fixture(scope="module", params=["random", "local"])
def model(request):
    """A local network and a branch with two levels, all weights random and open."""
    return random_model(SMALL, request.param)


def random_model(network, init="random", levels=((4, 64), ("scene", 32)), **settings):
    torch.manual_seed(0)
    levels = tuple(ContextLevel(ratio=ratio, size=size) for ratio, size in levels)
    spec = make_spec(
        network=network,
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
        context=ContextSpec(
            levels=levels, channels=4, **({"network": network} if init == "random" else {"init": "local"}), **settings
        ),
        tile=min(128, *(level.largest_tile or 128 for level in levels)),
    )
    return Model(spec, awake(build_network(spec).eval(), std=2.0))


@pytest.fixture
def scene(tmp_path):
    return colours(tmp_path / "s.tif")


def test_context_changes_what_is_found_and_can_be_left_out(tmp_path, scene, model):
    with_context, _ = scores(scene, tmp_path / "with", model)
    without, _ = scores(scene, tmp_path / "without", model, context=False)
    local = Model(model.spec.model_copy(update={"context": None}), model.module)
    alone, _ = scores(scene, tmp_path / "alone", local)
    np.testing.assert_array_equal(without, alone)
    assert np.abs(with_context - without).max() > 0.02


def test_context_is_the_same_however_windows_are_batched_and_shared(tmp_path, scene, model):
    alone, _ = scores(scene, tmp_path / "one", model, batch_size=1)
    together, _ = scores(scene, tmp_path / "four", model, batch_size=4)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    shared, _ = scores(scene, tmp_path / "two", model, batch_size=1, scheduler=Apart())
    np.testing.assert_allclose(shared, alone, atol=1e-5)


@pytest.mark.parametrize("fusion", [name for name in FUSIONS if name != DEFAULT_FUSION])
def test_any_fusion_is_the_same_however_windows_are_batched_and_shared(tmp_path, scene, fusion):
    """Also two windows around each, two and three times as wide, with the lattices of their views."""
    model = random_model(SMALL, levels=((2, 64), (3, 64)), fusion=fusion)
    alone, _ = scores(scene, tmp_path / "one", model, batch_size=1)
    without, _ = scores(scene, tmp_path / "without", model, context=False)
    assert np.abs(alone - without).max() > 1e-3
    shared, _ = scores(scene, tmp_path / "two", model, batch_size=4, scheduler=Apart())
    np.testing.assert_allclose(shared, alone, atol=1e-5)


def test_a_constant_scene_gives_constant_scores(tmp_path):
    """No border of a window or of a view leaves a step: these networks see no edge, but for that of the scene."""
    scene = write_raster(tmp_path / "flat.tif", np.full((3, 640, 520), 77, np.uint8))
    found, _ = scores(scene, tmp_path / "out", random_model(POINT))
    assert np.ptp(found[:, 32:-32, 32:-32], axis=(1, 2)).max() < 1e-5


def test_far_ground_matters_only_with_context(tmp_path, scene, model):
    """What is changed lies far beyond the window and its overlap, but in its views."""
    before, _ = scores(scene, tmp_path / "before", model)
    local, _ = scores(scene, tmp_path / "local", model, context=False)
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(np.full((3, 80, 90), 250, np.uint8), window=rasterio.windows.Window(110, 190, 90, 80))
    after, _ = scores(scene, tmp_path / "after", model)
    local_after, _ = scores(scene, tmp_path / "local_after", model, context=False)
    np.testing.assert_array_equal(local[:, :100, :100], local_after[:, :100, :100])
    assert np.abs(after[:, :100, :100] - before[:, :100, :100]).max() > 1e-4


def test_the_scene_is_left_as_it_was_and_no_scratch_stays(tmp_path, scene, model):
    before = scene.read_bytes()
    scores(scene, tmp_path / "out", model)
    assert scene.read_bytes() == before
    assert not list((tmp_path / "out").glob(".*"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("s.")] == ["s.tif"]


def test_windows_that_reach_beyond_their_views_are_refused(tmp_path, scene, model):
    with pytest.raises(SpecError, match="reaches beyond the context"):
        scores(scene, tmp_path / "out", model, tile=512)
    scores(scene, tmp_path / "out", model, tile=512, context=False)


@pytest.mark.parametrize("how", [*find_augmentations("d4"), Augmentation(turns=3, mirrored=True)])
def test_boxes_turn_with_the_views(how):
    """A map that tells its own place, sampled where a turned window lies, is the turned sample."""
    rows, cols = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    maps = torch.stack([rows, cols])[None]
    boxes = torch.tensor([[0.2, 0.3, 0.6, 0.5]])
    turned = how.apply_context(Context((maps,), (boxes,)))
    plain = sample_boxes(maps, boxes, (16, 24))
    size = (16, 24) if how.turns % 2 == 0 else (24, 16)
    torch.testing.assert_close(sample_boxes(turned.maps[0], turned.boxes[0], size), how.apply(plain), atol=1e-4, rtol=0)
