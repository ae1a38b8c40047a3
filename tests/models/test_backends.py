"""The contract of model files, held by every suffix that is registered."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from support.models import Echo, make_spec, save_bundle
from support.rasters import write_raster

from geoseg.core.errors import ModelError
from geoseg.inference.fingerprint import fingerprint
from geoseg.inference.shards import _on_cpu
from geoseg.models.backends import BACKENDS, backend_of
from geoseg.models.bundle import load_model
from geoseg.models.header import read_spec
from geoseg.models.model import Model
from geoseg.raster.scene import Scene
from geoseg.spec import ClassifySpec, ModelSpec


class Shifted(Echo):
    """A module whose weights are in no state dict, as those of another runtime's session are."""

    def __init__(self, classes: int, content: bytes):
        super().__init__(classes)
        self.content = content

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(image + sum(self.content) % self.classes)


class Text:
    """A kind of model file that another package might bring: a plain text."""

    media_type = "text/plain"
    artifact_type = "echo"
    framework = "none"

    def read_spec(self, path: Path) -> ModelSpec:
        if not path.read_bytes().startswith(b"echo"):
            raise ModelError(f"{path} is no echo: write one")
        return make_spec(name="echo")

    def open(self, path: Path) -> Model:
        return Model(self.read_spec(path), Shifted(4, path.read_bytes()).eval())

    def example(self, folder: Path) -> Path:
        (folder / "m.echo").write_text("echo")
        return folder / "m.echo"


@pytest.fixture(autouse=True)
def another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("texts")
    module.BACKEND = Text()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "texts", module)
    monkeypatch.setitem(BACKENDS._others, ".echo", EntryPoint(".echo", "texts:BACKEND", BACKENDS.group))
    yield
    BACKENDS._loaded.pop(".echo", None)


SUFFIXES = [*BACKENDS, ".echo"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_file_gives_its_spec_and_a_module_that_classifies_each_pixel(suffix: str, tmp_path: Path) -> None:
    path = BACKENDS.get(suffix).example(tmp_path)
    assert path.suffix == suffix
    model = load_model(path)
    assert read_spec(path) == model.spec
    assert not model.module.training
    with torch.inference_mode():
        logits = model.module(torch.zeros(2, len(model.spec.bands), 32, 48))
    assert logits.shape == (2, len(model.spec.classes), 32, 48)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_can_be_sent_to_another_process(suffix: str, tmp_path: Path) -> None:
    model = load_model(BACKENDS.get(suffix).example(tmp_path))
    sent = pickle.loads(pickle.dumps(_on_cpu(model)))
    assert fingerprint_of(sent, tmp_path) == fingerprint_of(model, tmp_path)
    image = torch.rand(1, len(model.spec.bands), 32, 32) * 255
    with torch.inference_mode():
        assert torch.equal(sent.module(image), model.module(image))


def test_another_file_is_other_work_wherever_its_weights_are(tmp_path: Path) -> None:
    one, other = BACKENDS.get(".echo").example(tmp_path), tmp_path / "other.echo"
    other.write_text("echo, but another")
    models = [load_model(path) for path in (one, other)]
    assert models[0].spec == models[1].spec
    first, second = (fingerprint_of(model, tmp_path) for model in models)
    assert first != second
    assert fingerprint_of(load_model(other.rename(tmp_path / "renamed.echo")), tmp_path) == second


def fingerprint_of(model: Model, folder: Path) -> str:
    path = folder / "s.tif"
    if not path.exists():
        write_raster(path, np.zeros((4, 4), np.uint8))
    with Scene.open(path) as scene:
        return fingerprint(scene, model, ClassifySpec(), "cpu")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_none_is_refused_in_a_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"\x00not at all")
    for read in (read_spec, load_model):
        with pytest.raises(ModelError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no kind of model file is called '.pth': there are .safetensors, .*.echo"):
        read_spec(tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"did you mean '.safetensors'"):
        backend_of(tmp_path / "m.safetensor")


@pytest.mark.parametrize("name", ["model", "model.v2", "model.weights", "MODEL.SafeTensors"])
def test_a_bundle_is_read_whatever_its_name_ends_in(name: str, tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "m.safetensors").rename(tmp_path / name)
    assert read_spec(path) == load_model(path).spec


@pytest.mark.parametrize("content", [b"", b"\x02", b"\x02\0\0\0\0\0\0\0PK", b"\xff\0\0\0\0\0\0\0{}"])
def test_a_file_of_neither_a_known_suffix_nor_a_bundles_content_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.weights").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"no kind of model file is called '.weights': there are .safetensors, .onnx, .echo"
    ):
        read_spec(tmp_path / "m.weights")


def test_a_registered_suffix_decides_before_the_content(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "m.safetensors").rename(tmp_path / "m.echo")
    with pytest.raises(ModelError, match="is no echo"):
        read_spec(path)


def test_what_a_bundle_says_is_read_without_pytorch(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "m.safetensors")
    code = f"import sys; from geoseg.models.header import read_spec; read_spec({str(path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "timm", "segmentation_models_pytorch"} & set(done.stdout.split())
