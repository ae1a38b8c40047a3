"""Several seeds of one config: each a run of its own, the spread of all scores, and the model of the first kept."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.reporters import Watching

from geoseg.cli.train import train as command
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.train import train
from geoseg.core.errors import OutputError, SpecError
from geoseg.metrics.spread import Spread
from geoseg.models.header import read_spec


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config beside its four tiles."""
    names = ["a", "b", "c", "d"]
    write_tiles(tmp_path, splits=" ".join(names))
    (tmp_path / "tiles.csv").write_text("\n".join(["image,label", *(f"{n}.tif,{n}_labels.tif" for n in names)]))
    split = {"by": "scene", "val_share": 0.5}
    return write_config(tmp_path, data=SMALL["data"] | {"split": split}, epochs=2)


def test_each_seed_is_a_run_and_the_first_is_kept_whatever_its_score(config: Path, tmp_path: Path) -> None:
    result = train(config, tmp_path / "run", seeds=3, seed=5)
    assert [one.seed for one in result.seeds] == [5, 6, 7]
    parts = [tmp_path / "run" / f"seed-{n}" / "small.safetensors" for n in (1, 2, 3)]
    mious = [read_spec(part).card.scores["miou"] for part in parts]
    assert mious == [one.scores.miou for one in result.seeds]
    assert len(set(mious)) > 1
    assert result.scores == result.seeds[0].scores
    assert evaluate_model(result.bundle, config, device="cpu", precision="fp32").scores == result.scores
    alone = train(config, tmp_path / "alone", seed=6)
    assert alone.scores == result.seeds[1].scores

    spread = result.spread
    assert spread is not None
    mean = sum(mious) / 3
    deviation = (sum((one - mean) ** 2 for one in mious) / 2) ** 0.5
    approximately = Spread(pytest.approx(mean), min(mious), max(mious), pytest.approx(deviation), 3)
    assert spread.overall["miou"] == approximately
    assert set(spread.by_class) == {"iou", "f1", "precision", "recall", "boundary_iou"}

    card = read_spec(result.bundle).card
    assert "It is the first of 3 runs that differ in their seed alone, not the best" in card.limits
    assert card.training["spread"]["miou"]["lowest"] == min(mious)
    page = result.report.read_text("utf-8")
    assert "Spread over seeds" in page
    assert f"{mean:.3f}" in page
    assert [row["seed"] for row in csv.DictReader(result.metrics.open())] == ["5", "6", "7"]
    plain = json.loads(json.dumps(result.as_dict(), default=str))
    assert plain["spread"]["miou"]["mean"] == pytest.approx(mean)
    assert [one["seed"] for one in plain["seeds"]] == [5, 6, 7]
    assert plain["calibration"] == read_spec(parts[0]).card.calibration
    assert plain["calibration"]["val"]["ece"] > 0


def test_an_interrupted_run_goes_on_with_the_seed_that_was_under_way(config: Path, tmp_path: Path) -> None:
    whole = train(config, tmp_path / "whole", seeds=2)

    def stop(state: Any) -> None:
        if state.stage == "training" and state.done > 5 and (tmp_path / "run" / "seed-2").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", seeds=2, reporter=Watching(stop))
    first = (tmp_path / "run" / "seed-1" / "small.safetensors").stat().st_mtime_ns
    assert train(config, tmp_path / "run", seeds=2, resume=True).seeds == whole.seeds
    assert (tmp_path / "run" / "seed-1" / "small.safetensors").stat().st_mtime_ns == first
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        train(config, tmp_path / "run", seeds=2)


def test_the_command_shows_mean_and_spread_of_every_score(config: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(config), "-o", str(tmp_path / "run"), "--seeds", "2"])
    assert done.exit_code == 0, done.output
    assert "validation scores of seeds 0, 1; the model is that of the first:" in done.stdout
    for said in ("mean", "lowest", "highest", "standard deviation", "mIoU", "kappa", "boundary IoU water"):
        assert said in done.stdout, said
    assert "validation: confidences are off by" in done.stdout


@pytest.mark.parametrize(
    ("split", "says"),
    [({"by": "scene", "folds": 2}, "do not go with data.split.folds"), ({"by": "none"}, "nothing is validated")],
)
def test_seeds_without_a_single_split_are_refused_in_one_line(
    config: Path, tmp_path: Path, split: dict[str, object], says: str
) -> None:
    other = write_config(tmp_path, data=SMALL["data"] | {"split": split}, epochs=2)
    with pytest.raises(SpecError, match=says) as refused:
        train(other, tmp_path / "run", seeds=2)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
