"""Bundles that anybody may have made: what they cannot do, and what is said of them."""

import json
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from support.models import make_spec, save_bundle

import geoseg
from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import read_spec
from geoseg.models.meta_network import build_meta_network
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.spec import ModelCard, NetworkSpec

RGB = ("red", "green", "blue")
SMALL = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
UNET = {"architecture": "unet", "encoder": "resnet18", "arguments": SMALL, "multiple": 32}
PLAIN = {"architecture": "pointwise", "encoder": "", "arguments": {}, "multiple": 8}

_watched: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event.startswith(("open", "socket.", "subprocess.", "os.system", "shutil.")):
        _watched.append(f"{event} {arguments[0]}")


sys.addaudithook(_watch)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is opened and who is asked meanwhile, but for Python's own modules and their data."""
    global _watched
    _watched = seen = []
    try:
        yield seen
    finally:
        _watched = None
        modules = sys.prefix, sys.base_prefix, str(Path(geoseg.__file__).parent), "/proc/"
        seen[:] = [line for line in seen if not any(part in line for part in modules)]


def values(**changes: Any) -> dict[str, Any]:
    """A spec as a bundle has it."""
    spec = make_spec(bands=RGB).model_dump(mode="json")
    return spec | changes


def write(path: Path, spec: Any, weights: dict[str, np.ndarray] | None = None) -> Path:
    text = spec if isinstance(spec, str) else json.dumps(spec)
    weights = {"w": np.zeros(1, np.float32)} if weights is None else weights
    safetensors.numpy.save_file(weights, path, metadata={"geoseg": text})
    return path


def refused(path: Path) -> str:
    """What is said of a bundle: on a line, soon, without half a gigabyte, another file, or a question to anybody."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with watched() as seen, pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert {line for line in seen if str(path) not in line} == set()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert time.monotonic() - started < 20
    assert "\n" not in message
    assert len(message) < 1600
    return message


def test_the_folder_of_a_run_stands_for_its_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder without the bundle of a run"):
        read_spec(tmp_path)
    spec = read_spec(save_bundle(tmp_path / "m.safetensors", bands=RGB))
    assert read_spec(tmp_path) == spec
    save_bundle(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="is a folder without the bundle of a run"):
        read_spec(tmp_path)
    (tmp_path / "config.yaml").write_text("name: m")
    assert load_model(tmp_path).spec == spec


def test_a_bundle_keeps_its_temperature(tmp_path: Path) -> None:
    card = ModelCard(calibration={"ece": 0.25})
    path = save_bundle(tmp_path / "m.safetensors", temperature=1.625, card=card)
    assert (load_model(path).spec.temperature, read_spec(path).temperature) == (1.625, 1.625)
    assert read_spec(path).card == card


def test_loading_a_bundle_opens_nothing_else(tmp_path: Path) -> None:
    network = NetworkSpec(architecture="unet", encoder="tu-resnet18.a1_in1k", arguments=SMALL)
    path = save_bundle(tmp_path / "m.safetensors", bands=RGB, network=network)
    with watched() as seen:
        load_model(path)
    assert set(seen) <= {f"open {path}"}


def test_the_watch_sees_what_is_opened_and_asked(tmp_path: Path) -> None:
    with watched() as seen:
        (tmp_path / "x").write_text("x")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=1)
    assert any("open" in line for line in seen)
    assert any("socket" in line for line in seen)


@pytest.mark.parametrize(
    "encoder",
    [
        "tu-hf-hub:owner/x", "tu-hf_hub:owner/x", "tu-HF-HUB:owner/x", "tu-local-dir:/etc", "tu-/etc/passwd", "tu-../x",
        "tu-https://127.0.0.1/x", "hf-hub:owner/x", "local-dir:/etc", "/etc/passwd", "tu-resnet18@main", "tu-",
        "tu-resnet18.", "tu-resnet18.nobody_in1k", "tu-resnet18.a1_in1k/x", "tu-resnet1*", "tu-[r]esnet18",
        "TU-resnet18", "tu-resnet18 ", "tu-resnet18\n", "", "xyz", "tu-" + "x" * 90, "x" * 10_000, "tu-\x1b[31m",
    ],
)  # fmt: skip
def test_encoders_come_from_the_list(tmp_path: Path, encoder: str) -> None:
    spec = values(network=UNET | {"encoder": encoder, "arguments": {}})
    assert "encoder" in refused(write(tmp_path / "m.safetensors", spec))
    spec = values(context={"network": UNET | {"encoder": encoder, "arguments": {}}})
    assert "encoder" in refused(write(tmp_path / "c.safetensors", spec))


@pytest.mark.parametrize(
    "arguments",
    [
        {"checkpoint_path": "/etc/passwd"},
        {"pretrained": True},
        {"pretrained_cfg": {"file": "/etc/passwd"}},
        {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
        {"encoder_weights": "imagenet"},
        {"weights": "imagenet"},
        {"cache_dir": "/tmp/x"},
        {"encoder_name": "tu-hf-hub:x/y"},
        {"in_channels": 9},
        {"classes": 9},
        {"aux_params": {"classes": 2}},
        {"activation": "softmax"},
        {"upsampling": 10**6},
        {"encoder_depth": 10**6},
        {"encoder_depth": "x"},
        {"decoder_atrous_rates": [10**9] * 3},
        {"decoder_channels": [10**9] * 5},
        {"decoder_channels": [16] * 10**5},
        {"decoder_channels": [1.5]},
        {"decoder_use_norm": {"type": "batchnorm", "device": "cuda"}},
        {"img_size": [10**6, 10**6]},
        {"drop_rate": 5},
    ],
)
@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet10t"])
def test_arguments_come_from_the_list_and_are_bounded(tmp_path: Path, encoder: str, arguments: dict[str, Any]) -> None:
    network = UNET | {"encoder": encoder, "arguments": arguments}
    assert next(iter(arguments)) in refused(write(tmp_path / "m.safetensors", values(network=network)))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (PLAIN | {"arguments": {"encoder_depth": 3}}, "pointwise has no argument 'encoder_depth'"),
        (UNET | {"arguments": {"img_size": 64}}, "unet resnet18 has no argument 'img_size'"),
        (UNET | {"arguments": {"psp_dropout": 0.1}}, "unet resnet18 has no argument 'psp_dropout'"),
        (UNET | {"arguments": {"decoder_chanels": [16]}}, "did you mean decoder_channels"),
        (UNET | {"architecture": "resnet18"}, "no architecture is called 'resnet18'"),
        (UNET | {"architecture": "x" * 10**5}, "architecture"),
        (UNET | {"arguments": {"encoder_depth": 9}}, "cannot build unet"),
        (UNET | {"encoder": "tu-vit_base_patch16_224", "arguments": {}}, "unet takes maps of several strides"),
        (UNET | {"encoder": "tu-convnextv2_atto", "arguments": {"depths": [1]}}, "cannot build unet"),
        (UNET | {"encoder": "tu-regnety_002", "arguments": {"decoder_channels": [1]}}, "cannot build unet"),
    ],
)
def test_a_network_that_cannot_be_is_refused(tmp_path: Path, network: dict[str, Any], says: str) -> None:
    assert says in refused(write(tmp_path / "m.safetensors", values(network=network)))


@pytest.mark.parametrize(
    ("architecture", "encoder", "arguments"),
    [
        ("unet", "resnet18", {"decoder_channels": [12000, 12000, 12000, 12000, 12000]}),
        ("unet", "tu-vit_gigantic_patch14_224", {}),
        ("dpt", "tu-vit_gigantic_patch14_224", {}),
        ("unet", "tu-convnextv2_huge", {}),
        ("segformer", "mit_b5", {"decoder_segmentation_channels": 16000}),
        ("deeplabv3plus", "timm-efficientnet-l2", {"decoder_channels": 16000}),
    ],
)
def test_a_small_file_that_claims_gigabytes_is_refused_before_they_are_taken(
    tmp_path: Path, architecture: str, encoder: str, arguments: dict[str, Any]
) -> None:
    network = UNET | {"architecture": architecture, "encoder": encoder, "arguments": arguments}
    said = refused(write(tmp_path / "m.safetensors", values(network=network)))
    assert any(reason in said for reason in ("do not fit", "cannot build", "takes maps", "takes patches"))


def test_tables_out_of_all_proportion_are_refused() -> None:
    network = UNET | {"encoder": "tu-swinv2_cr_tiny_224", "arguments": {"img_size": 4096, "strict_img_size": True}}
    spec = make_spec(bands=RGB, network=NetworkSpec(**network))
    with pytest.raises(ModelError, match="would keep tables of"):
        build_meta_network(spec)


@pytest.mark.parametrize(
    ("name", "weight", "says"),
    [
        ("body.bias", None, "'body.bias' and 0 more are missing"),
        ("body.more", np.zeros(1, np.float32), "it has no 'body.more'"),
        ("body.bias", np.zeros(3, np.float32), r"'body.bias' is F32 (3,), it needs F32 (4,)"),
        ("body.bias", np.zeros(4, np.int64), "'body.bias' is I64"),
        ("body.bias", np.full(4, np.nan, np.float32), "'body.bias' holds NaN"),
        ("body.bias", np.full(4, np.inf, np.float32), "'body.bias' holds NaN or infinity"),
        ("body.bias", np.full(4, -np.inf, np.float16), "'body.bias' holds NaN or infinity"),
        ("body.bias", np.full(4, 1e300, np.float64), "'body.bias' holds NaN or infinity"),
        ("normalize.std", np.zeros((3, 1, 1), np.float32), "a standard deviation of 0"),
        ("normalize.std", -np.ones((3, 1, 1), np.float32), "a standard deviation of 0 or less"),
        ("normalize.mean", np.full((3, 1, 1), np.nan, np.float32), "'normalize.mean' holds NaN"),
    ],
)
def test_weights_that_are_not_the_networks_or_no_numbers_are_refused(
    tmp_path: Path, name: str, weight: np.ndarray | None, says: str
) -> None:
    weights = {
        "normalize.mean": np.zeros((3, 1, 1), np.float32),
        "normalize.std": np.ones((3, 1, 1), np.float32),
        "body.weight": np.zeros((4, 3, 1, 1), np.float32),
        "body.bias": np.zeros(4, np.float32),
    }
    load_model(write(tmp_path / "good.safetensors", values(network=PLAIN), weights))
    given = {key: value for key, value in (weights | {name: weight}).items() if value is not None}
    assert says in refused(write(tmp_path / "m.safetensors", values(network=PLAIN), given))


def test_a_negative_variance_is_no_number_in_the_end(tmp_path: Path) -> None:
    spec = make_spec(bands=RGB, network=NetworkSpec(**UNET))
    network = build_network(spec)
    network.body.encoder.bn1.running_var.fill_(-1)
    with pytest.raises(ModelError, match=r"encoder\.bn1\.running_var' holds a variance below 0"):
        save_model(network, spec, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("half", [False, True])
def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path, half: bool) -> None:
    spec = make_spec(bands=RGB)
    network = build_network(spec)
    network.body.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"body\.weight' holds NaN"):
        save_model(network, spec, tmp_path / "m.safetensors", half=half)
    network.body.weight.data[0, 0] = 1e6  # beyond what float16 holds
    loaded = load_model(save_model(network, spec, tmp_path / "m.safetensors", half=half))
    assert loaded.module.body.weight[0, 0] == 1e6


def test_encoder_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    spec = make_spec(bands=RGB, network=NetworkSpec(**UNET))
    weights = build_network(spec).body.encoder.state_dict()
    weights["conv1.weight"] = torch.full_like(weights["conv1.weight"], torch.inf)
    safetensors.torch.save_file(weights, tmp_path / "e.safetensors")
    with pytest.raises(ModelError, match=r"'conv1\.weight' holds NaN or infinity"):
        load_encoder_weights(build_network(spec), spec, str(tmp_path / "e.safetensors"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("[" * 10**5, "is not JSON"),
        ("{" + '"a": {' * 40 + "}" * 41, "more than 32 levels"),
        ('{"tile": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"tile": ' + "9" * 100 + "}", "less than 60 digits"),
        ('{"name": "a", "name": "b"}', "stands twice"),
        ("null", "holds no settings"),
        ("3", "holds no settings"),
        (values(name="\ud800"), "half a character"),
        (values(card={"scores": {"\udfff": 1}}), "half a character"),
        (values(name="x" * 10**6), "1,000,000 characters"),
        (values(classes=[{"id": 0, "name": "x" * 10**5, "color": "#000000"}]), "at most 200 characters"),
        (values(classes=[{"id": i % 255, "name": "x", "color": "#000000"} for i in range(10**4)]), "no more than 255"),
        (values(bands=["x"] * 10**5), "no more than 1024"),
        (values(tile=1), "tile = 1"),
        (values(network=PLAIN | {"multiple": 10**12}), "network.multiple = 1000000000000"),
        (values(network=PLAIN | {"multiple": 0}), "network.multiple = 0"),
        (values(network="unet"), "network = 'unet'"),
        (values(extra=1), "unknown setting 'extra'"),
        (values(classes={}), "classes"),
    ],
)
def test_a_spec_that_is_none_is_refused_on_a_line(tmp_path: Path, spec: Any, says: str) -> None:
    path = write(tmp_path / "m.safetensors", spec)
    assert says in refused(path)
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        read_spec(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\x00" * 100,
        b"\xff" * 100,
        (100).to_bytes(8, "little") + b"{" * 100,
        (2).to_bytes(8, "little") + b"{}",
        (10**6).to_bytes(8, "little") + b"[" * 10**6,
        (50).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[9999999999999999999],'.ljust(50),
        (64).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[99],"data_offsets":[0,4]}}'.ljust(64) + b"\0" * 4,
        (2**25).to_bytes(8, "little") + b" " * 2**25,
    ],
)
def test_a_file_that_is_no_bundle_is_refused_on_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    refused(tmp_path / "m.safetensors")


def test_a_bundle_cut_off_is_refused_on_a_line(tmp_path: Path) -> None:
    content = save_bundle(tmp_path / "m.safetensors", bands=RGB).read_bytes()
    for length in range(0, len(content), 37):
        (tmp_path / "m.safetensors").write_bytes(content[:length])
        refused(tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", ["\ud800", "x" * 30_000])
def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, text: str) -> None:
    card = ModelCard().model_copy(update={"description": text})
    spec = make_spec(bands=RGB).model_copy(update={"card": card})
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        save_model(build_network(spec), spec, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_counters_that_old_files_lack_are_not_missed(tmp_path: Path) -> None:
    spec = make_spec(bands=RGB, network=NetworkSpec(**UNET))
    state = {n: t.numpy() for n, t in build_network(spec).state_dict().items() if not n.endswith("num_batches_tracked")}
    load_model(write(tmp_path / "m.safetensors", spec.model_dump(mode="json"), state))


@pytest.mark.parametrize("architecture", [*smp.MODEL_ARCHITECTURES_MAPPING])
def test_outlines_are_the_networks_themselves_but_for_their_memory(architecture: str) -> None:
    encoder = "tu-vit_tiny_patch16_224" if architecture == "dpt" else "mit_b0" if architecture == "fpn" else "resnet18"
    spec = make_spec(bands=RGB, network=NetworkSpec(architecture=architecture, encoder=encoder))
    outline, network = build_meta_network(spec).state_dict(), build_network(spec).state_dict()
    assert {n: (t.shape, t.dtype) for n, t in outline.items()} == {n: (t.shape, t.dtype) for n, t in network.items()}
    assert sum(t.nbytes for t in outline.values() if t.device.type != "meta") < 10**6
