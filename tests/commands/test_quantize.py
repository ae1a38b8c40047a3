"""`geoseg quantize` adds ranges and what integers do, and changes nothing else; training does the same at its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from support.labelled_tiles import write_config, write_tiles
from support.models import make_spec

from geoseg.cli import main
from geoseg.commands import quantize as command
from geoseg.commands.predict import predict
from geoseg.commands.quantize import quantize
from geoseg.commands.train import train
from geoseg.core.errors import OutputError, SpecError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.spec import NetworkSpec
from geoseg.spec.int8 import MOST_CHANGE, Int8Spec
from geoseg.training.run import fit_int8

pytestmark = pytest.mark.skipif(not multiplies_integers(), reason="this processor has no integers of 8 bits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle, and the config it was trained by."""
    folder = tmp_path_factory.mktemp("trained")
    write_tiles(folder)
    network = {"architecture": "unet", "encoder": "resnet18", "encoder_depth": 2, "decoder_channels": [8, 8]}
    arguments = {"encoder_depth": network.pop("encoder_depth"), "decoder_channels": network.pop("decoder_channels")}
    config = write_config(
        folder, network=network | {"arguments": arguments}, optimizer={"learning_rate": 0.01}, epochs=8
    )
    return train(config, folder / "run", device="cpu").bundle, config


def test_training_ends_with_what_integers_do(trained: tuple[Path, Path]) -> None:
    model = load_model(trained[0])
    assert model.spec.int8 is not None
    assert model.ranges
    assert model.spec.int8.agreement > 0.9
    assert model.spec.int8.pixels > 1000


def test_a_model_without_ranges_gets_the_same_as_training_gives(trained: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, config = trained
    whole = load_model(bundle)
    bare = save_model(
        whole.module, whole.spec.model_copy(update={"int8": None}), tmp_path / "bare.safetensors", half=True
    )
    result = quantize(bare, tmp_path / "made.safetensors", config=config)
    made = load_model(result.bundle)
    assert made.spec == whole.spec.model_copy(update={"name": "made"})
    assert result.bundle.stat().st_size < 1.1 * bundle.stat().st_size  # kernels of 16 bits stay so
    assert result.int8 == whole.spec.int8
    assert result.taken == (abs(result.int8.miou - result.int8.miou_float) <= MOST_CHANGE)
    assert made.ranges.keys() == whole.ranges.keys()
    assert all(torch.allclose(values, whole.ranges[name], rtol=1e-3, atol=1e-3) for name, values in made.ranges.items())
    states = made.module.state_dict(), whole.module.state_dict()
    assert all(torch.equal(values, states[1][name]) for name, values in states[0].items())


def test_the_command_says_what_it_found(trained: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["quantize", str(trained[0]), str(trained[1]), "-o", str(tmp_path / "a.safetensors")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "mean IoU" in done.output
    assert "predict takes integers" in done.output
    again = CliRunner().invoke(main, [*words, "--overwrite", "--json"])
    assert json.loads(again.stdout)["int8"]["pixels"] > 1000


def test_nothing_is_written_where_it_cannot_be_done(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"")
    with pytest.raises(OutputError, match="exists"):
        quantize(trained[0], path, config=trained[1])
    path.unlink()
    monkeypatch.setattr(command, "multiplies_integers", lambda: False)
    with pytest.raises(SpecError, match="does not multiply integers of 8 bits"):
        quantize(trained[0], path, config=trained[1])
    assert not path.exists()


@pytest.mark.parametrize(
    ("miou", "fits"), [(0.7, True), (0.6971, True), (0.7029, True), (0.6969, False), (0.71, False)]
)
def test_integers_fit_where_the_mean_iou_moves_little(miou: float, fits: bool) -> None:
    assert Int8Spec(miou=miou, miou_float=0.7, agreement=1, pixels=1).fits == fits


def test_a_model_that_integers_spoil_is_found_and_predicted_with_floats(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges far too narrow make nearly all values of the network one and the same."""
    found = fit_int8.find_ranges
    monkeypatch.setattr(
        fit_int8, "find_ranges", lambda *given: {name: 1e-4 * values for name, values in found(*given).items()}
    )
    result = quantize(trained[0], tmp_path / "spoilt.safetensors", config=trained[1])
    assert result.int8.miou < result.int8.miou_float - 0.1
    assert not result.taken
    assert any("--precision int8 alone" in line for line in result.notices)
    scene = trained[1].parent / "val.tif"
    predicted = predict(scene, tmp_path / "out", model=result.bundle, polygons=False, device="cpu")
    assert predicted.precision != "int8"


def test_a_network_that_would_not_be_faster_is_left_alone(trained: tuple[Path, Path], tmp_path: Path) -> None:
    network = NetworkSpec(architecture="unet", encoder="efficientnet-b0")
    spec = make_spec(2, network=network, bands=("red", "green", "blue"))
    bundle = save_model(build_network(spec), spec, tmp_path / "silu.safetensors")
    with pytest.raises(SpecError, match="no faster with integers"):
        quantize(bundle, tmp_path / "a.safetensors", config=trained[1])
