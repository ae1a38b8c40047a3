"""Weights of an encoder from a folder of timm's, or an address: found, checked against the encoder, and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save, save_file
from support.hub import COMMIT, hub_of
from support.models import make_spec, save_bundle

from geoseg.commands.start_model import start_of
from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.downloads import fetch_file, fetch_folder
from geoseg.models.header import read_spec
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.places import find_weights, licence_of_folder
from geoseg.models.weights.start import start_from
from geoseg.spec import ModelSpec, NetworkSpec
from geoseg.spec.train import is_path_of_weights
from geoseg.training.run.settings import resolve_settings

ENCODER = "test_resnet"
CONFIG = {"architecture": ENCODER, "num_features": 96, "pretrained_cfg": {"license": "cc-by-nc-4.0"}}


def unet(encoder: str = f"tu-{ENCODER}") -> ModelSpec:
    return make_spec(bands=("red", "green", "blue"), network=NetworkSpec(architecture="unet", encoder=encoder))


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return dict(timm.create_model(ENCODER).state_dict())


def folder_of(path: Path, config: Any = CONFIG, file: str = "model.safetensors") -> Path:
    """A folder as timm saves an encoder for the Hub."""
    path.mkdir()
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    save_file(weights(), path / file) if file.endswith(".safetensors") else torch.save(weights(), path / file)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    fetch_file.cache_clear()
    fetch_folder.cache_clear()


def first_kernels(network: Any) -> torch.Tensor:
    return network.body.encoder.model.conv1[0].weight


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_timm_starts_its_encoder(file: str, tmp_path: Path) -> None:
    network = build_network(unet())
    load_encoder_weights(network, unet(), str(folder_of(tmp_path / "timm", file=file)))
    assert torch.equal(first_kernels(network), weights()["conv1.0.weight"])


def test_an_address_of_the_hub_starts_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": save(weights())}
    network = build_network(unet())
    with hub_of(files, monkeypatch):
        load_encoder_weights(network, unet(), "hf://owner/name")
        found = find_weights("hf://owner/name", unet().network)
    assert torch.equal(first_kernels(network), weights()["conv1.0.weight"])
    assert found is not None
    assert found.parent.name == COMMIT
    assert licence_of_folder("hf://owner/name") == "cc-by-nc-4.0"


def test_another_encoder_than_the_folder_names_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "timm")
    with pytest.raises(ModelError, match=r"holds timm's test_resnet, but the network's encoder is tu-resnet18: give"):
        find_weights(str(folder), unet("tu-resnet18").network)


@pytest.mark.parametrize(
    ("config", "error"),
    [("{", r"timm: config.json"), ('{"architecture": 7}', None), ("[]", None), (b"\xff".decode("latin-1"), r"JSON")],
)
def test_a_config_that_makes_no_sense_is_one_line_or_none(config: str, error: str | None, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "timm", config)
    if error is None:
        assert find_weights(str(folder), unet().network) == folder / "model.safetensors"
        return
    with pytest.raises(ModelError, match=error) as caught:
        find_weights(str(folder), unet().network)
    assert "\n" not in str(caught.value)


def test_folders_without_weights_or_with_several_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty holds no weights \(.safetensors, .pth, .pt, .bin\): give a folder"):
        find_weights(str(tmp_path / "empty"), unet().network)
    folder = folder_of(tmp_path / "two")
    (folder / "other.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"two holds 2 files .safetensors: name one of them, e.g. model.safetensors"):
        find_weights(str(folder), unet().network)


def test_shapes_that_do_not_fit_are_named_on_one_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "timm")
    wide = weights()
    wide["layer1.0.conv1.weight"] = torch.ones(99, 32, 1, 1)
    save_file(wide, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"model.safetensors holds other weights than tu-test_resnet has") as caught:
        load_encoder_weights(build_network(unet()), unet(), str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("imagenet", False), ("a1_in1k", False), ("./folder", True), ("folder/", True), ("w.pth", True),
        ("pytorch_model.bin", True), ("hf://timm/resnet18", False), ("https://example.org/w.pth", False),
    ],
)  # fmt: skip
def test_tags_paths_and_addresses_are_told_apart(weights: str, expected: bool) -> None:
    assert is_path_of_weights(weights) == expected


def test_a_run_starts_from_a_bundle_at_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its config names it; the path of files that it becomes keeps one slash."""
    bundle = save_bundle(tmp_path / "towns.safetensors")
    classes = [{"id": 0, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "#ffffff"}]
    config = {
        "name": "x",
        "network": {"architecture": "pointwise"},
        "classes": classes,
        "data": {"bands": ["value"], "images": "x", "labels": "y"},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config | {"init_from": "hf://owner/name"}), "utf-8")
    with hub_of({"towns.safetensors": bundle.read_bytes()}, monkeypatch):
        spec = resolve_settings(tmp_path / "config.yaml", None, {})
        assert spec.init_from == Path("hf://owner/name")
        model = read_spec(spec.init_from)
        network = build_network(model)
        assert start_from(network, model, spec.init_from) == "all weights of test"
        assert start_of(spec.init_from, tmp_path / "other.yaml").written == "hf://owner/name"
        (tmp_path / "config.yaml").write_text(json.dumps(config | {"encoder_weights": "hf://owner/name"}), "utf-8")
        assert resolve_settings(tmp_path / "config.yaml", None, {}).encoder_weights == "hf://owner/name"
    assert torch.equal(network.state_dict()["normalize.std"], build_network(model).state_dict()["normalize.std"])
