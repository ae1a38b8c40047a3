import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import geoseg
from geoseg.cli import COMMANDS
from geoseg.spec import AugmentSpec, DataSpec, LossSpec, OptimizerSpec, ScheduleSpec, SplitSpec, TrainSpec, parse_spec

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["cli", "config", "networks"])
def test_the_references_are_up_to_date(name):
    module = importlib.util.spec_from_file_location("reference", ROOT / "docs" / f"make_{name}_reference.py")
    reference = importlib.util.module_from_spec(module)
    module.loader.exec_module(reference)
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == reference.reference()


def test_the_config_reference_knows_every_setting():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    for kind in (DataSpec, SplitSpec, TrainSpec, LossSpec, AugmentSpec, OptimizerSpec, ScheduleSpec):
        for name in kind.model_fields:
            assert f"| `{name}` |" in text


BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "training.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_configs_in_the_guide_are_valid(block):
    parts = yaml.safe_load(block)
    known = yaml.safe_load((ROOT / "configs" / "sample.yaml").read_text("utf-8"))
    if set(parts) == {"data"} and not {"tiles", "images", "scenes"} & set(parts["data"]):
        parts["data"]["tiles"] = "tiles.csv"
    data = {"bands": ["red"]} | parts.get("data", known["data"])
    parse_spec(TrainSpec, known | parts | {"data": data}, source="guide")


def test_configs_learn_from_the_sample_data_or_say_whose_data_they_need():
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    configs = {path: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "configs").glob("*.yaml")}
    paths = {path: str(config["data"].get("tiles") or config["data"]) for path, config in configs.items()}
    of_samples = [path for path, text in paths.items() if "sample_data" in text]
    of_others = [path for path in configs if path not in of_samples]
    assert all(paths[path] == "YOUR.csv" for path in of_others)
    assert all("--tiles YOUR.csv" in path.read_text("utf-8").partition("name:")[0] for path in of_others)
    guide = " ".join((ROOT / "docs" / "training.md").read_text("utf-8").split())
    assert f"has {numbers[len(configs)]} configs to start from. {numbers[len(of_samples)].title()} of them" in guide
    assert f"The other {numbers[len(of_others)]} are" in guide


def test_the_readme_shows_every_command_and_links_to_what_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"geoseg {name}" in text
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link


def test_the_python_reference_has_every_public_name_once():
    found = re.findall(r"^::: geoseg\.(\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted([*found, "__version__"]) == geoseg.__all__


def test_pictures_are_small():
    heavy = {p.name: p.stat().st_size for p in (ROOT / "docs").rglob("*.*") if p.suffix in (".jpg", ".png", ".ipynb")}
    assert {name: size for name, size in heavy.items() if size > 100_000} == {}


def test_contributing_fits_on_a_page():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 40


def test_the_map_has_every_room_in_the_order_of_the_layers():
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    rooms = [set(re.findall(r"`(\w+)/`", row)) for row in rows]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = [set(layer.split(" | ")) for layer in settings["contracts"][0]["layers"]]
    assert rooms == layers
    assert set().union(*rooms) == {path.parent.name for path in (ROOT / "geoseg").glob("*/__init__.py")}


def test_nothing_lies_loose_before_the_rooms():
    assert {path.name for path in (ROOT / "geoseg").iterdir() if path.is_file()} == {
        "__init__.py",
        "__main__.py",
        "py.typed",
    }


def test_tests_lie_in_folders_like_the_rooms():
    rooms = {path.parent.name for path in (ROOT / "geoseg").glob("*/__init__.py")}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == rooms | {"fuzz"}
