"""Models of FLAIR-HUB: encoder and decoder are put together again, what has no counterpart here is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from support.layouts import logits_of, random_image, with_some_statistics

from geoseg import ModelError, SpecError, import_model, load_model
from geoseg.models.layouts import LAYOUTS
from geoseg.models.layouts.smp_decoders import architecture_by_decoder
from geoseg.models.layouts.source import Source

STATISTICS: dict[str, Any] = {"mean": (106.59, 105.66, 111.35), "std": (39.78, 52.23, 45.62)}
BANDS: dict[str, Any] = STATISTICS | {"bands": ("nir", "red", "green")}
README = "---\nlicense: etalab-2.0\n---\n- Encoders: Swin\n- **Encoder:** {}\n- **Decoder:** {}\n"
ENCODER, DECODER = "model.encoders.{}.seg_model.{}", "model.main_decoders.{}.seg_model.{}"


def named(model: Any, modality: str = "AERIAL_RGBI", task: str = "AERIAL_LABEL-COSIA") -> dict[str, torch.Tensor]:
    """Weights of a network of smp under FLAIR-HUB's names."""
    pairs = ((*name.partition("encoder."), tensor) for name, tensor in model.state_dict().items())
    return {
        DECODER.format(task, head) if head else ENCODER.format(modality, tail): tensor
        for head, _, tail, tensor in pairs
    }


def saved(folder: Path, weights: dict[str, torch.Tensor], *names: str) -> Path:
    torch.save({"state_dict": weights}, folder / "hub.ckpt")
    if names:
        (folder / "README.md").write_text(README.format(*names), "utf-8")
    return folder


def test_it_gives_the_logits_of_its_network_for_the_classes_that_it_has_learnt(tmp_path: Path) -> None:
    model = with_some_statistics(smp.Unet("tu-test_resnet", encoder_weights=None, classes=19))
    others = {
        "criterion.AERIAL_LABEL-COSIA.weight": torch.ones(19),
        "model.fusion_handler.conv_f.0.weight": torch.ones(1),
        "model.aux_decoders.AERIAL_RGBI__AERIAL_LABEL-COSIA.seg_model.segmentation_head.0.weight": torch.ones(19),
    }
    result = import_model(
        saved(tmp_path, named(model) | others, "test_resnet", "unet"), tmp_path / "m.safetensors", **BANDS
    )
    assert result.layout == "model of FLAIR-HUB"
    assert (len(result.classes), result.classes[-1], result.licence) == (15, "brushwood", "etalab-2.0")
    for part in ("aux_decoders", "criterion", "fusion_handler"):
        assert f"{part} is dropped: it is no part of the network that classifies" in result.notices
    assert "4 channels of no class cut off (15, 16, 17, 18)" in result.notices
    spec = load_model(result.bundle).spec
    assert (spec.dtype, spec.resolution_m, spec.classes[6].color) == ("uint8", 0.2, "#3375a1")
    image = random_image()
    mean, std = (torch.tensor(STATISTICS[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        expected = model((image - mean) / std)[:, :15]
        torch.testing.assert_close(logits_of(result.bundle, image), expected, rtol=0, atol=1e-5)


def test_names_without_model_are_read_too(tmp_path: Path) -> None:
    model = smp.Unet("tu-test_resnet", encoder_weights=None, classes=23)
    weights = {name.removeprefix("model."): tensor for name, tensor in named(model, task="ALL_LABEL-LPIS").items()}
    result = import_model(saved(tmp_path, weights, "test_resnet", "unet"), tmp_path / "m.safetensors", **BANDS)
    assert (len(result.classes), result.classes[1]) == (23, "wheat")


def test_what_its_files_do_not_say_is_asked_for_with_what_ign_takes(tmp_path: Path) -> None:
    model = smp.Unet("tu-test_resnet", encoder_weights=None, classes=7)
    with pytest.raises(SpecError, match=r"does not say encoder, bands, mean, std, classes: give --encoder --bands"):
        import_model(saved(tmp_path, named(model)), tmp_path / "m.safetensors")
    draft = (tmp_path / "m.yaml").read_text("utf-8")
    assert "# in IGN's configurations: red 105.66, green 111.35, blue 102.18, nir 106.59" in draft
    assert "README.md of the model may name it; geoseg's name begins with tu-" in draft


def test_a_single_band_is_no_choice(tmp_path: Path) -> None:
    model = smp.Unet("tu-test_resnet", encoder_weights=None, in_channels=1, classes=19)
    folder = saved(tmp_path, named(model, "AERIAL-RLT_PAN"), "test_resnet", "unet")
    result = import_model(folder, tmp_path / "m.safetensors")
    spec = load_model(result.bundle).spec
    assert (spec.bands, spec.normalization.mean, spec.resolution_m) == (("panchromatic",), (125.92,), 0.4)
    assert any("assumed to have pixels of 0.4 m" in line for line in result.notices)


def test_swin_transformers_shift_their_windows_as_in_images_of_its_training(tmp_path: Path) -> None:
    """At 512 px the last map of 16 x 16 tokens holds more than one window of 12 x 12, at its own 384 px only one."""
    names = "decoder.blocks.0.conv1.0.weight", "encoder.model.layers_0.blocks.0.attn.relative_position_bias_table"
    part = {
        "encoder": ENCODER.format("AERIAL_RGBI", "{}"),
        "decoder": DECODER.format("AERIAL_LABEL-COSIA", "decoder.{}"),
    }
    split = (name.partition(".") for name in names)
    folder = saved(tmp_path, {part[kind].format(rest): torch.ones(1) for kind, _, rest in split}, "swin_x", "unet")
    says = LAYOUTS.get("flair_hub").read(Source.open(folder)).says
    assert (says.encoder, says.arguments) == ("tu-swin_x", {"img_size": 512})


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (
            ("encoders.AERIAL_RGBI.seg_model.x", "encoders.DEM_ELEV.seg_model.x"),
            r"takes several inputs \(AERIAL_RGBI, DEM_ELEV\), which layers of its own join: geoseg imports models of",
        ),
        (
            ("encoders.SENTINEL2_TS.in_conv.x",),
            r"takes time series \(SENTINEL2_TS\), in a network that geoseg does not",
        ),
        (("encoders.AERIAL_RGBI.seg_model.x",), r"is a model of FLAIR-HUB without weights below main_decoders\.:"),
        (
            ("encoders.AERIAL_RGBI.seg_model.x", "main_decoders.A.seg_model.x", "main_decoders.B.seg_model.x"),
            r"has a decoder for each of several tasks \(A, B\), geoseg's models have one: geoseg imports models of",
        ),
        (
            ("encoders.AERIAL_RGBI.seg_model.x", "main_decoders.A.seg_model.decoder.x"),
            r"ends in a decoder that geoseg does not know: it knows manet, unet, ",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_on_one_line(names: tuple[str, ...], error: str, tmp_path: Path) -> None:
    weights = {f"model.{name}": torch.ones(1) for name in names}
    with pytest.raises(ModelError, match=error) as caught:
        import_model(saved(tmp_path, weights), tmp_path / "m.safetensors", **BANDS)
    assert "\n" not in str(caught.value)


def test_another_encoder_than_the_weights_are_of_is_named(tmp_path: Path) -> None:
    model = smp.Unet("tu-test_resnet", encoder_weights=None, classes=19)
    with pytest.raises(ModelError, match=r"the weights do not fit unet tu-resnet18: 'encoder"):
        import_model(saved(tmp_path, named(model), "resnet18", "unet"), tmp_path / "m.safetensors", **BANDS)


@pytest.mark.parametrize("name", sorted(smp.MODEL_ARCHITECTURES_MAPPING.keys() - {"dpt"}))
def test_decoders_of_smp_are_known_by_the_names_of_their_weights(name: str) -> None:
    encoder = {"encoder_name": "tu-test_resnet", "encoder_weights": None}
    with torch.device("meta"):
        own = smp.create_model(name, **encoder).state_dict()
    assert architecture_by_decoder(own, "it") == name


def test_the_former_names_of_a_deeplabv3_are_read(tmp_path: Path) -> None:
    model = with_some_statistics(smp.DeepLabV3("tu-test_resnet", encoder_weights=None, classes=19))
    parts = {"aspp.": "0.", "conv.": "1.", "bn.": "2."}
    weights = named(model)
    for today, former in parts.items():
        weights = {name.replace(f".decoder.{today}", f".decoder.{former}"): one for name, one in weights.items()}
    result = import_model(saved(tmp_path, weights, "test_resnet", "x"), tmp_path / "m.safetensors", **BANDS)
    assert load_model(result.bundle).spec.network.architecture == "deeplabv3"
