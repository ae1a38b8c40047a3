"""Training from end to end: a 1 × 1 convolution learns what a 1 × 1 convolution can learn."""

import csv
import io
import json
import re
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from support.labelled_tiles import SMALL, write_config, write_tile, write_tiles
from support.reporters import Watching

from geoseg.cli.train import train as command
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.train import train
from geoseg.core.errors import LabelError, ModelError, OutputError, SpecError
from geoseg.metrics.iou import Iou
from geoseg.metrics.metric import METRICS, Counts, Wording
from geoseg.models.bundle import load_model
from geoseg.models.header import read_spec
from geoseg.spec import TrainSpec, load_train_spec
from geoseg.training.data.training_data import read_training_data
from geoseg.training.run.result import TrainResult

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config beside its tiles."""
    write_tiles(tmp_path)
    return write_config(tmp_path)


def weights(bundle: Path) -> dict[str, np.ndarray]:
    with safe_open(bundle, framework="np") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)


def test_training_learns_and_leaves_bundle_config_and_metrics(config: Path, tmp_path: Path) -> None:
    states = []
    result = train(config, tmp_path / "run", reporter=Watching(states.append))
    assert result.scores.miou > 0.95
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.yaml",
        "metrics.csv",
        "report.html",
        "scores.csv",
        "small.safetensors",
        "tensorboard",
    ]
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert "grass" in result.report.read_text("utf-8")
    table = list(csv.DictReader(result.metrics.open()))
    assert [int(line["epoch"]) for line in table] == [1, 2, 3]
    assert float(table[-1]["loss"]) < float(table[0]["loss"])
    assert max(float(line["miou"]) for line in table) == pytest.approx(result.scores.miou, abs=1e-4)
    last = [state for state in states if state.stage == "training"][-1]
    assert (last.done, last.total, last.epoch) == (12, 12, 3)
    assert sum(state.scores is not None for state in states) == 3
    assert [state.done for state in states if state.stage == "training"] == list(range(1, 13))
    assert states[0].stage == "reading"


def test_each_epoch_has_the_loss_of_the_validation_pixels_without_augmentation(config: Path, tmp_path: Path) -> None:
    loss, strong = {"cross_entropy": 1.0, "dice": 0.0}, {"brightness": 0.5, "band_mix": 0.5}
    result = train(config, tmp_path / "run", epochs=1, loss=loss, augment=strong)
    (line,) = csv.DictReader(result.metrics.open())
    with rasterio.open(tmp_path / "val.tif") as image, rasterio.open(tmp_path / "val_labels.tif") as labels:
        values, ids = image.read(), labels.read(1)
    logs = load_model(result.bundle).module(torch.from_numpy(values)[None].float()).log_softmax(dim=1)
    wanted = torch.nn.functional.nll_loss(logs, torch.from_numpy((ids == 9).astype(np.int64))[None])
    assert float(line["val_loss"]) == pytest.approx(float(wanted.detach()), rel=0.01)
    assert "in validation" in result.report.read_text("utf-8")


def test_an_epoch_that_is_not_scored_has_no_validation_loss_and_no_warning(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "none"}})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The ``compute`` method")
        result = train(config, tmp_path / "run", epochs=1)
    (line,) = csv.DictReader(result.metrics.open())
    assert line["val_loss"] == ""


def test_tensorboard_has_the_scores_and_the_same_few_windows_of_each_epoch(config: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config, tmp_path / "run", epochs=2)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"epoch/loss", "epoch/val_loss", "epoch/miou"} <= set(tags["scalars"])
    assert tags["images"][0] == "image, label, prediction/1"
    for tag in tags["images"]:
        first, second = events.Images(tag)
        assert (first.step, second.step) == (1, 2)
        pictures = [np.asarray(Image.open(io.BytesIO(one.encoded_image_string))) for one in (first, second)]
        assert pictures[0].shape == (40, 3 * 48 + 8, 3)
        assert np.array_equal(pictures[0][:, : 2 * 48 + 8], pictures[1][:, : 2 * 48 + 8]), "image and label"


def test_without_a_validation_side_all_labels_are_learnt_from_and_the_last_epoch_is_kept(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "none"}})
    states: list[Any] = []
    result = train(config, tmp_path / "run", reporter=Watching(states.append))
    assert (result.train_images, result.train_pixels, result.val_images, result.val_pixels) == (2, 2 * 40 * 48, 0, 0)
    assert (result.best_epoch, result.epochs) == (3, 3)
    assert result.as_dict()["scores"]["miou"] is None
    assert "the last epoch is kept, and nothing scores this model itself" in result.notices[0]
    card = read_spec(result.bundle).card
    assert not card.scores
    assert not card.calibration
    assert read_spec(result.bundle).temperature == 1
    assert "Trained on all labels" in card.limits
    assert "Its confidences are as the network gives them" in card.limits
    page = result.report.read_text("utf-8")
    assert "Nothing was scored: all labels were for training, and epoch 3, the last, was kept." in page
    assert "What was taken for what" not in page
    assert [row["miou"] for row in csv.DictReader(result.metrics.open())] == ["", "", ""]
    with pytest.raises(LabelError, match="leaves no validation rasters: score the training ones"):
        evaluate_model(result.bundle, config)
    assert evaluate_model(result.bundle, config, split="train").scores.miou > 0.95


def test_a_killed_run_without_a_validation_side_ends_with_the_same_weights(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "none"}})

    def stop(state: Any) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    resumed, whole = train(config, tmp_path / "run", resume=True), train(config, tmp_path / "whole")
    for a, b in zip(weights(resumed.bundle).values(), weights(whole.bundle).values(), strict=True):
        assert np.array_equal(a, b)


def test_of_epochs_with_equal_scores_the_last_is_kept(config: Path, tmp_path: Path) -> None:
    result = train(config, tmp_path / "run", epochs=8)
    rows = list(csv.DictReader(result.metrics.open()))
    assert result.best_epoch == max(int(row["epoch"]) for row in rows if float(row["miou"]) == result.scores.miou)
    assert sum(float(row["miou"]) == result.scores.miou for row in rows) > 1


def test_the_command_counts_pixels_where_there_are_few(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "none"}})
    arguments = [str(config), "-o", str(tmp_path / "run"), "--epochs", "1"]
    run = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "3,840 px of 2 images learnt from, nothing scored" in run.stdout
    assert "mIoU" not in run.output


def test_the_bundle_says_what_it_is_and_classifies(config: Path, tmp_path: Path) -> None:
    result = train(config, tmp_path / "run")
    model = load_model(result.bundle)
    card = model.spec.card
    assert card.scores["miou"] == result.scores.miou
    assert set(card.scores["iou"]) == {"grass", "water"}
    assert card.training["best_epoch"] == result.best_epoch
    assert str(tmp_path) not in model.spec.model_dump_json(), "a bundle names no path of the machine it was made on"
    with rasterio.open(tmp_path / "train.tif") as image, rasterio.open(tmp_path / "train_labels.tif") as labels:
        values, ids = image.read(), labels.read(1)
    assert model.spec.normalization.mean == pytest.approx(values.mean(axis=(1, 2)), abs=1e-3)
    assert model.spec.normalization.std == pytest.approx(values.std(axis=(1, 2)), abs=1e-3)
    import torch

    found = model.module(torch.from_numpy(values)[None].float())[0].argmax(dim=0).numpy()
    assert (np.array([3, 9])[found] == ids).mean() > 0.95


def test_the_resolved_config_gives_the_same_weights_again(config: Path, tmp_path: Path) -> None:
    first = train(config, tmp_path / "first")
    second = train(first.config, tmp_path / "second")
    other = train(config, tmp_path / "other", seed=1)
    assert all(
        np.array_equal(a, b) for a, b in zip(*(weights(r.bundle).values() for r in (first, second)), strict=True)
    )
    assert not np.array_equal(weights(first.bundle)["body.weight"], weights(other.bundle)["body.weight"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_takes_one_step(path: Path, tmp_path: Path) -> None:
    spec = load_train_spec(path)
    result = take_one_step(path, tmp_path)
    assert read_spec(result.bundle).name == spec.name
    assert not spec.card.scores, "the run fills this in"
    assert not spec.card.training, "the run fills this in"


@pytest.mark.parametrize("name", ["sample", "buildings-binary", "context", "refine", "refine-module"])
def test_configs_of_the_sample_scene_find_labels_on_both_sides(name: str) -> None:
    data = read_training_data(load_train_spec(CONFIGS[0].with_name(f"{name}.yaml")))
    assert (data.train.class_counts > 0).all()
    assert (data.val.class_counts > 0).all()


def take_one_step(path: Path, folder: Path) -> TrainResult:
    """Train with a config for a step, and before that with the one whose bundle it starts from."""
    spec = load_train_spec(path)
    tiny = {"epochs": 1, "windows_per_epoch": 2, "batch_size": 2, "window": 32, "device": "cpu", "precision": "fp32"}
    folder.mkdir(exist_ok=True)
    start = spec.init_from and take_one_step(path.with_name(f"{spec.init_from.stem}.yaml"), folder / "start").bundle
    tiles = write_fitting_tiles(folder, spec)
    return train(path, folder / "run", data=tiles, encoder_weights=None, init_from=start, **tiny)


def write_fitting_tiles(folder: Path, spec: TrainSpec) -> Path:
    """Write tiles with the bands and the labels that a config expects."""
    path = write_tiles(folder, ids=tuple(c.id for c in spec.classes), bands=max(spec.data.band_indexes or (4,)))
    colors = {value: str(key) for key, value in spec.data.label_values.items() if str(key).startswith("#")}
    for split in ("train", "val") if colors else ():
        with rasterio.open(folder / f"{split}_labels.tif") as labels:
            ids, left = labels.read(1), labels.transform.c
        painted = np.zeros((*ids.shape, 3), np.uint8)
        for c in spec.classes:
            painted[ids == c.id] = list(bytes.fromhex(colors[c.name][1:]))
        write_tile(folder / f"{split}_labels.tif", np.moveaxis(painted, 2, 0), left=left)
    return path


@pytest.mark.slow
def test_the_sample_config_reaches_what_it_promises(tmp_path: Path) -> None:
    result = train(CONFIGS[0].with_name("sample.yaml"), tmp_path / "run", device="cpu")
    assert result.scores.miou >= 0.85


def test_an_interrupted_run_keeps_the_best_so_far(config: Path, tmp_path: Path) -> None:
    def stop(state: Any) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", reporter=Watching(stop))
    assert read_spec(tmp_path / "run" / "small.safetensors").card.training["best_epoch"] == 1


def test_a_loss_that_is_no_number_stops_the_run(config: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"the loss became infinite or no number in epoch 1: lower optimizer"):
        train(config, tmp_path / "run", optimizer={"learning_rate": 1e30})
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_a_bundle_scores_what_its_run_said(tmp_path: Path) -> None:
    """Statistics far from 0 are beyond float16, in which bundles store kernels."""
    write_tiles(tmp_path)
    for split in ("train", "val"):
        with rasterio.open(tmp_path / f"{split}.tif") as image:
            values, left = image.read().astype(np.float32) / 20 + 100_000, image.transform.c
        write_tile(tmp_path / f"{split}.tif", values, left)
    config = write_config(tmp_path, data=SMALL["data"] | {"dtype": "float32"})
    result = train(config, tmp_path / "run")
    assert result.scores.miou > 0.95
    assert evaluate_model(result.bundle, config, device="cpu", precision="fp32").scores.miou == result.scores.miou


def test_the_resolved_config_finds_the_bundle_it_starts_from(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(config, tmp_path / "first", epochs=1)
    first.bundle.rename(tmp_path / "start.safetensors")
    write_config(tmp_path, init_from="start.safetensors")
    monkeypatch.chdir(tmp_path.parent)
    second = train(Path(tmp_path.name) / "small.yaml", tmp_path / "second", epochs=1)
    monkeypatch.chdir("/")
    assert train(second.config, tmp_path / "third", epochs=1).scores.miou == second.scores.miou


def test_results_are_replaced_only_on_demand(config: Path, tmp_path: Path) -> None:
    train(config, tmp_path, epochs=1)
    with pytest.raises(OutputError, match=r"small\.safetensors exists: pass --overwrite"):
        train(config, tmp_path, epochs=1)
    result = train(config, tmp_path, epochs=1, overwrite=True)
    assert len(list(csv.DictReader(result.metrics.open()))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, r"small\.yaml: unknown setting 'epoch', did you mean epochs\?; known here: .*epochs"),
        ({"epochs": "many"}, r"epochs = 'many': give a whole number"),
        ({"epochs": 0}, r"epochs = 0: it must be greater than or equal to 1"),
        ({"augment": {"d4": "perhaps"}}, r"augment\.d4 = 'perhaps': give true or false"),
        ({"augment": {"scale": [1, 2, 3]}}, r"augment\.scale = \[1, 2, 3\]: give no more than 2 of them"),
        ({"loss": 3}, r"loss = 3: give several settings, indented below it"),
        (
            {"loss": {"class_weights": "inverze"}},
            r"class_weights = 'inverze': give one of none, .*did you mean inverse\?",
        ),
        ({"schedule": {"name": "cosin"}}, r"schedule\.name = 'cosin': give one of cosine, .*did you mean cosine\?"),
        ({"optimizer": {"learning_rate": "fast"}}, r"learning_rate = 'fast': give a number"),
        ({"data": {"tiles": "tiles.csv"}}, r"data\.bands is missing: Band names in the network's order"),
        ({"data": SMALL["data"] | {"bands": "red"}}, r"data\.bands = 'red': give a list, e\.g\. \[a, b\]"),
        ({"data": SMALL["data"] | {"bands": ["red", "red", "blue"]}}, "one is named twice"),
        ({"data": SMALL["data"] | {"target": ""}}, r"data\.target.* it is empty: give a path or a pattern"),
        ({"tile": 64, "overlap": 33}, "overlap 33 is more than half of tile 64"),
        ({"optimizer": {"learning_rate": -1}}, r"optimizer\.learning_rate = -1: "),
        ({"optimizer": {"rate": 1}}, r"unknown setting 'optimizer\.rate'; known here: name, learning_rate"),
        ({"data": SMALL["data"] | {"images": "a/*.tif"}}, "give one of `tiles`"),
        ({"data": {"bands": ["red"], "images": "a/*.tif"}}, "`images` and `labels` belong together"),
        ({"loss": {"class_weights": [1, 2, 3]}}, "2 classes, 3 loss.class_weights"),
        ({"encoder_weights": "imagenet", "init_from": "a.safetensors"}, "both encoder_weights and init_from"),
        ({"windows_per_epoch": 3}, "windows_per_epoch 3 is less than a step takes"),
        ({"loss": {"class_weights": [0, 0]}}, "all class_weights are 0"),
        ({"seed": 2**70}, "seed = "),
        ({"devices": 3}, "batch_size 4 does not divide among 3 devices"),
        ({"precision": "fp16"}, "no CPU trains in it: take bf16 or fp32"),
        ({"loss": {"dice": 0, "cross_entropy": 0}}, "all losses have weight 0"),
        (
            {"loss": {"focus": 1}},
            r"unknown setting 'loss\.focus', did you mean focal\?; known here: cross_entropy, ohem",
        ),
        ({"loss": {"focal": {"gamma": -1}}}, r"loss\.focal_gamma = -1: it must be greater"),
        ({"augment": {"scale": [2, 1]}}, "give the smaller one first"),
        ({"classes": SMALL["classes"][:1]}, "classes"),
        ({"device": "abacus"}, "device = 'abacus': auto, cpu, cuda, cuda:1 or mps"),
        ({"data": SMALL["data"] | {"band_indexes": [1]}}, "give one index per band"),
    ],
)
def test_a_bad_config_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        train(write_config(tmp_path, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


class WorstIou:
    """Another package's metric."""

    words = Wording("worst IoU", "Worst IoU", "The IoU of the class that does worst.")
    by_class, needs_boundaries, per_epoch = False, False, True

    def figure(self, counts: Counts) -> torch.Tensor:
        return Iou().figure(counts).nan_to_num(1).min()


class Shares:
    """Another package's metric of each class."""

    words = Wording("share", "Pixel share", "What a class has of all pixels.")
    by_class, needs_boundaries, per_epoch = True, False, True

    def figure(self, counts: Counts) -> torch.Tensor:
        return counts.true / counts.true.sum()


def test_a_metric_of_another_package_appears_wherever_scores_do(config: Path, tmp_path: Path, monkeypatch) -> None:
    for name, kind in (("worst_iou", WorstIou), ("share", Shares)):
        monkeypatch.setitem(METRICS._others, name, EntryPoint(name, f"elsewhere:{kind.__name__}", METRICS.group))
        monkeypatch.setitem(METRICS._loaded, name, kind)
    output = tmp_path / "run"
    printed = CliRunner().invoke(command, [str(config), "-o", str(output), "--epochs", "1"], catch_exceptions=False)
    assert re.search(r"kappa \S+, boundary mIoU \(3 px\) \S+, worst IoU [01]\.\d{4}\n", printed.stdout)
    assert re.search(r"recall +boundary IoU +share\n", printed.stdout)
    (line,) = csv.DictReader((output / "metrics.csv").open())
    assert list(line)[:6] == ["epoch", "step", "seconds", "learning_rate", "loss", "val_loss"]
    assert list(line)[6:] == [
        "miou", "pixel_accuracy", "boundary_miou", "worst_iou", "iou grass", "iou water", "share grass", "share water",
    ]  # fmt: skip
    scores = read_spec(output / "small.safetensors").card.scores
    assert scores["worst_iou"] == pytest.approx(min(scores["iou"].values()), abs=1e-4)
    assert float(line["share grass"]) == round(scores["share"]["grass"], 4)
    page = (output / "report.html").read_text("utf-8")
    assert "The IoU of the class that does worst." in page
    assert '<th scope="col">Pixel share</th>' in page
    assert "Pixel share: What a class has of all pixels." in page


def test_a_network_that_does_not_take_the_windows_is_refused_before_the_first_step(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    network = {"architecture": "fpn", "encoder": "resnet18", "arguments": {"upsampling": 1}, "multiple": 32}
    with pytest.raises(ModelError, match=r"does not take windows of 32 x 32 pixels: it gives logits of \(1, 2, 8, 8\)"):
        train(write_config(tmp_path, network=network), tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_windows_need_not_be_multiples_of_the_networks_stride(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    network = {"architecture": "fpn", "encoder": "tu-test_resnet"}
    config = write_config(tmp_path, network=network, window=39, epochs=1, loss={"auxiliary": 0.4})
    assert train(config, tmp_path / "run").scores.pixels == 40 * 48


def test_a_window_that_no_ground_can_fill_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    with pytest.raises(
        SpecError, match=r"window 512 is larger than all training rasters, whose longest side is \d+ px"
    ):
        train(write_config(tmp_path, window=512), tmp_path / "run")


@pytest.mark.parametrize(
    ("tiles", "changes", "message"),
    [
        ({"splits": "train"}, {}, "no labelled image has split val: write val in that column"),
        ({"ids": (3, 9, 4)}, {}, "class id 4 is unknown"),
        ({"ids": (3, 3)}, {}, "no training pixel shows class 9 water"),
        ({"bands": 2}, {}, r"has 2 bands \(marked gray\), among which red, green, blue cannot be found"),
        ({}, {"data": SMALL["data"] | {"dtype": "uint16"}}, "holds uint8, not uint16"),
        ({}, {"data": SMALL["data"] | {"tiles": "none.csv"}}, r"cannot read the list of tiles .*none\.csv"),
    ],
)
def test_bad_tiles_are_one_clear_line(
    tmp_path: Path, tiles: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    write_tiles(tmp_path, **tiles)
    with pytest.raises(LabelError, match=message) as caught:
        train(write_config(tmp_path, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_labels_on_another_grid_are_one_clear_line(config: Path, tmp_path: Path) -> None:
    write_tile(tmp_path / "train_labels.tif", np.full((1, 40, 48), 3, np.uint8), left=0.25)
    with pytest.raises(LabelError, match=r"train_labels\.tif is not on the grid of its image .*train\.tif"):
        train(config, tmp_path / "run")


def test_a_list_without_its_columns_is_refused(config: Path, tmp_path: Path) -> None:
    (tmp_path / "tiles.csv").write_text("image,mask\n1.tif,2.tif")
    with pytest.raises(LabelError, match="has no column label: its first line must name the columns image, label"):
        train(config, tmp_path / "run")


def test_an_empty_cell_is_named_by_its_line(config: Path, tmp_path: Path) -> None:
    (tmp_path / "tiles.csv").write_text("image,label,split\n1.tif,2.tif,train\n3.tif")
    with pytest.raises(LabelError, match=r"tiles\.csv, line 3: a cell is empty: give image, label, split of"):
        train(config, tmp_path / "run")


def test_the_command_reports_on_stdout_and_tells_epochs_on_stderr(config: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        command, [str(config), "-o", str(tmp_path / "run"), "--epochs", "2"], catch_exceptions=False
    )
    assert run.exit_code == 0
    epochs = [line.split()[:2] for line in run.stderr.splitlines() if not line.startswith("the temperature")]
    assert epochs == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert "small.safetensors" in run.stdout
    assert "grass" in run.stdout


def test_the_command_speaks_json(config: Path, tmp_path: Path) -> None:
    arguments = [str(config), "-o", str(tmp_path / "run"), "--epochs", "1", "--json", "-q"]
    run = CliRunner().invoke(command, arguments, catch_exceptions=False)
    result = json.loads(run.stdout)
    assert result["scores"]["miou"] > 0
    assert [line for line in result["notices"] if not line.startswith("the temperature")] == []
    assert run.stderr == ""
