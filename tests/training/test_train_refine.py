"""Training a network that refines, from end to end: all that other runs leave, and what only coarser views tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from support.beacons import NO_COLOURS, beacon_module
from support.branches import check_going_on, check_resuming, weights
from support.labelled_tiles import SMALL, write_tiles
from support.reporters import Watching

from geoseg.cli import main
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.info import describe
from geoseg.commands.train import train
from geoseg.models.branches.refine import RefiningSegmenter
from geoseg.models.bundle import load_model
from geoseg.spec import TrainSpec, parse_spec

REFINE = {"ratios": [2, 4], "channels": 8}
TINY = {"refine": REFINE, "tile": 32, "overlap": 8}
EXACT: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


def write_config(folder: Path, name: str = "small.yaml", **changes: Any) -> Path:
    write_tiles(folder)
    path = folder / name
    path.write_text(yaml.safe_dump(SMALL | TINY | changes))
    return path


def on_top(folder: Path, bundle: Path, **changes: Any) -> Path:
    """The config of a run that trains the module on the network of a bundle."""
    settings = {"refine": REFINE | {"freeze_local": True}, "init_from": str(bundle)}
    return write_config(folder, "module.yaml", **settings | changes)


def network_of(bundle: Path) -> RefiningSegmenter:
    network = load_model(bundle).module
    assert isinstance(network, RefiningSegmenter)
    return network


def test_a_run_leaves_all_that_others_leave(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    result = train(config, tmp_path / "run")
    assert result.scores.miou > 0.9
    said = "classes from 1:4, 1:2 and 1:1, the finer ones corrected where they are unsure"
    assert describe(result.bundle)["sees"] == said
    page = result.report.read_text("utf-8")
    assert "Refinement" in page
    assert "seen 4 times coarser" in page
    again = evaluate_model(result.bundle, config, report=tmp_path / "a.html", **EXACT)
    assert again.scores.miou == pytest.approx(result.scores.miou, abs=0.01)


def test_first_the_network_learns_and_the_module_changes_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    bundle = train(config, tmp_path / "run").bundle
    refine = network_of(bundle).refine
    assert not refine.residual.out.weight.any()
    assert not refine.thresholds.any()
    alone, corrected = (evaluate_model(bundle, config, context=context, **EXACT) for context in (False, True))
    assert alone.scores == corrected.scores


def test_then_the_module_learns_and_the_network_stays_as_it_is(tmp_path: Path) -> None:
    first = train(write_config(tmp_path), tmp_path / "first").bundle
    notices: list[str] = []
    both = train(on_top(tmp_path, first), tmp_path / "both", reporter=Watching(lines=notices))
    before, after = weights(first), weights(both.bundle)
    kept = [name for name in before if name.startswith(("body.", "normalize."))]
    assert kept
    assert all(torch.equal(after[name], before[name]) for name in kept)
    refine = network_of(both.bundle).refine
    assert refine.residual.out.weight.any()
    assert ((refine.thresholds > 0) & (refine.thresholds < 1)).all()
    (line,) = (line for line in notices if line.startswith("all weights of small"))
    assert "new" not in line
    assert "not trained with refine" not in line
    assert both.scores.miou > 0.9


def test_a_network_of_one_resolution_gets_a_new_module(tmp_path: Path) -> None:
    local = train(write_config(tmp_path, refine=None), tmp_path / "local")
    notices: list[str] = []
    both = train(on_top(tmp_path, local.bundle, epochs=1), tmp_path / "both", reporter=Watching(lines=notices))
    before, after = weights(local.bundle), weights(both.bundle)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    (line,) = (line for line in notices if "new: the refinement module" in line)
    assert "not trained with refine" in line


def test_a_bundle_that_refines_is_gone_on_from(tmp_path: Path) -> None:
    first = train(write_config(tmp_path), tmp_path / "first").bundle
    assert any(name.startswith("refine.residual.") for name in weights(first))
    settings = {"init_from": str(first), "epochs": 1, "optimizer": {"learning_rate": 1e-9}}
    check_going_on(first, write_config(tmp_path, "more.yaml", **settings), tmp_path / "second")


@pytest.mark.parametrize("stage", ["network", "module"])
def test_a_resumed_run_ends_with_the_same_weights(stage: str, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    if stage == "module":
        config = on_top(tmp_path, train(config, tmp_path / "first").bundle)
    check_resuming(config, tmp_path)


def test_a_fraction_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    bundle = train(config, tmp_path / "run").bundle
    for fraction in ("0", "1"):
        arguments = ["evaluate", "--model", str(bundle), "--data", str(config), "--refine-fraction", fraction]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    wrong = CliRunner().invoke(
        main, ["evaluate", "--model", str(bundle), "--data", str(config), "--refine-fraction", "2"]
    )
    assert wrong.exit_code == 1
    assert "refine_fraction" in wrong.output


@pytest.mark.slow
def test_coarser_views_tell_what_cannot_be_told_from_near_by(tmp_path: Path) -> None:
    """The beacon task: ten minutes on two fast cores, half an hour on a slow one."""
    beacon = beacon_module()
    tiles = beacon.write_scenes(tmp_path, beacon.Task(), {"train": 160, "val": 6})
    settings = SMALL | {
        "data": {"tiles": str(tiles), "bands": ["red", "green", "blue"], "class_balance": 1.0},
        "classes": beacon.CLASSES,
        "network": {
            "architecture": "unet",
            "encoder": "tu-resnet18",
            "arguments": {"encoder_depth": 4, "decoder_channels": [64, 32, 16, 16]},
            "multiple": 16,
        },
        "refine": {"ratios": [8]},
        "window": 64,
        "tile": 128,
        "overlap": 0,
        "augment": dict.fromkeys(NO_COLOURS, 0.0),
        "optimizer": {"learning_rate": 0.003},
        "batch_size": 16,
        "windows_per_epoch": 16 * 160,
        "epochs": 4,
        "ema": 0.98,
    }
    first = train(parse_spec(TrainSpec, settings, source="test"), tmp_path / "network")
    more = {"refine": {"ratios": [8], "freeze_local": True}, "init_from": str(first.bundle), "epochs": 2}
    spec = parse_spec(TrainSpec, settings | more, source="test")
    run = train(spec, tmp_path / "module")
    local = evaluate_model(run.bundle, spec, device="cpu", precision="fp32", context=False, boundary_px=0)
    assert run.scores.miou >= local.scores.miou + 0.25
