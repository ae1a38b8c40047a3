"""Models for other tools: the contract of every kind of export, and what each is opened with."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load as load_weights
from support.branches import FIELDS, SMALL
from support.models import make_spec
from support.stac import validate

from geoseg.cli import main
from geoseg.commands.export_model import export_model
from geoseg.core.errors import ModelError, OutputError, SpecError
from geoseg.models.backends import BACKENDS
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import read_spec
from geoseg.models.model import Model
from geoseg.models.padding import replicate_edges
from geoseg.outputs.exports import EXPORTS, FOLDER, ExportOptions, kind_of
from geoseg.spec import ModelCard, NormalizationSpec

CARD = ModelCard(purpose="Fields and water.", licence="CC-BY-4.0", credits="Survey of Nowhere, 2025")
BANDS = "red", "green", "nir"


def example(folder: Path, **fields: Any) -> Model:
    """A U-Net with random weights and statistics, in a bundle."""
    values: dict[str, Any] = {
        "network": SMALL,
        "bands": BANDS,
        "normalization": NormalizationSpec(mean=(80, 90, 100), std=(30, 40, 50)),
        "card": CARD,
        "resolution_m": 0.5,
        "tile": 128,
        "overlap": 32,
    }
    spec = make_spec(3, **values | fields)
    torch.manual_seed(0)
    network = build_network(spec)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    return load_model(save_model(network, spec, folder / "m.safetensors"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return example(tmp_path_factory.mktemp("model"))


def image(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 255).round()


def logits(module: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = module(values)
    return found


def output(kind: str, folder: Path) -> Path:
    return folder / ("exported" if kind == FOLDER else f"exported{kind}")


# ------------------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("kind", [*EXPORTS])
def test_an_export_has_the_model_first_and_its_licence_and_credits(kind: str, model: Model, tmp_path: Path) -> None:
    path = output(kind, tmp_path)
    assert kind_of(path) == kind
    files = EXPORTS.get(kind).make(model, path, ExportOptions()).files
    first = next(iter(files))
    assert first == ("model.safetensors" if kind == FOLDER else path.name)
    everything = b"".join(files.values())
    assert CARD.licence.encode() in everything
    assert CARD.credits.encode() in everything


@pytest.mark.parametrize("kind", [*EXPORTS])
def test_a_model_that_sees_its_surroundings_is_exported_whole_or_with_a_notice(kind: str, tmp_path: Path) -> None:
    whole = example(tmp_path, **FIELDS["context"])
    exported = EXPORTS.get(kind).make(whole, output(kind, tmp_path), ExportOptions())
    names_the_file = kind == ".json"
    assert any("sees the surroundings" in line for line in exported.notices) != names_the_file


@pytest.mark.parametrize("kind", [kind for kind in EXPORTS if kind != ".json"])
def test_a_model_of_another_runtime_is_refused_in_a_line(kind: str, tmp_path: Path) -> None:
    other = load_model(BACKENDS.get(".onnx").example(tmp_path))
    with pytest.raises(ModelError) as caught:
        EXPORTS.get(kind).make(other, output(kind, tmp_path), ExportOptions())
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- ONNX


@pytest.fixture(scope="module")
def onnx_path(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(model, tmp_path_factory.mktemp("onnx") / "m.onnx", geoai=True).paths[0]


@pytest.fixture(scope="module")
def fixed_path(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(model, tmp_path_factory.mktemp("fixed") / "m.onnx", size=96).paths[0]


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 40, 136)])
def test_an_onnx_model_gives_the_probabilities_of_the_bundle_for_any_size(
    shape: tuple[int, ...], model: Model, onnx_path: Path
) -> None:
    opened = load_model(onnx_path)
    assert opened.spec == model.spec
    values = image(*shape)
    found, wanted = logits(opened.module, values).softmax(1), logits(model.module, values).softmax(1)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_local_part_is_read_as_a_model_without_surroundings(tmp_path: Path) -> None:
    whole = example(tmp_path, **FIELDS["context"])
    path = export_model(whole, tmp_path / "m.onnx").paths[0]
    assert read_spec(path) == whole.spec.without_branch()
    values = image(1, 3, 64, 64)
    found, wanted = (logits(one.module, values).softmax(1) for one in (load_model(path), whole))
    assert torch.allclose(found, wanted, atol=1e-5)


class Deepness:
    """Reads and runs a model as the plugin for QGIS does (its `Segmentor`): a fixed size, values / 255, the largest."""

    def __init__(self, path: Path):
        self.session = onnxruntime.InferenceSession(path)
        said = self.session.get_modelmeta().custom_metadata_map
        keys = "model_type", "class_names", "resolution", "tile_size", "tiles_overlap", "seg_thresh"
        self.said = {name: json.loads(said[name]) for name in keys}
        self.mean, self.std = (
            np.array(json.loads(said[f"standardization_{name}"]), np.float32) for name in ("mean", "std")
        )
        self.size = int(self.session.get_inputs()[0].shape[-1])

    def classes(self, tiles: np.ndarray) -> np.ndarray:
        """Numbers of classes (B, H, W) of tiles (B, H, W, C)."""
        values = (np.float32(tiles * 1.0 / 255.0) - self.mean) / self.std
        (result,) = self.session.run(None, {self.session.get_inputs()[0].name: values.transpose(0, 3, 1, 2)})
        result[result < self.said["seg_thresh"]] = 0
        return np.argmax(result, axis=1)


def test_deepness_opens_a_model_of_a_fixed_size_and_finds_the_same_classes(model: Model, fixed_path: Path) -> None:
    plugin = Deepness(fixed_path)
    assert plugin.size == plugin.said["tile_size"] == 96
    assert plugin.said["model_type"] == "Segmentor"
    assert plugin.said["class_names"] == {str(i): one.name for i, one in enumerate(model.spec.classes)}
    assert (plugin.said["resolution"], plugin.said["tiles_overlap"]) == (50, 33)
    values = image(2, 3, 96, 96)
    found = plugin.classes(values.numpy().transpose(0, 2, 3, 1).astype(np.uint8))
    assert (found == logits(model.module, values).argmax(1).numpy()).mean() > 0.9999


def test_the_output_states_its_sides_fixed_or_free(fixed_path: Path, onnx_path: Path) -> None:
    def sides(path: Path) -> list[int | str]:
        return list(onnxruntime.InferenceSession(path).get_outputs()[0].shape)

    classes = len(read_spec(fixed_path).classes)
    assert sides(fixed_path) == ["batch", classes, 96, 96]
    assert sides(onnx_path) == ["batch", classes, "height", "width"]


def test_a_fixed_size_decides_the_windows_of_predict(fixed_path: Path) -> None:
    assert (read_spec(fixed_path).tile, read_spec(fixed_path).overlap) == (96, 32)


def test_without_a_fixed_size_a_notice_says_that_deepness_needs_one(model: Model, tmp_path: Path) -> None:
    assert "Deepness" in " ".join(export_model(model, tmp_path / "m.onnx").notices)


def test_geoai_finds_its_side_file(model: Model, onnx_path: Path) -> None:
    said = json.loads(onnx_path.with_name("m.onnx.json").read_text())
    assert said["task"] == "semantic-segmentation"
    assert said["id2label"] == {str(i): one.name for i, one in enumerate(model.spec.classes)}
    assert (said["input_channels"], said["input_height"], said["num_labels"]) == (3, 128, 3)


# ---------------------------------------------------------------------------------------------------------------- smp


def test_a_program_of_torch_gives_the_logits_of_the_bundle_and_says_what_it_is(model: Model, tmp_path: Path) -> None:
    path = export_model(model, tmp_path / "m.pt2", size=64).paths[0]
    said = {"mlm-metadata": ""}
    program = torch.export.load(path, extra_files=said).module()
    for count in (1, 3):
        values = image(count, 3, 64, 64)
        assert torch.allclose(logits(program, values), logits(model.module, values), atol=1e-4)
    properties = yaml.safe_load(said["mlm-metadata"])["properties"]
    assert properties["input"][0]["bands"] == list(BANDS)
    assert properties["input"][0]["input"]["shape"] == [-1, 3, 64, 64]
    assert properties["geoseg:credits"] == CARD.credits


def test_a_folder_is_opened_by_the_library_with_the_same_weights_and_logits(model: Model, tmp_path: Path) -> None:
    paths = export_model(model, tmp_path / "folder").paths
    assert {path.name for path in paths} == {"model.safetensors", "config.json", "import.yaml", "README.md"}
    theirs = smp.from_pretrained(str(tmp_path / "folder")).eval()
    values, spec = image(2, 3, 64, 96), model.spec.normalization
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (spec.mean, spec.std))
    padded = logits(replicate_edges(theirs), (values - mean) / std)
    assert torch.allclose(padded, logits(model.module, values), atol=1e-5)
    written = load_weights(paths[0].read_bytes())
    own = model.module.body.state_dict()
    assert written.keys() == own.keys()
    assert all(torch.equal(written[name], own[name]) for name in own)


def test_a_folder_says_what_its_network_takes_in_a_form_for_import(model: Model, tmp_path: Path) -> None:
    export_model(model, tmp_path / "folder")
    said = yaml.safe_load((tmp_path / "folder" / "import.yaml").read_text())
    assert said["bands"] == list(BANDS)
    assert (said["mean"], said["std"]) == ([80, 90, 100], [30, 40, 50])
    page = (tmp_path / "folder" / "README.md").read_text()
    assert yaml.safe_load(page.split("---")[1])["license"] == "cc-by-4.0"


def test_a_network_of_another_library_has_no_folder(tmp_path: Path) -> None:
    spec = make_spec(3, bands=BANDS)
    with pytest.raises(ModelError, match="pointwise is no network of segmentation-models-pytorch"):
        export_model(Model(spec, build_network(spec).eval()), tmp_path / "folder")


@pytest.mark.parametrize("name", ["folder", "model.onnx"])
def test_a_network_with_semantic_normalisation_is_exported_as_a_program_alone(
    model: Model, tmp_path: Path, name: str
) -> None:
    network = model.spec.network.model_copy(update={"semantic_normalization": True})
    normalised = Model(model.spec.model_copy(update={"network": network}), model.module)
    with pytest.raises(ModelError, match=r"semantic normalisation, .*: export to .pt2 instead"):
        export_model(normalised, tmp_path / name)
    assert not (tmp_path / name).exists()


# --------------------------------------------------------------------------------------------------------------- STAC


@pytest.mark.parametrize("licence", ["CC-BY-4.0", "Free for research, see the makers", ""])
def test_an_item_is_valid_by_the_schema_of_the_extension(licence: str, tmp_path: Path) -> None:
    made = example(tmp_path, card=CARD.model_copy(update={"licence": licence}))
    item = json.loads(export_model(made, tmp_path / "items" / "m.json").paths[0].read_text())
    assert any(place.endswith("mlm/v1.5.2/schema.json") for place in validate(item))
    properties = item["properties"]
    assert properties["mlm:total_parameters"] == sum(p.numel() for p in made.module.parameters())
    assert properties["gsd"] == 0.5
    assert properties.get("geoseg:licence", "") == licence
    assert item["assets"]["model"]["href"] == "../m.safetensors"
    assert item["assets"]["model"]["file:size"] == (tmp_path / "m.safetensors").stat().st_size


def test_the_item_of_an_onnx_model_names_its_framework(onnx_path: Path, tmp_path: Path) -> None:
    item = json.loads(export_model(onnx_path, tmp_path / "m.json").paths[0].read_text())
    validate(item)
    assert item["properties"]["mlm:framework"] == "ONNX"


# ---------------------------------------------------------------------------------------------------------------- hub


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as one commit of small files needs."""

    received: dict[str, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received[self.path] = body
        if self.path.endswith("/repos/create"):
            self._answer({"url": f"http://{self.headers['Host']}/owner/name", "id": "owner/name"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._answer(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
            )
        elif "/commit/" in self.path:
            place = f"http://{self.headers['Host']}/owner/name/commit/1"
            self._answer({"commitUrl": place, "commitOid": "1", "success": True})
        else:
            self._answer({})

    def do_GET(self) -> None:
        self._answer({"siblings": [], "id": "owner/name", "sha": "0"})

    def _answer(self, values: dict[str, Any]) -> None:
        content = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    received: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()


def test_files_and_a_page_are_pushed_to_a_hub_in_one_commit(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(monkeypatch) as received:
        result = export_model(model, tmp_path / "m.json", push="hf://owner/name")
    assert result.pushed is not None
    assert result.pushed.endswith("/owner/name/commit/1")
    lines = next(body for path, body in received.items() if "/commit/" in path).splitlines()
    files = [json.loads(line)["value"]["path"] for line in lines if json.loads(line)["key"] == "file"]
    assert files == ["README.md", "m.json"]
    assert b"Survey of Nowhere" in base64.b64decode(json.loads(lines[1])["value"]["content"])


def test_a_hub_that_refuses_is_an_error_in_a_line_and_the_files_stay(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OutputError, match="cannot push to hf://owner/name") as caught:
        export_model(model, tmp_path / "m.json", push="hf://owner/name")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "m.json").exists()


# ------------------------------------------------------------------------------------------------------------ command


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.tflite", {}, "there is no export to .tflite: take one of"),
        ("m.json", {"size": 512}, "size changes nothing in an export to .json"),
        ("m.onnx", {"size": 7}, "size 7: give 32 to"),
        ("m.json", {"push": "owner/name"}, "give hf://OWNER/NAME"),
    ],
)
def test_what_makes_no_sense_is_refused(
    name: str, options: dict[str, Any], message: str, model: Model, tmp_path: Path
) -> None:
    with pytest.raises((OutputError, SpecError), match=message):
        export_model(model, tmp_path / name, **options)


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2", "m.json"])
def test_a_folder_with_the_name_of_a_file_gets_no_other_form_in_it(name: str, model: Model, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match="is a folder: choose another name for the file"):
        export_model(model, tmp_path / name, overwrite=True)
    (tmp_path / "m.v2").mkdir()
    assert kind_of(tmp_path / "m.v2") == FOLDER
    assert not [*(tmp_path / name).iterdir()]


def test_nothing_is_replaced_unless_asked(model: Model, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("mine")
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        export_model(model, tmp_path / "m.json")
    assert export_model(model, tmp_path / "m.json", overwrite=True).paths == (tmp_path / "m.json",)


def test_the_command_says_what_was_written_and_the_licence(model: Model, tmp_path: Path) -> None:
    assert model.file is not None
    done = CliRunner().invoke(main, ["export", str(model.file.path), "-o", str(tmp_path / "m.json")])
    assert done.exit_code == 0, done.output
    assert f"STAC Item (MLM) of test, licence CC-BY-4.0\n  {tmp_path / 'm.json'}\n" in done.output
