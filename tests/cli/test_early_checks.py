"""What is wrong with a path or a setting is told before PyTorch is imported."""

import json
import subprocess
import sys

import numpy as np
import yaml
from support.models import save_bundle
from support.rasters import write_raster

RUN = """
import json, sys
from click.testing import CliRunner
from geoseg.cli import main
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, command)
    heavy = sorted({"torch", "lightning", "timm"} & set(sys.modules))
    print(json.dumps([result.exit_code, result.stderr, heavy]))
    if heavy: break
"""


def ended(commands, folder):
    """Exit code, standard error, and what heavy libraries were imported by then, of each command in turn."""
    given = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run([sys.executable, "-c", RUN, given], cwd=folder, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_errors_that_need_no_network_are_told_at_once(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", np.zeros((3, 9, 9), np.uint8), photometric="RGB")
    bundle = save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"))
    (tmp_path / "scene_landcover.tif").write_text("mine")
    (tmp_path / "no.safetensors").write_text("none")
    (tmp_path / "tiles.csv").write_text("image,label\ngone.tif,gone_labels.tif\n")
    config = {
        "name": "small", "data": {"tiles": "tiles.csv", "bands": ["red"]}, "network": {"architecture": "pointwise"},
        "classes": [{"id": 0, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "#ffffff"}],
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    cases = {
        ("predict", "gone.tif"): "no scene at gone.tif",
        ("predict", scene, "-m", "gone.safetensors"): "no model at gone.safetensors",
        ("predict", scene, "-m", "no.safetensors"): "is not a geoseg model",
        ("predict", scene, "-m", bundle, "--tile", "3"): "tile = 3",
        ("predict", scene, "-m", bundle): "scene_landcover.tif exists",
        ("predict", tmp_path, "-m", "gone.safetensors", "-o", "out"): "no model at gone.safetensors",
        ("info", "gone.tif"): "no scene at gone.tif",
        ("info", scene, "-m", "gone.safetensors"): "no model at gone.safetensors",
        ("info", "gone.safetensors"): "no model at gone.safetensors",
        ("train", "gone.yaml", "-o", "out"): "cannot read settings from gone.yaml",
        ("train", "c.yaml", "-o", "out"): "no scene at",
        ("train", "c.yaml", "-o", "out", "--tiles", "gone.csv"): "gone.csv",
        ("tile", "c.yaml", "-o", "out"): "no scene at",
        ("vectorize", "gone.tif", "-o", "out.gpkg"): "cannot read gone.tif",
        ("evaluate", "gone.tif", "--labels", "gone.gpkg"): "cannot read gone.tif",
        ("evaluate", "-m", "gone.safetensors", "--data", "c.yaml"): "no model at gone.safetensors",
        ("evaluate", "-m", bundle, "--data", "gone.yaml"): "cannot read settings from gone.yaml",
    }
    for (code, said, heavy), (command, says) in zip(ended(list(cases), tmp_path), cases.items(), strict=True):
        assert code == 1, (command, said)
        assert says in said, command
        assert said.count("\n") == 1, said
        assert not heavy, command
