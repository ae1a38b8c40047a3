"""Training, validation, test: the test side chooses nothing, is not read before the model is chosen, and is scored."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from safetensors import safe_open
from support.labelled_tiles import SMALL, write_config, write_tile, write_tiles
from support.reporters import Watching

from geoseg.cli import main
from geoseg.commands.compare import compare
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.info import describe_model
from geoseg.commands.tile import tile
from geoseg.commands.train import train
from geoseg.core.errors import GeosegError, LabelError, SceneError, SpecError
from geoseg.models.header import read_spec
from geoseg.spec import SplitSpec, load_train_spec
from geoseg.training.data.training_data import read_training_data

TEST_FILES = "test.tif", "test_labels.tif"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config beside a training, a validation and a test tile; a fifth of the test labels is wrong."""
    write_tiles(tmp_path, splits="train val test")
    with rasterio.open(tmp_path / "test_labels.tif") as labels:
        ids, left = labels.read(1), labels.transform.c
    ids[:8] = 12 - ids[:8]
    write_tile(tmp_path / "test_labels.tif", ids, left)
    return write_config(tmp_path, epochs=2)


def weights(bundle: Path) -> dict[str, bytes]:
    with safe_open(bundle, framework="np") as tensors:
        return {name: tensors.get_tensor(name).tobytes() for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)


def hide(folder: Path, how: str) -> None:
    """Make the test files unreadable, and keep them elsewhere."""
    (folder / "kept").mkdir()
    for name in TEST_FILES:
        shutil.copy(folder / name, folder / "kept")
        if how == "missing":
            (folder / name).unlink()
        elif how == "no rasters":
            (folder / name).write_bytes(b"nothing")
        else:  # the header is there, no pixel is
            (folder / name).write_bytes((folder / name).read_bytes()[:400])


def restore(folder: Path) -> None:
    for name in TEST_FILES:
        shutil.copy(folder / "kept" / name, folder / name)


@pytest.mark.parametrize("how", ["missing", "no rasters", "cut off"])
def test_nothing_of_the_test_side_is_read_before_the_model_is_chosen(config: Path, tmp_path: Path, how: str) -> None:
    hide(tmp_path, how)

    def restore_at_the_end(state: Any) -> None:
        if (state.stage, state.epoch) == ("scored", 2):
            restore(tmp_path)

    result = train(config, tmp_path / "run", reporter=Watching(restore_at_the_end))
    assert result.test_scores is not None
    assert (result.test_images, result.test_pixels) == (1, 40 * 48)
    restore(tmp_path)
    assert evaluate_model(result.bundle, config, split="test").scores == result.test_scores


def test_training_pixels_beside_test_images_that_could_not_be_opened_are_counted(config: Path, tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "train.tif") as image:
        left = image.transform.c
    for name in TEST_FILES:
        with rasterio.open(tmp_path / name) as file:
            values = file.read()
        write_tile(tmp_path / name, values if len(values) > 1 else values[0], left + 48 * 0.5)
    config = write_config(tmp_path, data=SMALL["data"] | {"split": {"guard_px": 8}}, epochs=2)
    hide(tmp_path, "missing")

    def restore_at_the_end(state: Any) -> None:
        if (state.stage, state.epoch) == ("scored", 2):
            restore(tmp_path)

    result = train(config, tmp_path / "run", reporter=Watching(restore_at_the_end))
    assert "px of the training pixels lie within 8 px of test images that could not be opened" in result.notices[-1]


def test_a_test_side_that_stays_unreadable_is_an_error_after_which_the_run_can_be_resumed(
    config: Path, tmp_path: Path
) -> None:
    hide(tmp_path, "missing")
    notices: list[str] = []
    with pytest.raises(
        (SceneError, LabelError), match=r"the model is trained, and lies in .*--resume goes on with its"
    ):
        train(config, tmp_path / "run", reporter=Watching(lines=notices))
    assert "1 of 1 test image cannot be opened: where they lie is not known, and no guard band is" in notices[0]
    restore(tmp_path)
    states: list[Any] = []
    resumed = train(config, tmp_path / "run", resume=True, reporter=Watching(states.append))
    assert not [state for state in states if state.stage in ("training", "scored")]
    whole = train(config, tmp_path / "whole")
    assert (resumed.scores, resumed.test_scores) == (whole.scores, whole.test_scores)
    assert weights(resumed.bundle) == weights(whole.bundle)


def test_both_scores_are_wherever_the_results_are(config: Path, tmp_path: Path) -> None:
    arguments = ["train", str(config), "-o", str(tmp_path / "run")]
    printed = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    bundle, page = tmp_path / "run" / "small.safetensors", (tmp_path / "run" / "report.html").read_text("utf-8")
    card = read_spec(bundle).card
    val, test = (evaluate_model(bundle, config, split=split).scores for split in ("val", "test"))
    assert (card.scores, card.test_scores) == (val.as_dict(), test.as_dict())
    assert test.miou < 0.9 < val.miou
    assert card.training["test_images"] == 1
    rows = list(csv.DictReader((tmp_path / "run" / "scores.csv").open()))
    assert [(row["split"], row["miou"]) for row in rows] == [
        ("val", str(round(val.miou, 4))), ("test", str(round(test.miou, 4))),
    ]  # fmt: skip
    assert f"validation: mIoU {val.miou:.4f}" in printed
    assert f"test (1,920 px of 1 image, which chose nothing): mIoU {test.miou:.4f}" in printed
    assert "epoch 2 of 2, that with the highest validation mIoU" in printed
    assert "<h2>On test rasters</h2>" in page
    assert f"{test.miou:.3f}" in page
    described = describe_model(bundle)["card"]
    assert described["test_scores"]["miou"] == test.miou
    assert described["epoch_rule"] == card.epoch_rule
    again = CliRunner().invoke(main, [*arguments, "--overwrite", "--json", "-q"], catch_exceptions=False)
    assert json.loads(again.stdout)["test_scores"]["miou"] == test.miou


def test_a_run_without_a_test_side_says_nothing_of_one(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, epochs=1)
    result = train(config, tmp_path / "run")
    assert result.test_scores is None
    assert not read_spec(result.bundle).card.test_scores
    assert "On test rasters" not in result.report.read_text("utf-8")
    assert [row["split"] for row in csv.DictReader((tmp_path / "run" / "scores.csv").open())] == ["val"]
    with pytest.raises(LabelError, match="there is no test side: write test in column split"):
        evaluate_model(result.bundle, config, split="test")


def test_the_test_side_chooses_nothing(config: Path, tmp_path: Path) -> None:
    one = train(config, tmp_path / "one")
    with rasterio.open(tmp_path / "test_labels.tif") as labels:
        ids, left = labels.read(1), labels.transform.c
    write_tile(tmp_path / "test_labels.tif", 12 - ids, left)
    other = train(config, tmp_path / "other")
    assert weights(one.bundle) == weights(other.bundle)
    assert (one.scores, one.best_epoch) == (other.scores, other.best_epoch)
    assert one.test_scores != other.test_scores


def test_without_validation_the_last_epoch_is_kept_and_tested(config: Path, tmp_path: Path) -> None:
    split = {"by": "none"}
    config = write_config(tmp_path, data=SMALL["data"] | {"split": split}, epochs=2)
    result = train(config, tmp_path / "run")
    assert (result.train_images, result.val_images, result.test_images) == (2, 0, 1)
    assert "only the test scores this model itself on labels that it has not learnt" in result.notices[0]
    card = read_spec(result.bundle).card
    assert not card.scores
    assert "nothing is measured" not in card.limits
    assert card.test_scores["pixels"] == 40 * 48
    assert card.epoch_rule == "epoch 2 of 2, the last, as nothing was left for validation to choose one by"
    assert "Nothing was left for validation, and epoch 2, the last, was kept" in result.report.read_text("utf-8")


def scenes(folder: Path, split: dict[str, Any], images: int = 6, **changes: Any) -> Path:
    """A config of tiles whose sides are drawn."""
    names = [chr(ord("a") + number) for number in range(images)]
    write_tiles(folder, splits=" ".join(names))
    (folder / "tiles.csv").write_text("\n".join(["image,label", *(f"{n}.tif,{n}_labels.tif" for n in names)]))
    return write_config(folder, data=SMALL["data"] | {"split": split}, **changes)


@pytest.mark.parametrize("by", ["scene", "blocks", "clusters", "random"])
def test_a_share_is_drawn_for_the_test(tmp_path: Path, by: str) -> None:
    config = scenes(tmp_path, {"by": by, "test_share": 0.2, "block_px": 64}, epochs=1)
    result = train(config, tmp_path / "run")
    assert result.test_scores is not None
    assert result.test_scores.pixels == result.test_pixels > 0
    for split, scores in (("val", result.scores), ("test", result.test_scores)):
        assert evaluate_model(result.bundle, config, split=split).scores == scores
    assert result.train_pixels + result.val_pixels + result.test_pixels == 6 * 40 * 48


def test_the_test_share_is_in_no_fold_and_the_model_itself_is_tested(tmp_path: Path) -> None:
    config = scenes(tmp_path, {"by": "scene", "test_share": 0.3, "folds": 2}, epochs=1)
    result = train(config, tmp_path / "run")
    assert "all other labels are for training, none for validation" in "\n".join(result.notices)
    assert not any("val_share" in line or "nothing but" in line for line in result.notices)
    assert "validation or test" not in "\n".join(result.notices).split("all labels, for the model itself")[1]
    tested = result.test_pixels
    assert tested in (40 * 48, 2 * 40 * 48)
    assert result.scores.pixels == result.train_pixels == 6 * 40 * 48 - tested
    card = read_spec(result.bundle).card
    assert card.test_scores == evaluate_model(result.bundle, config, split="test").scores.as_dict()
    assert card.test_scores == read_spec(tmp_path / "run" / "final" / "small.safetensors").card.test_scores
    assert "it was itself trained on all labels but those of the test" in card.limits
    assert "On test rasters" in result.report.read_text("utf-8")
    for fold in (1, 2):
        assert not read_spec(tmp_path / "run" / f"fold_{fold}" / "small.safetensors").card.test_scores
        spec = load_train_spec(tmp_path / "run" / f"fold_{fold}" / "config.yaml")
        data = read_training_data(spec)
        assert int(data.train.class_counts.sum() + data.val.class_counts.sum()) == 6 * 40 * 48 - tested


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"by": "column", "test_share": 0.1}, "test_share does not go with by: column"),
        ({"by": "none", "test_share": 0.1}, "test_share does not go with by: none"),
        ({"test_share": 0.1, "folds": 3}, "test_share goes with folds only if by says how to split"),
        ({"val_share": 0.5, "test_share": 0.5}, "leave nothing for training"),
    ],
)
def test_settings_of_a_split_that_contradict_each_other_are_refused(split: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SplitSpec.model_validate(split)


def test_models_are_compared_on_the_test_side(config: Path, tmp_path: Path) -> None:
    one, other = (train(config, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "other")))
    config = write_config(tmp_path, data=SMALL["data"] | {"split": {"block_px": 64}})
    result = compare([tmp_path / "one", tmp_path / "other"], config, split="test")
    found = {model.name: model.compared.scores.miou for model in result.models}
    assert sorted(found.values()) == sorted(run.test_scores.miou for run in (one, other) if run.test_scores)
    assert (result.split, result.pixels) == ("test", 40 * 48)


def test_images_that_are_left_out_are_counted(config: Path, tmp_path: Path) -> None:
    write_tile(tmp_path / "empty.tif", np.zeros((3, 40, 48), np.uint8), left=9000)
    write_tile(tmp_path / "empty_labels.tif", np.full((40, 48), 255, np.uint8), left=9000)
    lines = (tmp_path / "tiles.csv").read_text() + "\nx.tif,x.tif,spare\ny.tif,y.tif,spare"
    (tmp_path / "tiles.csv").write_text(lines + "\nempty.tif,empty_labels.tif,train")
    result = train(config, tmp_path / "run", epochs=1)
    assert "2 of 6 images left out, as the split is neither train, val nor test: spare (2)" in result.notices
    assert "1 of 3 images left out: no pixel with data is labelled" in result.notices
    assert len(set(result.notices)) == len(result.notices), "nothing is said twice"


def test_the_same_image_is_not_for_validation_and_for_the_test(config: Path, tmp_path: Path) -> None:
    lines = (tmp_path / "tiles.csv").read_text().replace("test.tif,test_labels.tif", "val.tif,val_labels.tif")
    (tmp_path / "tiles.csv").write_text(lines)
    with pytest.raises(GeosegError, match="no labelled validation pixels are left"):
        train(config, tmp_path / "run", epochs=1)


def test_tiles_of_a_test_side_are_for_the_test(tmp_path: Path) -> None:
    config = scenes(tmp_path, {"by": "scene", "test_share": 0.2}, epochs=1)
    result = tile(config, tmp_path / "out", size=32)
    assert result.test_tiles > 0
    splits = [row["split"] for row in csv.DictReader(result.tiles.open())]
    assert {split: splits.count(split) for split in ("train", "val", "test")} == {
        "train": result.train_tiles, "val": result.val_tiles, "test": result.test_tiles,
    }  # fmt: skip
    listed = SMALL["data"] | {"tiles": str(result.tiles), "split": {"by": "scene", "test_share": 0.2}}
    config = write_config(tmp_path, data=listed)
    with pytest.raises(SpecError, match="leave out one of both"):
        train(config, tmp_path / "run")
