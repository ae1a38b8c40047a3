"""Models at an address are downloaded once, checked, and kept only when they are whole and right."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
from click.testing import CliRunner
from support.hub import COMMIT, ask, hub_of
from support.models import save_bundle
from support.rasters import write_raster
from support.servers import serving

from geoseg import ModelError, OutputError, load_model
from geoseg.cli import main
from geoseg.models.backends import BACKENDS
from geoseg.models.downloads import fetch_file, fetch_folder, is_address
from geoseg.models.header import existing_model, read_spec

NOWHERE = "http://127.0.0.1:9"
PIXELS = np.random.default_rng(0).integers(1, 255, (64, 64), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caches of the Hub and of geoseg, both empty."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(folder / "assets"))
    forget()
    return folder


def forget() -> None:
    """Do as a new process would."""
    fetch_file.cache_clear()
    fetch_folder.cache_clear()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return save_bundle(tmp_path / "served" / "towns.safetensors")


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def files_in(folder: Path) -> list[str]:
    """Files with any content but for what the Hub's library keeps for itself."""
    return [
        one.name for one in folder.rglob("*") if one.is_file() and one.suffix != ".lock" and one.name != "CACHEDIR.TAG"
    ]


@pytest.mark.parametrize("text", ["hf://o/n", "hf:/o/n", "HTTPS://h/x.onnx", "http://h/x.onnx"])
def test_addresses_are_seen(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", ["default", "hf/o/n", "runs/hf:", "C:/models/x.onnx", None])
def test_paths_are_no_addresses(text: str | None) -> None:
    assert not is_address(text)


# -------------------------------------------------------------------------------------------------------------- the Hub


def test_the_bundle_of_a_repository_is_opened_as_a_file_would_be(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"README.md": b"# towns", "towns.safetensors": bundle.read_bytes(), "other/x.safetensors": b"x"}
    with hub_of(files, monkeypatch):
        model = load_model("hf://owner/name")
        assert fetch_file("hf://owner/name").address == f"hf://owner/name@{COMMIT}/towns.safetensors"
        assert read_spec(f"hf://owner/name@{COMMIT}/towns.safetensors") == model.spec
    assert model.spec == load_model(bundle).spec
    assert model.file is not None
    assert model.file.sha256 == digest_of(bundle)


@pytest.mark.parametrize("folder", ["", "onnx/"])
def test_an_onnx_model_comes_with_the_files_beside_it(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = BACKENDS.get(".onnx").example(tmp_path)
    files = {f"{folder}{one.name}": one.read_bytes() for one in (path, path.with_name(f"{path.name}.yaml"))}
    address = f"hf://owner/name@main/{folder}{path.name}"
    with hub_of({**files, "README.md": b"# towns"}, monkeypatch) as repository:
        assert read_spec(address).bands == ("red", "green", "blue")
        assert not [line for line in repository.asked if "README.md" in line]
    ask(NOWHERE, monkeypatch)
    forget()
    assert read_spec(address).bands == ("red", "green", "blue")


def test_a_file_in_the_cache_is_not_downloaded_twice_and_is_taken_without_a_connection(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_of({"towns.safetensors": bundle.read_bytes()}, monkeypatch) as repository:
        for address in ("hf://owner/name", "hf://owner/name/towns.safetensors"):
            forget()
            first = existing_model(address)
    assert len([one for one in repository.asked if one.startswith("GET /owner")]) == 1
    ask(NOWHERE, monkeypatch)
    for address in ("hf://owner/name", "hf://owner/name/towns.safetensors"):
        forget()
        assert existing_model(address) == first


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://owner/other", "no hf://owner/other@main on the Hub: check owner and name"),
        ("hf://owner/other/x.onnx", "no hf://owner/other@main/x.onnx on the Hub: check owner and name"),
        ("hf://owner/name@v9/x.onnx", "no hf://owner/name@v9/x.onnx on the Hub: check the revision"),
        ("hf://owner/name/x.onnx", "no hf://owner/name@main/x.onnx on the Hub: check the name of the file"),
        ("hf://owner/name", "has 2 files .safetensors: name one"),
        ("hf://owner", "give hf://OWNER/NAME"),
        ("hf://owner/name/../x", "give hf://OWNER/NAME"),
    ],
)
def test_what_the_hub_does_not_have_is_an_error_in_a_line(
    address: str, message: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_of({"a.safetensors": b"a", "b.safetensors": b"b"}, monkeypatch), pytest.raises(ModelError) as caught:
        existing_model(address)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not files_in(cache / "hub" / "models--owner--name" / "blobs")


@pytest.mark.parametrize("address", ["hf://owner/name", "hf://owner/name/x.onnx"])
def test_a_hub_that_is_not_reached_is_an_error_in_a_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(NOWHERE, monkeypatch)
    with pytest.raises(ModelError, match="check the connection") as caught:
        existing_model(address)
    assert "\n" not in str(caught.value)


def test_a_content_that_is_not_the_one_that_the_hub_names_is_not_kept(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_of({"towns.safetensors": bundle.read_bytes()}, monkeypatch) as repository:
        repository.is_damaged = True
        with pytest.raises(ModelError, match="is not the file that is meant"):
            existing_model("hf://owner/name")
        assert not [name for name in files_in(cache / "hub") if name not in ("main",)]
        repository.is_damaged = False
        assert digest_of(existing_model("hf://owner/name")) == digest_of(bundle)


def test_a_repository_of_another_tool_is_imported_with_what_its_files_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smp.create_model("fpn", "tu-test_resnet", encoder_weights=None, classes=2).save_pretrained(tmp_path / "saved")
    files = {one.name: one.read_bytes() for one in (tmp_path / "saved").iterdir()}
    options = "--bands red,green,blue --dtype uint8 --mean 0 --std 255 --classes a,b --resolution 1 --licence MIT"
    with hub_of(files | {"best.ckpt": b"none"}, monkeypatch) as repository:
        result = run("import", "hf://owner/name", "-o", tmp_path / "m.safetensors", *options.split())
    assert result.exit_code == 0, result.output
    assert f"source: hf://owner/name@{COMMIT}" in result.stderr
    assert not any("best.ckpt" in one for one in repository.asked)
    assert read_spec(tmp_path / "m.safetensors").card.training["imported"]["source"] == f"hf://owner/name@{COMMIT}"


# -------------------------------------------------------------------------------------------------------------- the web


def test_a_file_of_a_server_is_downloaded_once_and_its_digest_is_in_its_address(bundle: Path) -> None:
    with serving(bundle.parent) as server:
        found = fetch_file(f"{server}/towns.safetensors")
    forget()
    assert found.address == f"{server}/towns.safetensors#sha256={digest_of(bundle)}"
    assert existing_model(f"{server}/towns.safetensors") == found.path
    assert existing_model(found.address) == found.path
    assert load_model(found.address).spec == load_model(bundle).spec


def test_a_file_with_another_digest_than_the_one_given_is_not_kept(bundle: Path, cache: Path) -> None:
    with serving(bundle.parent) as server, pytest.raises(ModelError, match="is not the file that is meant"):
        existing_model(f"{server}/towns.safetensors#sha256={'0' * 64}")
    assert not files_in(cache)


def test_a_changed_file_is_downloaded_anew_for_its_digest_and_the_old_one_stays_where_it_is_wrong(bundle: Path) -> None:
    with serving(bundle.parent) as server:
        old = existing_model(f"{server}/towns.safetensors")
        before = digest_of(old)
        save_bundle(bundle, name="changed")
        with pytest.raises(ModelError, match="is not the file that is meant"):
            existing_model(f"{server}/towns.safetensors#sha256={'0' * 64}")
        assert digest_of(old) == before
        existing_model(f"{server}/towns.safetensors#sha256={digest_of(bundle)}")
    assert digest_of(old) == digest_of(bundle) != before


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("{server}/none.safetensors", "the server answers 404"),
        (NOWHERE + "/x.onnx", "check the connection and the address"),
        ("http://example.org/x.onnx", "is open to changes on the way"),
        ("https://example.org", "names no file"),
        ("https://example.org/x.onnx#sha256=12", "is no digest"),
        ("https://[/x.onnx", "check"),
    ],
)
def test_what_a_server_does_not_give_is_an_error_in_a_line(
    address: str, message: str, bundle: Path, cache: Path
) -> None:
    with serving(bundle.parent) as server, pytest.raises(ModelError) as caught:
        existing_model(address.format(server=server))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not files_in(cache)


class FullDisk(io.RawIOBase):
    def write(self, content: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_when_written(path: Path, mode: str = "r", *more: Any, **keywords: Any) -> Any:
    return FullDisk() if mode == "wb" else open(path, mode, *more, **keywords)


def test_a_full_disk_is_not_taken_for_a_broken_connection(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with serving(bundle.parent) as server, monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.open", full_when_written)
        with pytest.raises(OutputError, match="No space left on device: check the free space"):
            fetch_file(f"{server}/towns.safetensors")
    assert not files_in(cache)
    with hub_of({"towns.safetensors": bundle.read_bytes()}, monkeypatch):
        fetch_file("hf://owner/name")
        forget()
        monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: FullDisk().write(b""))
        with pytest.raises(OutputError, match=r"into the cache, .*No space left on device: check the free space"):
            fetch_file("hf://owner/name")


def test_secrets_of_an_address_are_in_no_message(bundle: Path) -> None:
    with serving(bundle.parent) as server, pytest.raises(ModelError) as caught:
        existing_model(f"{server}/none.safetensors?token=geheim")
    assert "geheim" not in str(caught.value)


def test_offline_only_the_cache_is_asked(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(bundle.parent) as server:
        there = existing_model(f"{server}/towns.safetensors")
        forget()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert existing_model(f"{server}/towns.safetensors") == there
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
            existing_model(f"{server}/other.safetensors")
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
            existing_model("hf://owner/name/x.onnx")


# --------------------------------------------------------------------------------------------------------- the commands


def test_predict_and_info_take_an_address_and_name_the_very_version(bundle: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", PIXELS)
    with serving(bundle.parent) as server:
        address = f"{server}/towns.safetensors"
        predicted = run("predict", scene, "-m", address, "-o", tmp_path / "out", "--force")
        described = run("info", address)
        held = run("info", scene, "-m", address)
    assert predicted.exit_code == described.exit_code == held.exit_code == 0, predicted.output
    assert f"model: {address} #sha256={digest_of(bundle)}" in predicted.stderr
    assert digest_of(bundle) in described.stdout


def test_many_scenes_and_processes_take_an_address(bundle: Path, tmp_path: Path) -> None:
    scenes = [write_raster(tmp_path / f"{name}.tif", PIXELS) for name in "ab"]
    with serving(bundle.parent) as server:
        result = run("predict", *scenes, "-m", f"{server}/towns.safetensors", "-o", tmp_path / "out", "--force", "-q")
    assert result.exit_code == 0, result.output
    assert not result.stderr
