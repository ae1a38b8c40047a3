"""The contract of network families, held by every architecture that is registered, other packages' included."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
import segmentation_models_pytorch as smp
import torch
from support.models import make_spec
from support.networks import ALL, buildable
from support.rasters import write_raster
from torch import nn

from geoseg import predict
from geoseg.core.errors import ModelError
from geoseg.models.auxiliary_outputs import AuxiliaryOutputs
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.families import FAMILIES
from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.building import build_body
from geoseg.models.families.info import NetworkInfo
from geoseg.models.meta_network import build_meta_network
from geoseg.models.model import Model
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.surroundings import Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.tta import find_augmentations
from geoseg.models.weights.matching import check_fit, kinds_of
from geoseg.models.weights.start import start_from
from geoseg.spec import IGNORE, ContextLevel, ContextSpec, ModelSpec, NetworkSpec
from geoseg.spec.arguments import ARCHITECTURES

BANDS = {3: ("red", "green", "blue"), 12: tuple(f"band {i}" for i in range(12))}


class Blur(Body):
    """A network that another package might bring: an average of some pixels, and a convolution."""

    def __init__(self, bands: int, classes: int, width: int):
        super().__init__()
        self.encoder = nn.Conv2d(bands, width, kernel_size=3, padding=1)
        self.last = nn.Conv2d(width, classes, kernel_size=1)

    @property
    def head(self) -> nn.Module:
        return self.last

    @property
    def channels(self) -> int:
        return self.last.in_channels

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.last.in_channels,)

    def encode(self, image: torch.Tensor) -> Features:
        return Features([self.encoder(image)])

    def decode(self, features: Features) -> torch.Tensor:
        return features.maps[0].relu()


class Blurs(Family):
    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        return Blur(bands, classes, network.arguments.get("width", 4))

    def example(self, architecture: str) -> NetworkSpec:
        return NetworkSpec(architecture=architecture, arguments={"width": 6}, multiple=1)

    def info(self, architecture: str) -> NetworkInfo:
        return NetworkInfo("Blur", 1986, 'Marr, "Vision"', "blurs", "MIT", "none")


@pytest.fixture(autouse=True)
def another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that adds the architecture `blur`."""
    module = ModuleType("blurs")
    module.FAMILY = Blurs()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "blurs", module)
    monkeypatch.setitem(FAMILIES._others, "blur", EntryPoint("blur", "blurs:FAMILY", FAMILIES.group))
    yield
    FAMILIES._loaded.pop("blur", None)


NAMES = [*ALL, "blur"]


def a_spec(name: str, bands: int) -> ModelSpec:
    return make_spec(bands=BANDS[bands], network=FAMILIES.get(name).example(name))


def four_windows(side: int) -> LabelledWindows:
    """Windows of three areas, each of a colour of its own, a little noisy."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(4, side, side, dtype=torch.long)
    for i in range(4):
        labels[i, side // 4 + 3 * i :], labels[i, :, side // 2 + 4 * i :] = 1, 2
    colours = torch.tensor([[0.0, 1.0, 0.3], [1.0, 0.0, -0.5], [-1.0, -1.0, 1.0]])
    image = colours[labels].permute(0, 3, 1, 2) + 0.1 * torch.randn(4, 3, side, side, generator=generator)
    return LabelledWindows(image, labels)


class Learnt:
    """Cross-entropy, with the loss of the network's auxiliary outputs; keeps that of the windows' logits."""

    def __init__(self, network: nn.Module):
        self.outputs, self.last = AuxiliaryOutputs(network.body), 0.0
        self.weight = network.body.logits_weight

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits.float(), labels, ignore_index=IGNORE)

    def of_windows(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = self(logits, labels)
        self.last = float(loss.detach())
        own = self.outputs.loss(logits, labels, self)
        return loss if own is None else self.weight * loss + own


MOST_STEPS = 200
"""Most steps in which four windows are learnt; most networks need a tenth."""
CONTEXT = ContextSpec(
    levels=(ContextLevel(ratio=4, size=64),), network=NetworkSpec(architecture="pointwise", multiple=8), channels=4
)

TAKING_CONTEXT = ["blur", *(buildable(name) for name in FAMILIES if FAMILIES.get(name).info(name).takes_context)]


@pytest.mark.parametrize("bands", [3, 12])
@pytest.mark.parametrize("name", NAMES)
def test_it_classifies_each_pixel_by_its_three_parts(name: str, bands: int) -> None:
    spec = a_spec(name, bands)
    network = build_network(spec).eval()
    body, multiple = network.body, max(4, spec.network.multiple)
    image = torch.rand(2, bands, 4 * multiple, 5 * multiple)
    with torch.inference_mode():
        features = body.encode(image)
        decoded = body.decode(features)
        logits = body.head(decoded)
        assert torch.equal(body(image), logits)
    assert logits.shape == (2, len(spec.classes), *image.shape[-2:])
    assert decoded.shape[1] == body.channels
    assert [part.shape[1] for part in features.maps] == list(body.stages)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_moves_its_weights_and_a_bundle_keeps_them(name: str, tmp_path) -> None:
    spec = a_spec(name, 3)
    network = build_network(spec)
    before = {key: tensor.clone() for key, tensor in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    assert any(not torch.equal(tensor, before[key]) for key, tensor in network.named_parameters())
    check_fit(build_meta_network(spec), kinds_of(network.state_dict()), name)
    loaded = load_model(save_model(network, spec, tmp_path / "m.safetensors"))
    assert loaded.spec == spec
    found = loaded.module.state_dict()
    assert all(torch.equal(tensor, found[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_bands_and_classes_in_another_order_make_no_other_function(name: str, tmp_path: Path) -> None:
    """Of a network that starts from a bundle: its logits are those of the bundle, in the order of its classes."""
    torch.manual_seed(0)
    spec = a_spec(name, 3)
    donor = build_network(spec).eval()
    bundle = save_model(donor, spec, tmp_path / "m.safetensors")
    order: dict[str, list[int]] = {"bands": [1, 2, 0], "classes": [2, 0, 3, 1]}
    own = spec.model_copy(update={kind: tuple(getattr(spec, kind)[i] for i in new) for kind, new in order.items()})
    network = build_network(own).eval()
    start_from(network, own, bundle)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        logits = network(image[:, order["bands"]])
        assert torch.allclose(logits, donor(image)[:, order["classes"]], atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (67, 99), (1, 130)])
@pytest.mark.parametrize("name", NAMES)
def test_it_takes_windows_of_any_size(name: str, size: tuple[int, int]) -> None:
    body = build_body(FAMILIES.get(name).example(name), 4, 3).eval()
    with torch.inference_mode():
        assert body(torch.rand(1, 4, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_windows_shown_in_several_ways(name: str) -> None:
    spec = a_spec(name, 3)
    options = RunnerOptions(augmentations=find_augmentations("flips"), multiple=spec.network.multiple, bands=3)
    runner = Runner(build_network(spec), "cpu", "fp32", options)
    windows = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 96), dtype=np.uint8)
    assert runner(windows).shape == (1, len(spec.classes), 64, 96)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_four_windows_by_heart(name: str) -> None:
    torch.manual_seed(0)
    network, windows = build_network(a_spec(name, 3)).train(), four_windows(66)
    criterion = Learnt(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    first = None
    for _ in range(MOST_STEPS):
        optimizer.zero_grad()
        network.training_loss(windows, criterion, network, torch.Generator()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        first = first or criterion.last
        if criterion.last < first / 2:
            return
    pytest.fail(f"the loss fell from {first:.3f} to {criterion.last:.3f}")


@pytest.mark.parametrize("name", NAMES)
def test_its_bundle_predicts_a_scene_as_it_did_itself(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = a_spec(name, 3).model_copy(update={"tile": 64, "overlap": 16})
    network = build_network(spec).eval()
    scene = np.random.default_rng(0).integers(0, 255, (3, 50, 93), dtype=np.uint8)
    path = write_raster(tmp_path / "scene.tif", scene)
    bundle = save_model(network, spec, tmp_path / "m.safetensors")
    settings = {"device": "cpu", "precision": "fp32", "polygons": False, "preview": False, "stac": False}
    found = []
    for kind, model in (("memory", Model(spec, network)), ("file", bundle)):
        with rasterio.open(predict(path, tmp_path / kind, model=model, **settings).paths["landcover"]) as raster:
            found.append(raster.read().tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", TAKING_CONTEXT)
def test_with_a_context_it_learns_from_what_is_around_its_windows(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(a_spec(name, 3).model_copy(update={"context": CONTEXT, "tile": 128, "overlap": 16}))
    plain, generator = four_windows(66), torch.Generator().manual_seed(0)
    views = Views((torch.rand(4, 4, 64, 64, generator=generator),), (torch.tensor([[0.4, 0.4, 0.6, 0.6]] * 4),))
    windows = LabelledWindows(plain.image, plain.labels, views, (torch.zeros(4, 64, 64, dtype=torch.long),))
    network.training_loss(windows, Learnt(network), network, generator).backward()
    assert network.context.fusion.out.weight.grad.abs().sum() > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.body.parameters())


@pytest.mark.parametrize("name", TAKING_CONTEXT)
def test_a_copy_of_it_sees_views_as_it_sees_windows_and_changes_no_bit_before_it_learns(name: str) -> None:
    torch.manual_seed(0)
    side = 128 if name == "pan" else 64
    context = ContextSpec(levels=(ContextLevel(ratio=4, size=side),), init="local", channels=4)
    network = build_network(a_spec(name, 3).model_copy(update={"context": context, "tile": 64, "overlap": 16})).eval()
    network.start_branch("plain")
    plain, boxes = four_windows(side), torch.tensor([[0.4, 0.4, 0.6, 0.6]] * 4)
    view = torch.cat([plain.image, torch.ones(4, 1, side, side)], dim=1)
    windows = LabelledWindows(plain.image, plain.labels, Views((view,), (boxes,)), (plain.labels,))
    with torch.inference_mode():
        around, (answer,) = network.see_and_classify(windows.views)
        local = network(plain.image)
        assert torch.allclose(answer, local, atol=1e-5)
        assert torch.equal(network(plain.image, around), local)
    network.train().training_loss(windows, Learnt(network), network, torch.Generator()).backward()
    assert network.context.nets[0].scale.grad.abs().sum() > 0


def test_another_packages_network_pads_by_what_lies_at_the_edge() -> None:
    body = build_body(NetworkSpec(architecture="blur", multiple=1), 3, 2).eval()
    with torch.inference_mode():
        logits = body(torch.ones(1, 3, 16, 16))
    assert torch.allclose(logits, logits[:, :, :1, :1].expand_as(logits), atol=1e-6)


@pytest.mark.parametrize("name", [*FAMILIES, "blur"])
def test_it_says_what_it_is(name: str) -> None:
    info = FAMILIES.get(name).info(name)
    assert all((info.title, info.paper, info.source, info.licence, info.encoders))
    assert 1980 <= info.year <= 2100
    assert (info.encoders == "none") == (not FAMILIES.get(name).example(name).encoder)


def test_architectures_are_those_of_smp() -> None:
    assert set(smp.MODEL_ARCHITECTURES_MAPPING) == set(ARCHITECTURES)


def test_an_unknown_architecture_is_answered_with_the_nearest_of_any_family() -> None:
    with pytest.raises(
        ModelError, match=r"no architecture is called 'blurr': did you mean 'blur'.*package: install it"
    ):
        build_body(NetworkSpec(architecture="blurr"), 3, 2)
