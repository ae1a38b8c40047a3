"""Leave-one-region-out: each region is scored by a model that learnt from the others, and a killed run goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from support.labelled_tiles import SMALL, write_config, write_tile, write_tiles
from support.reporters import Heard, Watching

from geoseg.cli import main
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.leave_out import leave_out
from geoseg.core.errors import LabelError, OutputError, SpecError
from geoseg.models.header import read_spec
from geoseg.spec import load_train_spec
from geoseg.training.data.training_data import read_training_data

REGIONS = {"a": "east", "b": "east", "c": "far west", "d": "far west", "e": "north", "f": "north"}
BY_SCENE = {"by": "scene", "val_share": 0.3}


def write_list(folder: Path, *, splits: str = "", regions: dict[str, str] = REGIONS) -> None:
    """Write the list of tiles with the region of each, and its side where sides are given."""
    rows = [f"{name}.tif,{name}_labels.tif,{region}" for name, region in regions.items()]
    head = "image,label,region"
    if splits:
        head, rows = f"{head},split", [f"{row},{side}" for row, side in zip(rows, splits.split(), strict=True)]
    (folder / "tiles.csv").write_text("\n".join([head, *rows]))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config beside two tiles of each of three regions."""
    write_tiles(tmp_path, splits=" ".join(REGIONS))
    write_list(tmp_path)
    return write_config(tmp_path, data=SMALL["data"] | {"split": BY_SCENE}, epochs=2)


def no_water_in(folder: Path, *names: str) -> None:
    """Relabel the water of some tiles as grass."""
    for name in names:
        with rasterio.open(folder / f"{name}_labels.tif") as labels:
            left, ids = labels.transform.c, labels.read(1)
        write_tile(folder / f"{name}_labels.tif", np.full_like(ids, 3), left)


def test_every_region_is_scored_by_a_model_that_learnt_from_the_others_alone(config: Path, tmp_path: Path) -> None:
    result = leave_out(config, "region", tmp_path / "out")
    assert [one.region for one in result.found.regions] == ["east", "far west", "north"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.yaml", "region_1_east", "region_2_far_west", "region_3_north", "regions.json", "report.html",
    ]  # fmt: skip
    for number, one in enumerate(result.found.regions, 1):
        (folder,) = (tmp_path / "out").glob(f"region_{number}_*")
        spec = load_train_spec(folder)
        read = read_training_data(spec)
        assert spec.data.split.test_where == {"region": one.region}
        assert read.train.images + read.val.images == 4
        files = {path.image.name for side in (read.train, read.val) for path in _listed(spec)}
        assert files == {f"{name}.tif" for name, region in REGIONS.items() if region != one.region}
        assert (one.images, one.scores.pixels) == (2, 2 * 40 * 48)
        again = evaluate_model(folder / "small.safetensors", folder / "config.yaml", split="test")
        assert again.scores == one.scores, "it is the test side of that run"
        assert one.home is not None
        assert one.home.pixels == read.val.pixels
    mious = [one.scores.miou for one in result.found.regions]
    miou = result.found.spread.overall["miou"]
    assert (miou.mean, miou.lowest, miou.highest) == (pytest.approx(np.mean(mious)), min(mious), max(mious))
    assert result.found.worst.scores.miou == min(mious)
    assert result.found.pooled.pixels == 6 * 40 * 48
    assert json.loads(result.file.read_text("utf-8")) == json.loads(json.dumps(result.as_dict()))
    page = result.report.read_text("utf-8")
    assert "far west" in page
    assert f"{result.found.worst.region} (worst)" in page


def _listed(spec: Any) -> Any:
    from geoseg.data.listing import list_rasters

    return [one for one in list_rasters(spec.data) if one.split != "test"]


@pytest.mark.parametrize("kill_at", [1, 4])
def test_a_killed_run_goes_on_where_it_was(config: Path, tmp_path: Path, kill_at: int) -> None:
    scored = 0

    def stop(state: Any) -> None:
        nonlocal scored
        scored += state.stage == "scored"
        if scored == kill_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave_out(config, "region", tmp_path / "out", reporter=Watching(stop))
    assert not (tmp_path / "out" / "regions.json").exists()
    epochs: list[Any] = []
    resumed = leave_out(config, "region", tmp_path / "out", resume=True, reporter=Watching(epochs.append))
    assert sum(state.stage == "scored" for state in epochs) == 6 - kill_at
    whole = leave_out(config, "region", tmp_path / "whole")
    assert resumed.found.as_dict() == whole.found.as_dict()
    with pytest.raises(OutputError, match="holds a finished run"):
        leave_out(config, "region", tmp_path / "out", resume=True)
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        leave_out(config, "region", tmp_path / "out")


def test_other_regions_are_not_taken_for_those_of_an_earlier_run(config: Path, tmp_path: Path) -> None:
    leave_out(config, "region", tmp_path / "out", epochs=1)
    (tmp_path / "out" / "report.html").unlink()
    write_list(tmp_path, regions={**REGIONS, "e": "east", "a": "north"})
    with pytest.raises(SpecError, match="holds the run of other regions"):
        leave_out(config, "region", tmp_path / "out", resume=True, epochs=1)


def test_with_folds_each_model_learns_all_labels_of_the_other_regions(config: Path, tmp_path: Path) -> None:
    write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "scene", "folds": 2}}, epochs=1)
    result = leave_out(config, "region", tmp_path / "out")
    assert [one.home for one in result.found.regions] == [None] * 3
    card = read_spec(tmp_path / "out" / "region_1_east" / "small.safetensors").card
    assert card.training["train_images"] == 4
    assert "home_spread" in result.as_dict()
    assert "At home" in result.report.read_text("utf-8")


def test_images_given_as_test_are_learnt_by_none_and_scored_with_their_region(config: Path, tmp_path: Path) -> None:
    write_list(tmp_path, splits="train test val train train val")
    write_config(tmp_path, epochs=1)
    said = Heard()
    result = leave_out(config, "region", tmp_path / "out", reporter=said)
    assert [one.images for one in result.found.regions] == [2, 2, 2]
    training = [
        read_spec(next((tmp_path / "out").glob(f"region_{n}_*")) / "small.safetensors").card.training for n in (1, 2, 3)
    ]
    assert [one["train_images"] + one["val_images"] for one in training] == [4, 3, 3]
    assert any(line.startswith("1 image left out: given as test") for line in said.lines)


def test_scenes_are_left_out_by_their_group(tmp_path: Path) -> None:
    write_tiles(tmp_path, splits=" ".join(REGIONS))
    scenes = [{"image": f"{n}.tif", "label": f"{n}_labels.tif", "group": group} for n, group in REGIONS.items()]
    data = {"scenes": scenes, "bands": ["red", "green", "blue"], "resolution_m": 0.5, "split": BY_SCENE}
    config = write_config(tmp_path, data=data, epochs=1)
    assert len(leave_out(config, "group", tmp_path / "out").found.regions) == 3
    with pytest.raises(LabelError, match=r"the column town .* but images in data\.scenes have group"):
        leave_out(config, "town", tmp_path / "other")


def test_a_class_that_a_region_lacks_is_said_and_one_of_a_single_region_refused(config: Path, tmp_path: Path) -> None:
    no_water_in(tmp_path, "c", "d")
    said = Heard()
    result = leave_out(config, "region", tmp_path / "out", reporter=said, epochs=1)
    assert any(line.startswith("far west shows no water: its means are over its other classes") for line in said.lines)
    assert result.found.regions[1].scores.iou["water"] is None
    assert result.found.regions[1].scores.labelled_classes == 1
    no_water_in(tmp_path, "e", "f")
    with pytest.raises(LabelError, match="class water is labelled in east alone: where that is left out"):
        leave_out(config, "region", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_bad_input_gets_a_line_that_says_what_to_change_before_training(config: Path, tmp_path: Path) -> None:
    def fails(error: type[Exception], message: str, column: str = "region", **settings: Any) -> None:
        with pytest.raises(error, match=message):
            leave_out(config, column, tmp_path / "out", **settings)
        assert not (tmp_path / "out").exists()

    fails(LabelError, r"tiles\.csv has no column town, which is to say what is for the test: correct its name", "town")
    fails(SpecError, "seeds 2 does not go with regions", seeds=2)
    fails(SpecError, "devices 2 does not go with regions", devices=2)
    write_list(tmp_path, regions=dict.fromkeys(REGIONS, "east"))
    fails(LabelError, "column region has one value, east: a model is trained for each region")
    write_list(tmp_path, regions=REGIONS | {"f": ""})
    fails(LabelError, "line 7: a cell is empty")
    write_list(tmp_path)
    for name in ("c", "d"):
        with rasterio.open(tmp_path / f"{name}_labels.tif") as labels:
            left, ids = labels.transform.c, labels.read(1)
        write_tile(tmp_path / f"{name}_labels.tif", np.full_like(ids, 255), left)
    fails(
        LabelError, "far west cannot be left out and scored: no pixel is labelled in 2 images given as test: label some"
    )
    write_list(tmp_path, splits="train train train train val val")
    write_config(tmp_path)
    fails(LabelError, "north holds all images of split val: give val to images of other regions")
    for split in ({"by": "scene", "test_share": 0.2}, {"by": "scene", "test_where": {"region": "east"}}):
        write_config(tmp_path, data=SMALL["data"] | {"split": split})
        fails(SpecError, "does not go with regions that are left out, each of which is the test of its model")


def test_images_without_labels_that_all_lie_in_one_region_are_refused_before_training(
    config: Path, tmp_path: Path
) -> None:
    data = SMALL["data"] | {"split": BY_SCENE, "target": ["[cd].tif"]}
    write_config(tmp_path, data=data, method="style_transfer")
    with pytest.raises(LabelError, match=r"far west cannot be left out and scored: target image c\.tif shows nothing"):
        leave_out(config, "region", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_shows_every_region_and_holds_all_to_a_floor(config: Path, tmp_path: Path) -> None:
    no_water_in(tmp_path, "c")
    arguments = ["evaluate", "--leave-out", "region", "--data", str(config), "-o", str(tmp_path / "out")]
    run = CliRunner().invoke(main, [*arguments, "--fail-under", "miou=1"], catch_exceptions=False)
    assert [line.split()[0] for line in run.stdout.splitlines()[:4]] == ["left", "east", "far", "north"]
    assert "mIoU in regions that were left out: " in run.stdout
    assert "region far west left out, 2 of 3" in run.stderr.splitlines()
    assert run.exit_code == 1
    assert "far west: miou " in run.stderr
    again = CliRunner().invoke(main, [*arguments, "--overwrite", "--json", "-q"], catch_exceptions=False)
    assert [one["region"] for one in json.loads(again.stdout)["regions"]] == ["east", "far west", "north"]
    from_run = ["evaluate", "--leave-out", "region", "--data", str(tmp_path / "out"), "-o", str(tmp_path / "again")]
    assert CliRunner().invoke(main, [*from_run, "-q"], catch_exceptions=False).exit_code == 0, "a folder has its config"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--leave-out", "region"], "--leave-out needs its --data"),
        (["--leave-out", "region", "--data", "c.yaml"], "--leave-out needs its --output"),
        (
            ["--leave-out", "region", "--data", "c.yaml", "-o", "x", "--tta", "flips"],
            "--tta does not go with --leave-out",
        ),
        (["--leave-out", "region", "--model", "m"], "give either a PREDICTION.tif"),
        (["--model", "m", "--data", "c.yaml", "-o", "x"], "--output does not go with a --model"),
        (["map.tif", "--labels", "l.tif", "--resume"], "--resume does not go with a PREDICTION.tif"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(arguments: list[str], message: str) -> None:
    run = CliRunner().invoke(main, ["evaluate", *arguments])
    assert run.exit_code == 2
    assert message in run.output
