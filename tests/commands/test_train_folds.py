"""Cross-validation: pooled scores, a model on all labels, and a killed run that goes on where it was."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.reporters import Watching

from geoseg.cli.train import train as command
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.train import train
from geoseg.core.errors import LabelError, OutputError, SpecError
from geoseg.metrics.scores import Scores
from geoseg.models.header import read_spec

FOLDS = 3


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of three folds beside its six tiles."""
    names = ["a", "b", "c", "d", "e", "f"]
    write_tiles(tmp_path, splits=" ".join(names))
    (tmp_path / "tiles.csv").write_text("\n".join(["image,label", *(f"{n}.tif,{n}_labels.tif" for n in names)]))
    return write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "scene", "folds": FOLDS}}, epochs=2)


def weights(bundle: Path) -> dict[str, bytes]:
    with safe_open(bundle, framework="np") as tensors:
        return {name: tensors.get_tensor(name).tobytes() for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)


def test_scores_are_pooled_over_the_folds_and_the_model_is_trained_on_all_labels(config: Path, tmp_path: Path) -> None:
    result = train(config, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.yaml", "final", "fold_1", "fold_2", "fold_3", "metrics.csv", "report.html", "small.safetensors",
    ]  # fmt: skip
    cards = [read_spec(tmp_path / "run" / f"fold_{n}" / "small.safetensors").card for n in (1, 2, 3)]
    confusion = np.sum([card.scores["confusion"] for card in cards], axis=0)
    assert result.scores.confusion == tuple(map(tuple, confusion.tolist()))
    assert result.scores.pixels == 6 * 40 * 48, "every pixel is scored once"
    shares = confusion.diagonal() / (confusion.sum(axis=0) + confusion.sum(axis=1) - confusion.diagonal())
    assert result.scores.miou == pytest.approx(shares.mean())
    counts = np.sum([card.scores["boundary_counts"] for card in cards], axis=0)
    assert result.scores.boundary_miou == pytest.approx((counts[0] / counts[1]).mean())
    assert {card.training["best_epoch"] for card in cards} == {2}, "choosing an epoch would flatter the scores"
    assert (result.train_images, result.train_pixels) == (6, 6 * 40 * 48)
    assert (result.val_images, result.val_pixels) == (6, 6 * 40 * 48)
    temperatures = [read_spec(tmp_path / "run" / f"fold_{n}" / "small.safetensors").temperature for n in (1, 2, 3)]
    assert 1 not in temperatures
    assert read_spec(result.bundle).temperature == pytest.approx(np.prod(temperatures) ** (1 / 3), rel=1e-3)
    card = read_spec(result.bundle).card
    assert card.scores["miou"] == result.scores.miou
    intervals = result.scores.intervals
    assert intervals is not None
    own = [Scores.from_dict(card.scores).intervals for card in cards]
    assert intervals.units == sum(one.units for one in own if one is not None) == 6
    found = intervals.find("boundary_miou")
    assert found is not None
    assert found.low <= result.scores.boundary_miou <= found.high
    assert Scores.from_dict(card.scores).intervals == intervals
    assert "Its scores are those of 3 models like it" in card.limits
    assert "nothing is measured" not in card.limits
    assert [row["fold"] for row in csv.DictReader(result.metrics.open())] == ["1", "2", "3"]
    assert "fold_2/report.html" in result.report.read_text("utf-8")


def test_a_fold_can_be_trained_and_scored_again_from_its_own_config(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run")
    fold = tmp_path / "run" / "fold_2"
    again = train(fold / "config.yaml", tmp_path / "again")
    assert weights(fold / "small.safetensors") == weights(again.bundle)
    scored = evaluate_model(again.bundle, fold / "config.yaml")
    assert scored.scores.pixels == again.scores.pixels == 2 * 40 * 48
    with pytest.raises(SpecError, match=r"say which of them validates, 1 to 3, in data\.split\.fold"):
        evaluate_model(again.bundle, config)


@pytest.mark.parametrize("kill_at", [2, 5, 7])
def test_a_killed_cross_validation_goes_on_where_it_was(config: Path, tmp_path: Path, kill_at: int) -> None:
    scored = 0

    def stop(state: Any) -> None:
        nonlocal scored
        scored += state.stage == "scored"
        if scored == kill_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    epochs: list[Any] = []
    resumed = train(config, tmp_path / "run", resume=True, reporter=Watching(epochs.append))
    assert sum(state.stage == "scored" for state in epochs) == 2 * (FOLDS + 1) - kill_at
    whole = train(config, tmp_path / "whole")
    assert resumed.scores == whole.scores
    assert weights(resumed.bundle) == weights(whole.bundle)
    with pytest.raises(OutputError, match="holds a finished run"):
        train(config, tmp_path / "run", resume=True)
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        train(config, tmp_path / "run")


def test_overwriting_starts_all_folds_anew(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path / "run")
    epochs: list[Any] = []
    train(config, tmp_path / "run", overwrite=True, reporter=Watching(epochs.append))
    assert sum(state.stage == "scored" for state in epochs) == 2 * (FOLDS + 1)


def test_a_mistake_in_the_labels_leaves_nothing_behind(config: Path, tmp_path: Path) -> None:
    (tmp_path / "tiles.csv").write_text("image,label\na.tif,a_labels.tif\n")
    with pytest.raises(LabelError, match="1 of the images has labels"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folds_go_with_one_device(config: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="goes with one device"):
        train(config, tmp_path / "run", devices=2)


def test_the_command_shows_the_pooled_scores(config: Path, tmp_path: Path) -> None:
    arguments = [str(config), "-o", str(tmp_path / "run"), "--epochs", "1"]
    run = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "scores are those of 3 folds together (mIoU " in run.stdout
    assert [line for line in run.stderr.splitlines() if line.startswith("fold ")] == [
        f"fold {n} of 3" for n in (1, 2, 3)
    ]
    again = CliRunner().invoke(command, [*arguments, "--overwrite", "--json", "-q"], catch_exceptions=False)
    assert len(json.loads(again.stdout)["folds"]) == 3


def test_clusters_and_groups_are_dealt_to_folds_and_the_final_model_learns_them_all(tmp_path: Path) -> None:
    write_tiles(tmp_path, splits="a b c d")
    rows = [f"{name}.tif,{name}_labels.tif,{town}" for name, town in zip("abcd", "uuvw", strict=True)]
    (tmp_path / "tiles.csv").write_text("\n".join(["image,label,town", *rows]))
    split = {"by": "clusters", "group_column": "town", "folds": 2}
    result = train(write_config(tmp_path, data=SMALL["data"] | {"split": split}, epochs=1), tmp_path / "run")
    assert [one.pixels for one in result.folds] == [2 * 40 * 48] * 2
    assert result.train_images == 4
