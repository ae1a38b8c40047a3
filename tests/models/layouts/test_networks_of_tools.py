"""Networks that geoseg has for models of other tools: torchvision's DeepLabV3, TorchGeo's FCN, smp 0.4's UPerNet."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.layouts import logits_of, random_image, with_some_statistics
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from geoseg import ModelError, import_model, load_model
from geoseg.models.families.building import build_body, check_network
from geoseg.models.layouts import LAYOUTS
from geoseg.models.layouts.smp_decoders import architecture_by_decoder, with_names_of_today
from geoseg.models.layouts.source import Source
from geoseg.models.layouts.torchvision_names import network_of
from geoseg.spec import NetworkSpec

OPEN: dict[str, Any] = {"dtype": "uint8", "mean": 0, "std": 1, "resolution": "unknown"}
RGBI = "red", "green", "blue", "nir"


def deeplab(bands: int) -> Any:
    """torchvision's network."""
    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3)
    model.backbone.conv1 = nn.Conv2d(bands, 64, 7, 2, 3, bias=False)
    return with_some_statistics(model)


def bundle(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """A bundle of Raster Vision."""
    state, inner = io.BytesIO(), io.BytesIO()
    torch.save(weights, state)
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("model.pth", state.getvalue())
    classes = {"names": ["field", "town", "null"], "colors": ["#010203", "#00ff00", "black"]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model-bundle.zip", inner.getvalue())
        archive.writestr("pipeline-config.json", json.dumps({"dataset": {"class_config": classes}}))
    return path


def test_raster_visions_own_network_gives_the_logits_of_torchvision(tmp_path: Path) -> None:
    """With four bands, for which Raster Vision keeps the kernels for three of them apart."""
    model = deeplab(4)
    weights = model.state_dict()
    kernels = weights.pop("backbone.conv1.weight")
    weights |= {"backbone.conv1.1.0.weight": kernels[:, :3], "backbone.conv1.1.1.weight": kernels[:, 3:]}
    result = import_model(bundle(tmp_path / "b.zip", weights), tmp_path / "m.safetensors", bands=RGBI, **OPEN)
    assert (result.network, result.classes) == ("torchvision_deeplabv3", ("field", "town", "null"))
    assert "the first convolution's kernels for three bands and for the others are joined" in result.notices
    image = random_image(4, 64)
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(result.bundle, image), model(image)["out"], rtol=1e-5, atol=1e-5)


def test_weights_of_torchvision_say_what_they_are(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=True).state_dict()
    torch.save({f"module.{name}": torch.ones(1) for name in names}, tmp_path / "w.pth")
    found = LAYOUTS.get("state_dict").read(Source.open(tmp_path / "w.pth"))
    assert found.says.architecture == "torchvision_deeplabv3"
    assert found.says.arguments == {"backbone": "resnet50"}
    assert "aux_classifier is dropped: it is no part of the network that classifies" in found.notices
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="torchvision_deeplabv3"), 3, 3)
    assert found.weights.keys() == body.state_dict().keys()


def test_the_deeper_resnet_is_known_by_its_blocks() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="torchvision_deeplabv3", arguments={"backbone": "resnet101"}), 3, 21)
    auxiliary = 1024 * 256 * 9 + 2 * 256 + 256 * 21 + 21
    assert sum(p.numel() for p in body.parameters()) + auxiliary == 60_996_202  # torchvision's own figure
    names = {name.replace("encoder.", "backbone."): torch.ones(1) for name in body.state_dict()}
    assert network_of(names)["arguments"] == {"backbone": "resnet101"}


def test_an_encoder_beside_its_own_is_refused() -> None:
    with pytest.raises(ModelError, match=r"torchvision_deeplabv3 has an encoder of its own: leave out encoder"):
        check_network(NetworkSpec(architecture="torchvision_deeplabv3", encoder="resnet34"))


def as_torchgeo(bands: int, classes: int, filters: int) -> nn.Module:
    """The FCN as TorchGeo describes it."""
    model = nn.Module()
    layers = [nn.Conv2d(bands if not i else filters, filters, 3, padding=1) for i in range(5)]
    model.backbone = nn.Sequential(*(one for layer in layers for one in (layer, nn.LeakyReLU())))
    model.last = nn.Conv2d(filters, classes, 1)
    return model


def test_torchgeos_fcn_gives_its_logits(tmp_path: Path) -> None:
    model = as_torchgeo(3, 2, 7)
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    settings = {"model": "fcn", "backbone": "resnet50", "in_channels": 3, "num_classes": 2, "num_filters": 7}
    torch.save({"state_dict": weights, "hyper_parameters": settings}, tmp_path / "last.ckpt")
    said = OPEN | {"bands": RGBI[:3], "classes": ("sea", "town")}
    result = import_model(tmp_path / "last.ckpt", tmp_path / "m.safetensors", **said)
    assert load_model(result.bundle).spec.network.arguments == {"filters": 7}
    image = random_image() / 255
    with torch.inference_mode():
        expected = model.last(model.backbone(image))
        torch.testing.assert_close(logits_of(result.bundle, image), expected, rtol=1e-5, atol=1e-5)


def test_the_former_upernet_has_the_weights_of_version_0_4() -> None:
    """That of its ResNet-34 and one class, without those of the stage of the image, which it never used."""
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="smp04_upernet", encoder="resnet34"), 3, 1)
    assert sum(p.numel() for p in body.parameters()) == 22_681_089
    unused = {"decoder.fpn_stages.4.skip_conv.0.weight": torch.ones(1)}
    weights = body.state_dict()
    assert with_names_of_today(weights | unused).keys() == weights.keys()
    assert architecture_by_decoder(weights, "it") == "smp04_upernet"


def test_a_map_without_channels_is_joined_by_its_size_alone() -> None:
    """As encoders give whose first stride is 4: for half the size they give an empty one."""
    network = NetworkSpec(architecture="smp04_upernet", encoder="tu-convnext_atto")
    body = build_body(network, 3, 2).eval()
    assert not any(name.startswith("decoder.fpn_stages.3.") for name in body.state_dict())
    with torch.inference_mode():
        assert body(torch.rand(1, 3, 64, 96)).shape == (1, 2, 64, 96)
