"""Training with context from end to end: what cannot be told from near by is learnt, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.beacons import NO_COLOURS, beacon_module
from support.branches import check_going_on, check_resuming, weights
from support.labelled_tiles import SMALL, write_tiles
from support.reporters import Watching

from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.info import describe
from geoseg.commands.train import train
from geoseg.metrics.counter import ScoreCounter
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.models.surroundings import NO_VIEWS, Views
from geoseg.spec import IGNORE, TrainSpec, parse_spec
from geoseg.spec.fusion import FUSIONS
from geoseg.training.data.training_data import read_training_data
from geoseg.training.scoring.score_windows import scored_windows
from geoseg.training.scoring.scored_batch import ScoredBatch, stack_scored
from geoseg.training.scoring.scored_windows import ScoredWindows

POINT = {"architecture": "pointwise", "multiple": 8}
CONTEXT = {"levels": [{"ratio": 4, "size": 32}, {"ratio": "scene", "size": 16}], "network": POINT, "channels": 4}
TINY = {"context": CONTEXT, "tile": 48, "overlap": 16}


SHARED = {"levels": [{"ratio": 4, "size": 32}, {"ratio": 16, "size": 32}], "init": "local", "channels": 4}


def write_config(folder: Path, name: str = "small.yaml", **changes: Any) -> Path:
    write_tiles(folder)
    path = folder / name
    path.write_text(yaml.safe_dump(SMALL | TINY | changes))
    return path


def test_a_run_with_context_leaves_all_that_others_leave(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    result = train(config, tmp_path / "run")
    assert result.scores.miou > 0.9
    assert isinstance(load_model(result.bundle).module, ContextSegmenter)
    assert describe(result.bundle)["sees"] == ("128 px in 32 (1:4) and the whole scene in 16 px, seen by pointwise")
    page = result.report.read_text("utf-8")
    assert "seen 4 times coarser" in page
    assert "whole scene" in page
    again = evaluate_model(result.bundle, config, device="cpu", precision="fp32", report=tmp_path / "a.html")
    assert again.scores.miou == pytest.approx(result.scores.miou, abs=0.01)
    assert "seen 4 times coarser" in (tmp_path / "a.html").read_text("utf-8")
    assert not list((tmp_path / "run").glob("tmp*"))


@pytest.mark.parametrize("branch", ["context", "refine"])
def test_views_too_large_for_memory_are_averaged_in_the_new_folder_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, branch: str
) -> None:
    monkeypatch.setattr("geoseg.raster.window_store.HELD_BYTES", 0)
    changes = {} if branch == "context" else {"context": None, "refine": {"ratios": [2]}}

    result = train(write_config(tmp_path, **changes), tmp_path / "deep" / "run")

    assert result.bundle.exists()
    assert not [path for path in result.bundle.parent.iterdir() if path.name.startswith("tmp")]


def test_a_frozen_local_network_stays_as_it_is(tmp_path: Path) -> None:
    local = train(write_config(tmp_path, context=None), tmp_path / "local")
    config = write_config(
        tmp_path, "more.yaml", context=CONTEXT | {"freeze_local": True}, init_from=str(local.bundle), ema=0
    )
    both = train(config, tmp_path / "both")
    before, after = weights(local.bundle), weights(both.bundle)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert after["context.fusion.out.weight"].abs().max() > 0
    image = torch.rand(1, 3, 32, 32) * 255
    with torch.inference_mode():
        assert torch.equal(load_model(both.bundle).module(image), load_model(local.bundle).module(image))


def test_a_frozen_local_network_and_its_learning_copy_are_apart(tmp_path: Path) -> None:
    local = train(write_config(tmp_path, context=None), tmp_path / "local")
    config = write_config(
        tmp_path, "more.yaml", context=SHARED | {"freeze_local": True}, init_from=str(local.bundle), ema=0
    )
    both = train(config, tmp_path / "both")
    before, after = weights(local.bundle), weights(both.bundle)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not torch.equal(after["context.body.weight"], before["body.weight"])
    assert describe(both.bundle)["sees"].endswith("seen by a copy of its own network")
    again = evaluate_model(both.bundle, config, device="cpu", precision="fp32")
    assert again.scores.miou == pytest.approx(both.scores.miou, abs=0.01)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained local network, beside its data."""
    folder = tmp_path_factory.mktemp("local")
    return train(write_config(folder, context=None, epochs=1), folder / "local").bundle


@pytest.mark.parametrize("init", [SHARED, CONTEXT])
@pytest.mark.parametrize("fusion", FUSIONS.names)
def test_any_fusion_learns_on_a_frozen_network_from_windows_that_are_kept(
    tmp_path: Path, local: Path, fusion: str, init: dict[str, Any]
) -> None:
    context = init | {"freeze_local": True, "fusion": fusion}
    settings = {"init_from": str(local), "ema": 0, "epochs": 2, "windows_per_epoch": 8, "cache": {"windows": 8}}
    both = train(write_config(tmp_path, context=context, **settings), tmp_path / "both").bundle
    before, after = weights(local), weights(both)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    learnt = [name for name in after if name.startswith("context.fusion.") and name.endswith("weight")]
    assert all(after[name].any() for name in learnt)
    assert describe(both)["sees"].endswith(f", fused as in {fusion}") == (fusion != "gated")


def test_ground_smaller_than_the_context_is_told_of(tmp_path: Path) -> None:
    notices: list[str] = []
    context = CONTEXT | {"levels": [{"ratio": 8, "size": 32}]}
    config = write_config(tmp_path, context=context, epochs=1)
    bundle = train(config, tmp_path / "run", reporter=Watching(lines=notices)).bundle
    assert load_model(bundle).spec.card.training["data_in_views"] == [pytest.approx(0.03, abs=0.01)]
    assert any("show 128 px and more, but the largest training raster is 48 px" in line for line in notices)
    (line,) = (line for line in notices if "hold data" in line)
    assert "views hold data in 3% of their pixels at 1:8: give larger scenes" in line


def test_a_bundle_with_context_is_gone_on_from(tmp_path: Path) -> None:
    first = train(write_config(tmp_path), tmp_path / "first").bundle
    settings = {"init_from": str(first), "epochs": 1, "optimizer": {"learning_rate": 1e-9}}
    check_going_on(first, write_config(tmp_path, "more.yaml", **settings), tmp_path / "second")


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    check_resuming(write_config(tmp_path), tmp_path)


def test_a_resumed_run_with_a_shared_network_ends_with_the_same_weights(tmp_path: Path) -> None:
    local = train(write_config(tmp_path, context=None, epochs=1), tmp_path / "local")
    check_resuming(write_config(tmp_path, "more.yaml", context=SHARED, init_from=str(local.bundle)), tmp_path)


# --------------------------------------------------------------------------------------------------------- beacon task


def small_unet(depth: int, *channels: int) -> dict[str, Any]:
    arguments = {"encoder_depth": depth, "decoder_channels": channels}
    return {"architecture": "unet", "encoder": "tu-test_resnet", "arguments": arguments, "multiple": 2**depth}


def test_the_beacon_scenes_depend_on_the_seed_alone() -> None:
    beacon = beacon_module()
    task = beacon.Task()
    (image, labels), (again, _) = (beacon.make_scene(task, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(image, again)
    assert (image.shape, labels.shape) == ((3, 512, 512), (512, 512))
    assert {0} < set(np.unique(labels)) <= {0, 1, 2}
    assert 0.005 < (labels > 0).mean() < 0.05


@pytest.fixture(scope="module")
def beacons(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """Settings of the task, and what a network reaches that sees its windows alone.

    One beacon of either colour decides the class of all blobs of a scene; it is out of sight of most windows.
    """
    folder, beacon = tmp_path_factory.mktemp("beacons"), beacon_module()
    task = beacon.Task(side=256, beacons=1, blobs=30)
    tiles = beacon.write_scenes(folder, task, {"train": 40, "val": 8}, seed=1)
    level = {"ratio": 8, "size": 48, "margin": 0.34}
    settings = SMALL | {
        "data": {"tiles": str(tiles), "bands": ["red", "green", "blue"], "class_balance": 1.0},
        "classes": beacon.CLASSES,
        "network": small_unet(2, 16, 16),
        "context": {"levels": [level], "network": small_unet(4, 32, 24, 16, 16), "auxiliary": 1.0},
        "tile": 160,  # the padded scenes of 320 pixels in two windows of one size
        "overlap": 0,
        "augment": dict.fromkeys(NO_COLOURS, 0.0),
        "optimizer": {"learning_rate": 0.005},
        "batch_size": 16,
        "windows_per_epoch": 16 * 40,
        "ema": 0.9,
    }
    alone = settings | {"context": None, "epochs": 1}
    return settings, train(parse_spec(TrainSpec, alone, source="test"), folder / "local").scores.miou


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS.names)
def test_context_tells_what_cannot_be_told_from_near_by(
    tmp_path: Path, beacons: tuple[dict[str, Any], float], fusion: str
) -> None:
    values, local = beacons
    epochs = 5 if fusion == "fctl" else 2  # one factor that starts at 0 opens slowly
    settings = values | {"context": values["context"] | {"fusion": fusion}, "epochs": epochs}
    spec = parse_spec(TrainSpec, settings, source="test")
    run = train(spec, tmp_path / "context")
    assert run.scores.miou >= local + 0.25
    model = load_model(run.bundle)
    windows = scored_windows(read_training_data(spec).val, model.spec)
    batch = stack_scored(list(windows))
    views = batch.views
    others = _windows_of_the_other_class(windows, batch)
    wrong = Views(tuple(view[others] for view in views.images), views.boxes)
    assert _miou(model, batch, views) >= local + 0.25
    assert _miou(model, batch, wrong) <= run.scores.miou - 0.15
    assert _miou(model, batch, NO_VIEWS) <= local + 0.1


def _windows_of_the_other_class(windows: ScoredWindows, batch: ScoredBatch) -> list[int]:
    """For each window, one at the same place of a scene whose beacon has the other colour."""
    scenes = [which for which, _ in windows.places]
    known = batch.labels.where(batch.labels != IGNORE, 0).flatten(1).amax(dim=1).tolist()
    colours = {scene: max(one for one, here in zip(known, scenes, strict=True) if here == scene) for scene in scenes}
    return [
        next(
            number
            for number, (other, its) in enumerate(windows.places)
            if (its.i, its.j) == (place.i, place.j) and colours[other] != colours[scene]
        )
        for scene, place in windows.places
    ]


def _miou(model: Model, batch: ScoredBatch, views: Views) -> float:
    counter = ScoreCounter(3, None)
    assert isinstance(model.module, ContextSegmenter)
    with torch.inference_mode():
        logits = model.module(batch.image, model.module.see(views))
    counter.update(logits.argmax(dim=1), batch.labels, batch.counted)
    return counter.scores(["a", "b", "c"]).miou
