"""What single layouts say of a model, drop, and refuse: files like those of other tools, written on the spot."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file
from support.layouts import logits_of, random_image, with_some_statistics
from torch import nn
from torch.nn import functional

from geoseg import ModelError, SpecError, import_model, load_model
from geoseg.models.families.building import build_body
from geoseg.models.layouts import LAYOUTS
from geoseg.models.layouts.flair import CLASSES
from geoseg.spec import NetworkSpec

RGB: dict[str, Any] = {
    "bands": ("red", "green", "blue"), "dtype": "uint8", "mean": 0, "std": 1, "resolution": "unknown",
    "classes": ("sea", "wood", "field", "town"),
}  # fmt: skip
TASK = {"model": "unet", "backbone": "tu-test_resnet", "in_channels": 3, "task": "multiclass", "num_classes": 4}


def unet(**keywords: Any) -> Any:
    return with_some_statistics(smp.Unet("tu-test_resnet", encoder_weights=None, **{"classes": 4} | keywords))


def lightning(path: Path, model: Any, prefix: str, settings: dict[str, Any]) -> Path:
    weights = {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": weights | {"criterion.weight": torch.ones(4)}, "hyper_parameters": settings}, path)
    return path


@pytest.mark.parametrize("name", ["torchgeo", "terratorch"])
def test_a_lightning_checkpoint_gives_the_logits_of_its_network(name: str, tmp_path: Path) -> None:
    model = unet()
    arguments = {"backbone": "tu-test_resnet", "model": "Unet", "bands": ["RED", "GREEN", "BLUE"], "num_classes": 4}
    of_terratorch = {"model_factory": "SMPModelFactory", "model_args": arguments, "class_names": ["a", "b", "c", "d"]}
    prefix, settings = {"torchgeo": ("model.", TASK), "terratorch": ("model.smp_model.", of_terratorch)}[name]
    source = lightning(tmp_path / "last.ckpt", model, prefix, settings)
    result = import_model(source, tmp_path / "m.safetensors", **RGB)
    assert result.layout == LAYOUTS.get(name).title
    assert "criterion is dropped: it is no part of the network that classifies" in result.notices
    image = random_image()
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(result.bundle, image), model(image), rtol=1e-5, atol=1e-5)


def test_terratorch_says_bands_and_classes(tmp_path: Path) -> None:
    arguments = {
        "backbone": "tu-test_resnet",
        "model": "Unet",
        "bands": ["BLUE", "NIR_NARROW", "RED"],
        "num_classes": 4,
    }
    settings = {"model_factory": "SMPModelFactory", "model_args": arguments, "class_names": ["a", "b", "c", "d"]}
    source = lightning(tmp_path / "last.ckpt", unet(), "model.smp_model.", settings)
    said = {name: value for name, value in RGB.items() if name not in ("bands", "classes")}
    result = import_model(source, tmp_path / "m.safetensors", **said)
    assert result.bands == ("blue", "nir narrow", "red")
    assert result.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"task": "multilabel"}, r"gives classes that may overlap \(multilabel\)"),
        ({"model": "unett"}, r"a network 'unett', which segmentation-models-pytorch does not have, did you mean unet"),
        ({"backbone": "resnet50"}, r"the weights do not fit unet resnet50: 'encoder"),
    ],
)
def test_what_torchgeo_has_and_geoseg_has_not_is_refused(changed: dict[str, Any], error: str, tmp_path: Path) -> None:
    source = lightning(tmp_path / "last.ckpt", unet(), "model.", TASK | changed)
    with pytest.raises(ModelError, match=error):
        import_model(source, tmp_path / "m.safetensors", **RGB)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"num_classes": 9}, r"its settings say 9 classes, its weights have 4: one of both is of another model; give"),
        ({"in_channels": 5}, r"its settings say 5 bands, its weights have 3: one of both is of another model"),
        ({"num_classes": "many"}, r"num_classes is 'many' in its settings, which is no number of bands or classes"),
        ({"backbone": None}, r"backbone is missing in its settings, which must name the network: give its weights"),
        ({"backbone": ["x"]}, r"backbone is .* in its settings, which must name the network"),
    ],
)
def test_settings_that_contradict_the_weights_or_make_no_sense(
    changed: dict[str, Any], error: str, tmp_path: Path
) -> None:
    source = lightning(tmp_path / "last.ckpt", unet(), "model.", TASK | changed)
    with pytest.raises(ModelError, match=error) as caught:
        import_model(source, tmp_path / "m.safetensors", **RGB)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"classes": 9}, r"its settings say 9 classes, its weights have 4: one of both is of another model"),
        ({"classes": "many"}, r"classes is 'many' in its settings, which is no number of bands or classes"),
        ({"_model_class": 7}, r"_model_class is '?7'? in its settings, which must name the network"),
    ],
)
def test_a_config_of_smp_that_contradicts_its_head(changed: dict[str, Any], error: str, tmp_path: Path) -> None:
    unet().save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed), "utf-8")
    with pytest.raises(ModelError, match=error):
        import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB)


def test_other_factories_of_terratorch_are_refused(tmp_path: Path) -> None:
    settings = {"model_factory": "EncoderDecoderFactory", "model_args": {"backbone": "prithvi_eo_v2_300"}}
    source = lightning(tmp_path / "last.ckpt", unet(), "model.encoder.", settings)
    with pytest.raises(ModelError, match=r"EncoderDecoderFactory built \(prithvi_eo_v2_300\): geoseg has those of"):
        import_model(source, tmp_path / "m.safetensors", **RGB)


def test_a_checkpoint_of_geoai_says_its_network(tmp_path: Path) -> None:
    model = unet()
    weights = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    settings = {"architecture": "unet", "encoder_name": "tu-test_resnet", "num_channels": 3, "num_classes": 4}
    torch.save({"epoch": 9, "model_state_dict": weights, "best_iou": 0.5, **settings}, tmp_path / "checkpoint.pth")
    result = import_model(tmp_path / "checkpoint.pth", tmp_path / "m.safetensors", **RGB)
    assert result.layout == "model of geoai"
    image = random_image()
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(result.bundle, image), model(image), rtol=1e-5, atol=1e-5)


def test_a_whole_network_of_timm_is_refused(tmp_path: Path) -> None:
    torch.save(unet().state_dict(), tmp_path / "model.pth")
    settings = {
        "architecture": "unet",
        "encoder_name": "x",
        "num_channels": 3,
        "num_classes": 4,
        "use_timm_model": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(settings | {"timm_model_name": "nvidia/mit-b0"}), "utf-8")
    with pytest.raises(ModelError, match=r"a network of timm as a whole \(nvidia/mit-b0\)"):
        import_model(tmp_path, tmp_path / "m.safetensors", **RGB)


def flair(folder: Path, readme: str = "", **keywords: Any) -> Any:
    """A folder of FLAIR-INC; its network."""
    model = with_some_statistics(smp.Unet("resnet34", encoder_weights=None, classes=len(CLASSES), **keywords))
    weights = {f"model.seg_model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(weights | {"criterion.weight": torch.ones(19)}, folder / "weights.pth")
    if readme:
        (folder / "README.md").write_text(readme, "utf-8")
    return model


def test_flair_says_all_but_its_licence_and_is_cut_to_the_classes_it_knows(tmp_path: Path) -> None:
    card = (
        "---\nlicense: etalab-2.0\nmodel-index:\n- name: FLAIR-INC_rgbi_15cl_resnet34-unet\n---\nFLAIR-INC_rgb_12cl\n"
    )
    model = flair(tmp_path, card, in_channels=4)
    result = import_model(tmp_path, tmp_path / "m.safetensors")
    assert result.bands == ("red", "green", "blue", "nir")
    assert (result.classes[-2:], len(result.classes), result.licence) == (("snow", "greenhouse"), 15, "etalab-2.0")
    spec = load_model(result.bundle).spec
    assert (spec.classes[-1].id, spec.resolution_m, spec.normalization.mean[0]) == (18, 0.2, 105.08)
    image = random_image(4)
    normalised = (image - torch.tensor(spec.normalization.mean).view(4, 1, 1)) / torch.tensor(
        spec.normalization.std
    ).view(4, 1, 1)
    with torch.inference_mode():
        expected = model(normalised)[:, [*range(14), 17]]
        torch.testing.assert_close(logits_of(result.bundle, image), expected, rtol=1e-5, atol=1e-5)


def test_flair_without_a_readme_asks_which_classes_it_knows(tmp_path: Path) -> None:
    flair(tmp_path)
    with pytest.raises(SpecError, match=r"does not say classes \(19\): give --classes"):
        import_model(tmp_path, tmp_path / "m.safetensors")
    draft = (tmp_path / "m.yaml").read_text("utf-8")
    assert "# - {name: greenhouse, color: '#9999ff', id: 18, channel: 17}" in draft
    assert "# a model of 12 classes (..._12cl_...) knows channels 0 to 11, one of 15 channels 0 to 13 and 17:" in draft


def test_raster_visions_classes_are_taken_and_its_code_is_not_run(tmp_path: Path) -> None:
    example = LAYOUTS.get("raster_vision").example(tmp_path)
    result = import_model(example.path, tmp_path / "m.safetensors", **example.says.said)
    assert result.classes == ("field", "town", "null")
    assert load_model(result.bundle).spec.classes[0].color == "#010203"
    assert "the bundle holds Python modules: they are not run" in result.notices


def test_damaged_bundles_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as archive:
        archive.writestr("model-bundle.zip", b"PK\x03\x04" + bytes(200))
        archive.writestr("pipeline-config.json", "{}")
    with pytest.raises(ModelError, match=r"is a damaged bundle, or lacks model.pth: copy it again"):
        import_model(tmp_path / "damaged.zip", tmp_path / "m.safetensors", **RGB)


def test_a_packed_bomb_in_a_bundle_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model-bundle.zip", bytes(50_000_000))
        archive.writestr("pipeline-config.json", "{}")
    with pytest.raises(ModelError, match=r"is a damaged bundle"):
        import_model(tmp_path / "bomb.zip", tmp_path / "m.safetensors", **RGB)


def test_a_folder_of_timm_is_an_encoder_alone(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "model.pth")
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "pretrained_cfg": {}}', "utf-8")
    with pytest.raises(ModelError, match=r"is an encoder alone, timm's resnet18, .*encoder_weights: .*"):
        import_model(tmp_path, tmp_path / "m.safetensors", **RGB)


def as_dynamic_world(weights: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """Dynamic World's forward network, written down as its description says it."""

    def convolve(maps: torch.Tensor, name: str, groups: int = 1) -> torch.Tensor:
        kernels, norm = weights[f"{name}.0.weight"], f"{name}.1"
        maps = functional.conv2d(
            maps, kernels, weights[f"{name}.0.bias"], padding=kernels.shape[-1] // 2, groups=groups
        )
        statistics = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.mish(functional.batch_norm(maps, *statistics, eps=1e-3))

    def separable(maps: torch.Tensor, name: str) -> torch.Tensor:
        maps = convolve(maps, f"{name}.0")
        return convolve(maps, f"{name}.1", groups=maps.shape[1])

    def residual(maps: torch.Tensor, name: str) -> torch.Tensor:
        main = maps
        for i in range(3):
            main = separable(main, f"{name}.main.{i}")
        return main + convolve(maps, f"{name}.skip")

    logarithms = torch.log(0.005 * image + 1)
    stem = convolve(torch.sigmoid(5 * (logarithms - weights["centre"]) / weights["spread"] - 1), "stem")
    half = functional.interpolate(stem, scale_factor=0.5, mode="bilinear", antialias=True)
    both = torch.cat([residual(residual(half, "block1"), "block2"), separable(half, "side")], dim=1)
    full = functional.interpolate(residual(both, "block3"), scale_factor=2, mode="bilinear")
    return functional.conv2d(functional.normalize(full, eps=1e-3), weights["head.weight"], weights["head.bias"])


def test_dynamic_world_computes_what_its_description_says(tmp_path: Path) -> None:
    example = LAYOUTS.get("dynamic_world").example(tmp_path)
    result = import_model(example.path, tmp_path / "m.safetensors")
    image = 4000 * torch.rand(1, 9, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = as_dynamic_world(load_file(example.path), image)
        torch.testing.assert_close(logits_of(result.bundle, image), expected, rtol=1e-5, atol=1e-5)
    assert (result.licence, result.classes[0], len(result.classes)) == ("Apache-2.0", "water", 9)


def test_dynamic_world_is_as_large_as_it_is_published() -> None:
    body = build_body(NetworkSpec(architecture="dynamic_world", arguments={"logarithm": True}), 9, 9)
    assert sum(p.numel() for p in body.parameters()) == 225_513
    assert isinstance(body.head, nn.Conv2d)
