"""Several models on the same pixels: their scores are those of `evaluate`, their differences have intervals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from support.models import class_specs, make_spec, save_bundle
from support.pages import check_page
from support.rasters import write_raster
from support.reporters import Watching

from geoseg.cli import main
from geoseg.commands.compare import compare
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.model_entries import find_entries
from geoseg.core.errors import GeosegError, ModelError, OutputError, SpecError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import default_model_path

HEIGHT, WIDTH = 200, 288
BANDS = ("red", "green", "blue", "nir")
CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
SPEC: dict[str, Any] = {
    "name": "small",
    "classes": [c.model_dump() for c in class_specs(3)],
    "network": {"architecture": "pointwise"},
    "window": 32,
    "batch_size": 4,
    "boundary_px": 2,
    "data": {
        "scenes": [
            {"image": "town.tif", "label": "town_labels.tif", "split": "val"},
            {"image": "other.tif", "label": "other_labels.tif", "split": "train"},
        ],
        "split": {"block_px": 64},
        "bands": list(BANDS),
        "resolution_m": 0.6,
    },
}


def make_bundle(path: Path, noise: float, bands: tuple[str, ...] = BANDS, **fields: Any) -> Path:
    """A bundle of a 1 × 1 convolution that finds class k where band k is bright, less well with more noise."""
    torch.manual_seed(1)
    spec = make_spec(3, bands=bands, tile=64, overlap=16, name=path.stem).model_copy(
        update={"resolution_m": 0.6} | fields
    )
    network = build_network(spec)
    order = [("red", "green", "blue").index(name) if name != "nir" else None for name in bands]
    names = [c.name for c in spec.classes]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(noise)
        weight = next(p for p in network.parameters() if p.shape[:2] == (3, len(bands)))
        for band, shown in enumerate(order):
            if shown is not None:
                weight[names.index(f"class {shown}"), band] += 0.05
    save_model(network, spec, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, class_values: Any) -> Path:
    """Two scenes of four bands; a corner of the validation scene lacks near infrared."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("town", "other")):
        ids = class_values(HEIGHT, WIDTH, blob=12, seed=number) % 3
        image = np.stack([np.where(ids == band, 170, 90) for band in range(4)]) + random.normal(0, 40, (4, *ids.shape))
        image = image.clip(1, 255).astype(np.uint8)
        image[3, :40, :40] = 0 if name == "town" else 50
        write_raster(tmp_path / f"{name}.tif", image, nodata=0)
        labels = np.where(random.random(ids.shape) < 0.1, 255, ids).astype(np.uint8)
        write_raster(tmp_path / f"{name}_labels.tif", labels, nodata=255)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SPEC))
    return tmp_path


@pytest.fixture
def bundles(folder: Path) -> list[Path]:
    """A noisy model of four bands, and a better one of three in another order."""
    return [
        make_bundle(folder / "noisy.safetensors", noise=0.06),
        make_bundle(folder / "clean.safetensors", noise=0.0, bands=("blue", "green", "red")),
    ]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)], catch_exceptions=False)


# ------------------------------------------------------------------------------------------------------------ figures


def test_each_model_has_the_scores_that_evaluate_gives(folder: Path, bundles: list[Path]) -> None:
    """Also one that takes fewer bands, in another order."""
    found = compare(bundles, folder / "config.yaml", **CPU)
    assert [one.name for one in found.models] == ["clean", "noisy"]
    assert found.baseline == "clean"
    clean, noisy = (one.compared for one in found.models)
    for one, bundle in ((noisy, bundles[0]), (clean, bundles[1])):
        assert one.scores == evaluate_model(bundle, folder / "config.yaml", **CPU).scores
    assert clean.scores.miou > noisy.scores.miou > 0.2
    assert clean.scores.pixels == noisy.scores.pixels == found.pixels
    assert noisy.miou_difference.value == pytest.approx(noisy.scores.miou - clean.scores.miou)
    of_boundaries = noisy.scores.boundary_miou - clean.scores.boundary_miou
    assert noisy.boundary_miou_difference.value == pytest.approx(of_boundaries)
    assert noisy.boundary_miou_difference.interval.low < of_boundaries < noisy.boundary_miou_difference.interval.high
    of_class = noisy.scores.iou["class 1"] - clean.scores.iou["class 1"]
    assert noisy.iou_difference["class 1"].value == pytest.approx(of_class)


def test_intervals_hold_the_figures_and_show_what_is_more_than_chance(folder: Path, bundles: list[Path]) -> None:
    found = compare(bundles, folder / "config.yaml", draws=300, **CPU)
    assert (found.unit, found.units, found.draws, found.level) == ("a block of 64 px", 20, 300, 0.95)
    clean, noisy = (one.compared for one in found.models)
    for one in (clean, noisy):
        assert one.miou.interval.low < one.scores.miou < one.miou.interval.high
    assert noisy.miou_difference.is_clear
    assert noisy.miou_difference.interval.high < 0
    assert noisy.miou_difference.p < 0.05
    assert noisy.scores.interval("kappa").low < noisy.scores.kappa < noisy.scores.interval("kappa").high
    assert clean.miou_difference.value == 0
    assert clean.miou_difference.p == 1
    assert not clean.miou_difference.is_clear


def test_settings_of_one_entry_are_compared_with_the_plain_model(folder: Path, bundles: list[Path]) -> None:
    entries = [bundles[0], f"{bundles[0]}@resolution=1.2", f"{bundles[0]}@tta-scales=1,1.5,tta=flips"]
    found = compare(entries, folder / "config.yaml", baseline="first", draws=200, **CPU)
    assert found.baseline == "noisy"
    by_name = {one.name: one.compared for one in found.models}
    assert set(by_name) == {"noisy", "noisy@resolution=1.2", "noisy@tta-scales=1,1.5,tta=flips"}
    plain, coarse, seen_often = (by_name[name] for name in sorted(by_name, key=len))
    own: list[tuple[Any, dict[str, Any]]] = [
        (plain, {}),
        (coarse, {"resolution": 1.2}),
        (seen_often, {"tta_scales": (1, 1.5), "tta": "flips"}),
    ]
    for one, settings in own:
        alone = evaluate_model(bundles[0], folder / "config.yaml", **CPU, **settings)
        assert one.scores.confusion == alone.scores.confusion
    for one in (coarse, seen_often):
        assert one.miou_difference.value == one.scores.miou - plain.scores.miou
        assert one.miou_difference.interval.low < one.miou_difference.value < one.miou_difference.interval.high


def test_a_crf_is_compared_with_none_and_one_entry_may_change_that_of_all(folder: Path, bundles: list[Path]) -> None:
    both = [f"{bundles[0]}@crf=false", bundles[0], f"{bundles[0]}@crf_smoothness=8"]
    found = compare(both, folder / "config.yaml", baseline="first", draws=100, crf=True, crf_iterations=1, **CPU)
    without, weak, strong = (
        next(one.compared for one in found.models if one.name.endswith(end))
        for end in ("crf=false", "noisy", "smoothness=8")
    )
    assert without.boundary_miou_difference.value == 0
    assert without.scores.confusion != weak.scores.confusion != strong.scores.confusion


def test_without_boundaries_none_are_compared(folder: Path, bundles: list[Path]) -> None:
    arguments = *bundles, "--data", folder / "config.yaml", "--device", "cpu", "--draws", 100, "--boundary-px", 0
    assert "boundary mIoU" not in run(*arguments).stdout


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("tta=flip", "flips"),
        ("tts=flips", "tta"),
        ("tta=flips,tta=d4", "given twice"),
        ("rescale=0,3000", "of rescale a comparison takes auto and none"),
        ("tta=flips,d4", "none, flips, d4"),
        ("bbox=0,0,1,1", "no setting 'bbox' of one model"),
        ("overlap=60", "more than half of tile"),
        ("tta=none,rescale=auto", "other settings"),
    ],
)
def test_settings_of_one_entry_that_make_no_sense_are_refused(
    folder: Path, bundles: list[Path], settings: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        compare([bundles[0], f"{bundles[0]}@{settings}"], folder / "config.yaml", **CPU)


def test_a_model_may_have_a_name_like_settings(folder: Path, bundles: list[Path]) -> None:
    named = bundles[1].rename(folder / "run@tta=flips.safetensors")
    found = compare([bundles[0], named], folder / "config.yaml", draws=100, **CPU)
    assert [one.name for one in found.models] == ["clean", "noisy"]


def test_the_default_model_and_a_copy_of_it_in_the_working_folder_have_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = default_model_path()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / default.name).write_bytes(default.read_bytes())
    monkeypatch.chdir(tmp_path / "mine")
    assert [entry.name for entry in find_entries(["default", default.name])] == ["default", "mine"]


def test_the_seed_decides_the_intervals(folder: Path, bundles: list[Path]) -> None:
    first, again, other = (
        compare(bundles, folder / "config.yaml", draws=100, seed=seed, **CPU).models[0].compared for seed in (3, 3, 4)
    )
    assert first == again
    assert first.scores == other.scores
    assert first.miou.interval != other.miou.interval


@pytest.mark.parametrize(("asked", "used"), [(None, "clean"), ("first", "noisy"), ("noisy", "noisy")])
def test_the_baseline_is_the_best_the_first_or_a_name(
    folder: Path, bundles: list[Path], asked: str | None, used: str
) -> None:
    found = compare(bundles, folder / "config.yaml", baseline=asked, draws=100, **CPU)
    assert found.baseline == used
    assert {one.name: one.compared.miou_difference.value == 0 for one in found.models} == {
        name: name == used for name in ("clean", "noisy")
    }


def test_images_may_be_drawn_and_few_units_are_told(folder: Path, bundles: list[Path]) -> None:
    lines: list[str] = []
    found = compare(bundles, folder / "config.yaml", unit="image", draws=100, reporter=Watching(lines=lines), **CPU)
    assert (found.unit, found.units) == ("an image", 1)
    assert any(line.startswith("1 unit with labels (each an image): too few for intervals") for line in lines)
    assert found.models[0].compared.miou.interval is None


def test_classes_are_the_same_if_their_names_are(folder: Path, bundles: list[Path]) -> None:
    """A model with the same classes in another order, and with other ids, is the same model."""
    classes = class_specs(3)
    other = tuple(c.model_copy(update={"id": 10 + i}) for i, c in enumerate([classes[2], classes[0], classes[1]]))
    turned = make_bundle(folder / "turned.safetensors", noise=0.0, bands=("blue", "green", "red"), classes=other)
    found = compare([bundles[1], turned], folder / "config.yaml", draws=100, **CPU)
    assert found.models[0].compared.scores == found.models[1].compared.scores


def test_a_run_is_its_bundle(folder: Path, bundles: list[Path]) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        save_model(load_model(bundles[1]).module, load_model(bundles[1]).spec, folder / name / "clean.safetensors")
    (folder / "two" / "other.safetensors").write_bytes(bundles[0].read_bytes())
    (folder / "two" / "config.yaml").write_text("name: clean\n")
    found = compare([folder / "one", folder / "two"], folder / "config.yaml", draws=100, **CPU)
    assert {one.name for one in found.models} == {"one", "two"}, "both models have one name: their runs' are taken"
    assert found.models[0].compared == found.models[1].compared


def test_a_model_of_coarser_pixels_sees_coarser_pixels_and_is_scored_on_the_same(
    folder: Path, bundles: list[Path]
) -> None:
    coarse = make_bundle(folder / "coarse.safetensors", noise=0.0, resolution_m=1.2)
    lines: list[str] = []
    found = compare([bundles[1], coarse], folder / "config.yaml", draws=100, reporter=Watching(lines=lines), **CPU)
    assert [line.startswith("coarse: the scene's pixels are 0.6 m") for line in lines].count(True) == 1
    scores = {one.name: one.compared.scores for one in found.models}
    assert scores["coarse"].pixels == scores["clean"].pixels
    assert scores["coarse"] == evaluate_model(coarse, folder / "config.yaml", resolution="model", **CPU).scores
    assert scores["coarse"] != evaluate_model(coarse, folder / "config.yaml", resolution="scene", **CPU).scores
    assert scores["coarse"].miou > 0.8


# ------------------------------------------------------------------------------------------------------------- errors


def test_other_classes_are_refused_in_one_line(folder: Path, bundles: list[Path]) -> None:
    other = save_bundle(folder / "other.safetensors", bands=BANDS)
    with pytest.raises(ModelError, match=r"has the classes class 0, .*, class 3, the config has .*class 2: ") as caught:
        compare([*bundles, other], folder / "config.yaml", **CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "settings", "says"),
    [
        ([0], {}, "one model leaves nothing to compare"),
        ([0, 0], {}, "is given twice"),
        ([0, 1], {"baseline": "cleen"}, "no model is called 'cleen'.*clean"),
        ([0, 1], {"bands": (1, 2, 3)}, "bands says how one model reads a scene"),
        ([0, 1], {"draws": 1}, "draws = 1"),
        ([0, 1], {"unit": "pixel"}, "unit = 'pixel'"),
        ([0, 1], {"bbox": (0, 0, 1, 1)}, "lies off town.tif"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    folder: Path, bundles: list[Path], chosen: list[int], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(GeosegError, match=says):
        compare([bundles[i] for i in chosen], folder / "config.yaml", **settings, **CPU)


def test_a_folder_without_a_bundle_and_a_missing_band_are_refused(folder: Path, bundles: list[Path]) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ModelError, match="is a folder without the bundle of a run"):
        compare([bundles[0], folder / "empty"], folder / "config.yaml", **CPU)
    config = SPEC | {"data": SPEC["data"] | {"bands": ["red", "green", "blue"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ModelError, match="model noisy wants the bands red, green, blue, nir, the config has"):
        compare(bundles, folder / "config.yaml", **CPU)


# ------------------------------------------------------------------------------------------------------------ outputs


def test_the_command_writes_a_table_and_a_page(folder: Path, bundles: list[Path]) -> None:
    arguments = *bundles, "--data", folder / "config.yaml", "--device", "cpu", "--draws", 100, "-o", folder / "out"
    result = run(*arguments)
    assert result.exit_code == 0
    for said in (
        "clean",
        "noisy",
        "class 2",
        "baseline",
        "boundary mIoU",
        "20 units, each a block of 64 px",
        "comparison.html",
        "*",
    ):
        assert said in result.stdout
    first, second = csv.DictReader((folder / "out" / "comparison.csv").open())
    assert (first["model"], second["model"]) == ("clean", "noisy")
    assert first["bands"] == "blue green red"
    assert float(second["miou difference high"]) < 0
    assert float(second["boundary_miou difference"]) < 0
    assert float(second["iou class 1"]) - float(first["iou class 1"]) == pytest.approx(
        float(second["iou class 1 difference"])
    )
    page = (folder / "out" / "comparison.html").read_text("utf-8")
    check_page(page)
    assert "2 models on the same validation rasters" in page
    assert "boundary mIoU less that of clean" in page
    refused = run(*arguments)
    assert (refused.exit_code, "comparison.csv exists: pass --overwrite" in refused.stderr) == (1, True)
    assert run(*arguments, "--overwrite", "-q").output == ""


def test_the_result_as_json_has_all_digits(folder: Path, bundles: list[Path]) -> None:
    arguments = *bundles, "--data", folder / "config.yaml", "--device", "cpu", "--precision", "fp32"
    found = json.loads(run(*arguments, "--draws", 100, "--json").stdout)
    expected = compare(bundles, folder / "config.yaml", draws=100, **CPU)
    assert found["models"][1]["miou"]["value"] == expected.models[1].compared.scores.miou
    assert found["models"][1]["miou_difference"]["interval"]["low"] < 0
    assert found["models"][0]["scores"]["recall"].keys() == {"class 0", "class 1", "class 2"}
    assert (found["baseline"], found["report"], found["seed"]) == ("clean", None, 0)


def test_an_output_that_is_a_file_is_refused_before_anything_is_read(folder: Path, bundles: list[Path]) -> None:
    with pytest.raises(OutputError, match="is a file: choose a folder"):
        compare(bundles, folder / "missing.yaml", output=folder / "town.tif", **CPU)
    with pytest.raises(SpecError, match=r"missing\.yaml"):
        compare(bundles, folder / "missing.yaml", output=folder / "new", **CPU)
