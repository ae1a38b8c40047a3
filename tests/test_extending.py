"""Another package adds to geoseg what docs/extending.md says, and does not need to change anything of it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from support.labelled_tiles import write_tiles

from geoseg.cli import main
from geoseg.core.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "docs" / "example_package"
RUN = """
import json, sys
from click.testing import CliRunner
from geoseg.cli import main
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, command)
    print(json.dumps([result.exit_code, result.stdout, result.stderr]))
print(json.dumps(sorted(name for name in sys.modules if name.startswith("geoseg_example."))))
"""
"""Commands of geoseg in one process, and what of the package they imported."""


def run(*command: str | Path, site: Path | None = None) -> str:
    """Run Python with the packages of a folder; what it wrote."""
    paths = [str(path) for path in (ROOT, site) if path] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example package is installed."""
    folder = tmp_path_factory.mktemp("site")
    offline = "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"
    run("-m", "pip", "install", *offline, "--target", folder, PACKAGE)
    return folder


@pytest.fixture(scope="module")
def outcome(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A folder in which geoseg has trained, predicted and evaluated by the example's config, and what it said."""
    folder = tmp_path_factory.mktemp("run")
    write_tiles(folder, ids=tuple(range(6)))
    example = yaml.safe_load((PACKAGE / "example.yaml").read_text("utf-8"))
    data = example["data"] | {"tiles": "tiles.csv", "resolution_m": 0.5}
    small = {"epochs": 1, "windows_per_epoch": 20, "batch_size": 2, "window": 32, "precision": "fp32", "device": "cpu"}
    (folder / "example.yaml").write_text(yaml.safe_dump(example | {"data": data} | small))
    model, scene = folder / "run" / "example.safetensors", folder / "val.tif"
    commands = (
        ("train", folder / "example.yaml", "-o", folder / "run"),
        ("predict", scene, "-m", model, "-o", folder / "out", "--no-polygons", "--device", "cpu"),
        ("evaluate", folder / "out" / "val_landcover.tif", "--labels", folder / "val_labels.tif"),
        ("evaluate", "-m", model, "--data", folder / "example.yaml", "--device", "cpu", "--json"),
    )
    said = run("-c", RUN, json.dumps([[str(word) for word in command] for command in commands]), site=site)
    return folder, [json.loads(line) for line in said.splitlines()]


def test_a_network_a_loss_a_metric_a_method_and_a_view_of_another_package_are_used_by_every_command(outcome):
    folder, (train, predict, evaluate, evaluate_model, imported) = outcome
    for code, _, errors in (train, predict, evaluate, evaluate_model):
        assert code == 0, errors
    assert imported == [f"geoseg_example.{name}" for name in ("dilated", "mirrored", "poly", "rings", "worst_iou")]
    for said in (train, evaluate):
        assert "worst IoU" in said[1] + said[2]
    assert "worst_iou" in json.loads(evaluate_model[1])["scores"]
    with rasterio.open(folder / "out" / "val_landcover.tif") as classes:
        assert set(np.unique(classes.read(1))) <= set(range(6))


def test_the_metric_and_what_the_method_measures_are_noted_in_each_epoch(outcome):
    run_folder = outcome[0] / "run"
    (epoch,) = csv.DictReader((run_folder / "metrics.csv").open())
    assert 0 <= float(epoch["worst_iou"]) <= float(epoch["miou"])
    (events,) = (run_folder / "tensorboard").rglob("events*")
    assert b"mirror_difference" in events.read_bytes()


def test_without_the_package_what_is_missing_is_named_in_a_line(outcome, tmp_path):
    trained, scene = outcome[0] / "run" / "example.safetensors", outcome[0] / "val.tif"
    with safe_open(trained, "np") as bundle:
        spec = json.loads(bundle.metadata()["geoseg"])
    model = tmp_path / "windows-alone.safetensors"
    save_file(load_file(trained), model, {"geoseg": json.dumps(spec | {"surroundings": None})})
    for bundle, missing in (
        (trained, "no way to see the surroundings is called 'rings'"),
        (model, "no architecture is called 'dilated'"),
    ):
        result = CliRunner().invoke(main, ["predict", str(scene), "-m", str(bundle), "-o", str(tmp_path / "none")])
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert missing in line
        assert "of another package needs that package: install it" in line
    described = CliRunner().invoke(main, ["info", str(model)])
    assert described.exit_code == 0
    assert "dilated" in described.stdout


CONTRACTS = {
    "dilated": "tests/models/test_families.py",
    "poly": "tests/losses/test_losses_contract.py",
    "worst_iou": "tests/metrics/test_metrics_contract.py",
    "mirrored": "tests/training/test_methods.py",
    "rings": "tests/inference/test_views.py",
}
"""By what each thing of the package is held to its contract."""


@pytest.mark.slow
def test_contract_tests_run_over_what_a_package_adds(site: Path):
    said = run(
        "-m", "pytest", "-p", "no:cacheprovider", "-v", "-k", " or ".join(CONTRACTS), *CONTRACTS.values(), site=site
    )
    for name, file in CONTRACTS.items():
        assert re.search(rf"{file}::\w+\[.*\b{name}\b.*\] PASSED", said), said


# ------------------------------------------------------------------------------------------------------------ the guide


def registries() -> dict[str, tuple[str, Registry[Any]]]:
    """Every registry of geoseg and its name in the code, by what it holds."""
    is_one = re.compile(r"^\w+: Registry\[", re.MULTILINE)
    files = (path for path in (ROOT / "geoseg").rglob("*.py") if is_one.search(path.read_text("utf-8")))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    named = [pair for module in modules for pair in vars(import_module(module)).items()]
    return {value.kind: (name, value) for name, value in named if isinstance(value, Registry)}


def rows() -> dict[str, list[str]]:
    """Rows of the guide's tables by what a set holds."""
    lines = (ROOT / "docs" / "extending.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: row for row in cells if row[0] != "a new …"}


def linked(cell: str) -> tuple[str, str]:
    """What a cell calls a file, and what is in the file."""
    name, path = re.search(r"\[`?(.*?)`?\]\((.*?)\)", cell).groups()
    return name, (ROOT / "docs" / path).read_text("utf-8")


def test_the_guide_has_every_open_set():
    found = registries()
    assert rows().keys() == found.keys()
    assert {kind: row[3].strip("`") for kind, row in rows().items()} == {
        kind: registry.group or "none" for kind, (_, registry) in found.items()
    }


@pytest.mark.parametrize("kind", rows())
def test_the_guide_names_where_a_set_is_registered_described_and_tested(kind):
    symbol = registries()[kind][0]
    _, file, line, _, _, protocol, test = rows()[kind]
    variable, registered = linked(line)
    assert re.search(rf"^{variable}\b", registered, re.M)
    folder = file.strip("`").removesuffix("X.py").removesuffix(".py").replace("/", ".")
    assert any(f'"geoseg.{folder}' in text for text in registered.splitlines()), "geoseg's own lie in that folder"
    name, defined = linked(protocol)
    assert re.search(rf"^class {name}\b", defined, re.M)
    assert re.search(rf"\b{symbol}\b", linked(test)[1]), "the test runs over the registry"


def test_links_of_the_guide_and_the_example_lead_somewhere():
    for path in (ROOT / "docs" / "extending.md", PACKAGE / "README.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / link).exists(), link
