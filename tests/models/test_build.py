import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.models import make_spec, save_bundle

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import default_model_path, read_spec
from geoseg.models.runner import Runner, choose_device, choose_precision
from geoseg.spec import NetworkSpec, NormalizationSpec

UNET = NetworkSpec(
    architecture="unet", encoder="resnet18", arguments={"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
)


@pytest.mark.parametrize("half", [False, True])
def test_a_bundle_comes_back_as_it_went(tmp_path, half):
    spec = make_spec(bands=("red", "green", "blue"), network=UNET)
    module = build_network(spec).eval()
    loaded = load_model(save_model(module, spec, tmp_path / "m.safetensors", half=half))
    assert loaded.spec == spec
    image = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        given, got = module(image), loaded.module(image)
    assert (got - given).abs().max() <= (0.01 * given.abs().max() if half else 0)
    assert all(p.dtype == torch.float32 for p in loaded.module.parameters())


def test_the_module_takes_the_scenes_own_values(tmp_path):
    """Shifting and stretching the band values changes nothing if the normalisation says so."""
    plain = make_spec(normalization=NormalizationSpec(mean=(0.0,), std=(1.0,)))
    shifted = make_spec(normalization=NormalizationSpec(mean=(1000.0,), std=(50.0,)))
    torch.manual_seed(1)
    a = build_network(plain)
    b = build_network(shifted)
    b.body.load_state_dict(a.body.state_dict())
    values = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(a(values), b(values * 50 + 1000), atol=1e-4, rtol=1e-4)


def test_a_pickle_is_refused_and_never_loaded(tmp_path):
    trap = tmp_path / "m.pt"

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save(Trap(), trap)
    with pytest.raises(ModelError, match="refused"):
        load_model(trap)
    trap.rename(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="refused"):
        load_model(tmp_path / "m.safetensors")
    assert not (tmp_path / "opened").exists()


def test_weights_without_a_spec_and_a_broken_spec(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match="no geoseg spec"):
        load_model(tmp_path / "plain.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "broken.safetensors", metadata={"geoseg": "{"})
    with pytest.raises(ModelError, match="not JSON"):
        load_model(tmp_path / "broken.safetensors")
    spec = json.loads(make_spec().model_dump_json())
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"geoseg": json.dumps(spec)})
    with pytest.raises(ModelError, match="do not fit"):
        load_model(tmp_path / "other.safetensors")


def test_other_weights_than_the_specs_are_not_saved(tmp_path):
    with pytest.raises(ModelError, match="do not fit"):
        save_model(torch.nn.Linear(2, 2), make_spec(), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("unett", "resnet18", "no architecture is called 'unett': did you mean 'unet'"),
        ("xyz", "resnet18", "no architecture is called 'xyz': there are unet, "),
        ("unet", "resnet81", "unknown encoder 'resnet81', did you mean resnet18"),
        ("unet", "tu-resnet81", "unknown encoder 'tu-resnet81', did you mean tu-resnet"),
        ("unet", "xyz", "unknown encoder 'xyz': take one of"),
        ("unet", "mit_b0", "cannot build unet with encoder 'mit_b0'"),
    ],
)
def test_unknown_networks_are_named(architecture, encoder, message):
    arguments = {"encoder_depth": 9} if encoder == "mit_b0" else {}
    with pytest.raises(ModelError, match=message):
        build_network(make_spec(network=NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)))


def test_devices_and_precisions():
    cpu = choose_device("cpu")
    assert choose_precision("fp32", cpu) == "fp32"
    assert choose_precision("auto", cpu) in ("fp32", "bf16")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


def test_windows_of_one_colour_are_forwarded_once(tmp_path):
    class Counting(torch.nn.Module):
        calls = 0

        def forward(self, image, context=None):
            self.calls += 1
            return image

    network = Counting()
    runner = Runner(network, "cpu", "fp32")
    black, grey = np.zeros((1, 2, 32, 32), np.uint8), np.full((1, 2, 32, 32), 9, np.uint8)
    first = runner(black)
    assert torch.equal(runner(black.copy()), first)
    assert network.calls == 1
    runner(grey)
    runner(np.random.default_rng(0).integers(0, 9, (1, 2, 32, 32), dtype=np.uint8))
    runner(grey)
    assert network.calls == 3


def test_the_default_model_is_complete():
    spec = read_spec()
    assert spec.bands == ("red", "green", "blue")
    assert default_model_path().stat().st_size <= 25 * 2**20
    assert "NAIP" in spec.card.credits
    assert "yinx111" in spec.card.credits
    assert spec.card.scores["miou"] > 0.65
    assert set(spec.card.scores["iou"]) == {c.name for c in spec.classes}
    assert not spec.network.encoder.startswith("mit_")
    assert "/" not in str(spec.card.training.get("data", {}).get("tiles", ""))[:1]


def test_saving_is_atomic(tmp_path):
    path = save_bundle(tmp_path / "deep" / "m.safetensors")
    assert [p.name for p in path.parent.iterdir()] == ["m.safetensors"]
