"""The study of new regions learns no label of the region on which it scores, except for the ceiling."""

import csv
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIDES = ("train", "val", "test")


@pytest.fixture
def study(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        opened = importlib.import_module("new_region_runs.study").open_study
        yield opened(tmp_path / "study", {name: listing(tmp_path / name) for name in ("ohio", "dubai")})


def listing(folder: Path) -> Path:
    folder.mkdir()
    lines = ["image,label,split", *(f"{side}.tif,{side}_mask.tif,{side}" for side in SIDES)]
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    return folder / "split.csv"


def test_no_run_but_the_ceiling_learns_labels_of_the_region_on_which_it_is_scored(study):
    for name in study.arms:
        spec = study.spec(name, 0)
        with open(spec.data.tiles, newline="", encoding="utf-8") as file:
            rows = {row["split"]: row for row in csv.DictReader(file)}
        assert rows.keys() == {"train", "val"}  # the test side of both regions stays unseen
        is_ceiling = "own labels" in name
        assert (rows["train"]["legend"] == rows["val"]["legend"]) == is_ceiling
        assert all(Path(row["image"]).parent.name == row["legend"] for row in rows.values())


def test_each_way_is_compared_in_its_own_direction_with_a_way_that_is_trained(study):
    for name, arm in study.arms.items():
        if not name.endswith("source only"):
            assert arm["reference"] in study.arms
            assert arm["reference"].partition(": ")[0] == name.partition(": ")[0]
