"""Models of other tools become bundles: equal logits, all that is missing asked for at once, nothing guessed or run."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import save_file
from support.layouts import logits_of, random_image, with_some_statistics

from geoseg import ModelError, OutputError, SpecError, import_model, load_model
from geoseg.cli import main

RGB: dict[str, Any] = {
    "bands": ("red", "green", "blue"),
    "dtype": "uint8",
    "mean": (100, 110, 120),
    "std": (50, 60, 70),
    "classes": ("water", "forest", "crops", "built"),
    "resolution": 0.5,
}
"""What must be said of a state dict of three bands and four classes."""
SMALL: dict[str, Any] = {"encoder_name": "tu-test_resnet", "encoder_weights": None, "classes": 4}


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def network(name: str = "fpn", **keywords: Any) -> Any:
    """A network of smp whose weights and statistics are those of no other."""
    return with_some_statistics(smp.create_model(name, **SMALL | keywords))


def saved(model: Any, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus", "segformer", "upernet"])
def test_networks_saved_by_smp_give_the_same_logits(name: str, tmp_path: Path) -> None:
    model = network(name)
    model.save_pretrained(tmp_path / "saved")
    result = import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB)
    image = random_image()
    normalised = (image - torch.tensor(RGB["mean"]).view(3, 1, 1)) / torch.tensor(RGB["std"]).view(3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(result.bundle, image), model(normalised), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".anything"])
def test_weights_alone_need_the_names_of_the_network(suffix: str, tmp_path: Path) -> None:
    model, path = network(), tmp_path / f"weights{suffix}"
    save_file(model.state_dict(), path) if suffix == ".safetensors" else saved(model, path)
    with pytest.raises(
        SpecError, match=r"does not say architecture, encoder: give --architecture --encoder; or .*yaml"
    ):
        import_model(path, tmp_path / "m.safetensors", **RGB)
    import_model(path, tmp_path / "m.safetensors", architecture="FPN", encoder="tu-test_resnet", **RGB)
    assert load_model(tmp_path / "m.safetensors").spec.network.architecture == "fpn"


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_left_out(prefix: str, tmp_path: Path) -> None:
    weights = {f"{prefix}{name}": tensor for name, tensor in network().state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "m.ckpt")
    result = import_model(
        tmp_path / "m.ckpt", tmp_path / "m.safetensors", architecture="fpn", encoder="tu-test_resnet", **RGB
    )
    assert result.notices[0] == f"the names of the weights begin with {prefix}, which is left out"


def test_all_that_is_missing_is_asked_for_at_once_and_a_draft_is_written(tmp_path: Path) -> None:
    network("unet").save_pretrained(tmp_path / "saved")
    with pytest.raises(SpecError) as caught:
        import_model(tmp_path / "saved", tmp_path / "m.safetensors")
    assert "does not say bands (3), dtype, mean, std, classes (4), resolution: give --bands --dtype" in str(
        caught.value
    )
    assert not (tmp_path / "m.safetensors").exists()
    draft = (tmp_path / "m.yaml").read_text("utf-8")
    assert 'architecture: "unet"\nencoder: "tu-test_resnet"\nbands:  # FILL IN (3)' in draft
    assert draft.count("FILL IN") == 7


def test_a_draft_that_is_filled_in_is_taken_as_spec(tmp_path: Path) -> None:
    network("unet").save_pretrained(tmp_path / "saved")
    assert run("import", tmp_path / "saved", "-o", tmp_path / "m.safetensors").exit_code == 1
    draft = tmp_path / "m.yaml"
    assert run("import", tmp_path / "saved", "-o", tmp_path / "m.safetensors", "--spec", draft).exit_code == 1
    filled = yaml.safe_load(draft.read_text("utf-8")) | {
        "bands": ["nir", "red", "green"], "dtype": "uint16", "mean": 0, "std": 10000, "resolution": "unknown",
        "classes": ["sea", {"name": "town", "color": "#ff0000", "id": 7}, "field", "wood"], "licence": "CC BY-NC 4.0",
        "purpose": "Towns.",
    }  # fmt: skip
    draft.write_text(yaml.safe_dump(filled), "utf-8")
    done = run("import", tmp_path / "saved", "-o", tmp_path / "m.safetensors", "--spec", draft, "--std", "1,2,3")
    assert done.exit_code == 0, done.output
    assert "licence CC BY-NC 4.0: for non-commercial use only" in done.stderr
    spec = load_model(tmp_path / "m.safetensors").spec
    assert spec.normalization.mean == (0, 0, 0)
    assert spec.normalization.std == (1, 2, 3)
    assert spec.resolution_m is None
    assert [(c.id, c.name, c.color) for c in spec.classes][:2] == [(0, "sea", "#2b7fd0"), (7, "town", "#ff0000")]
    assert (spec.card.purpose, spec.card.licence, spec.name) == ("Towns.", "CC BY-NC 4.0", "m")


def test_a_draft_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("bands: [red, green, blue]\n", "utf-8")
    with pytest.raises(SpecError, match=r"m.yaml is there already: fill in all and give --spec"):
        import_model(saved(network(), tmp_path / "w.pth"), tmp_path / "m.safetensors")
    assert (tmp_path / "m.yaml").read_text("utf-8") == "bands: [red, green, blue]\n"


def test_what_is_given_is_taken_over_what_the_source_says_with_a_notice(tmp_path: Path) -> None:
    network("unet", decoder_channels=(64, 32, 16, 8, 8)).save_pretrained(tmp_path / "saved")
    said = {"arguments": {"decoder_channels": [64, 32, 16, 8, 8], "decoder_interpolation": "bilinear"}}
    result = import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB | said)
    assert any(line.startswith("arguments as given, not as the source says") for line in result.notices)
    assert load_model(result.bundle).spec.network.arguments["decoder_interpolation"] == "bilinear"


# ---------------------------------------------------------------------------------------------------------------- heads


def test_one_channel_becomes_two_classes_with_the_probabilities_of_its_sigmoid(tmp_path: Path) -> None:
    model = network("unet", classes=1, activation="sigmoid")
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(ModelError, match=r"one channel, the logit of a class against all others: name two classes"):
        import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB)
    said = RGB | {"classes": ("background", "building"), "mean": 0, "std": 1}
    result = import_model(tmp_path / "saved", tmp_path / "m.safetensors", **said)
    assert "the head's only channel is the logit of building: background gets the logit 0" in result.notices
    image = random_image()
    with torch.inference_mode():
        found = logits_of(result.bundle, image).softmax(dim=1)[:, 1:]
        torch.testing.assert_close(found, model(image), rtol=1e-5, atol=1e-5)


def test_channels_of_no_class_are_cut_off(tmp_path: Path) -> None:
    model = network()
    source = saved(model, tmp_path / "w.pth")
    named = [{"name": "town", "channel": 3}, {"name": "sea", "channel": 1}]
    said = RGB | {"classes": named, "mean": 0, "std": 1, "architecture": "fpn", "encoder": "tu-test_resnet"}
    result = import_model(source, tmp_path / "m.safetensors", **said)
    assert "2 channels of no class cut off (0, 2)" in result.notices
    image = random_image()
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(result.bundle, image), model(image)[:, [3, 1]], rtol=1e-5, atol=1e-5)


def test_classes_that_may_overlap_are_refused(tmp_path: Path) -> None:
    network("unet", activation="sigmoid").save_pretrained(tmp_path / "saved")
    with pytest.raises(ModelError, match=r"gives 4 classes that may overlap \(sigmoid\): geoseg's models give each"):
        import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB)


@pytest.mark.parametrize(
    ("classes", "error"),
    [
        (("water", "forest"), r"the weights have 4 channels for classes, but 2 classes named: name all in the order"),
        (("a", "b", "c", "d", "e"), r"4 channels for classes, but 5 classes named"),
        (({"name": "a", "channel": 9},), r"there is no channel 9: the weights have 4, counted from 0"),
        (({"name": "a", "channel": 1}, {"name": "b", "channel": 1}), r"two classes share a channel"),
        (({"name": "a", "id": 1}, "b", "c", "d"), r"two classes share an id: give each its own, or none at all"),
    ],
)
def test_classes_that_the_head_does_not_have_are_refused(classes: Any, error: str, tmp_path: Path) -> None:
    said = RGB | {"classes": classes, "architecture": "fpn", "encoder": "tu-test_resnet"}
    with pytest.raises((ModelError, SpecError), match=error):
        import_model(saved(network(), tmp_path / "w.pth"), tmp_path / "m.safetensors", **said)


def test_classes_are_read_from_a_legend_or_a_config(tmp_path: Path) -> None:
    source = saved(network(), tmp_path / "w.pth")
    (tmp_path / "legend.csv").write_text(
        "value,name,color\n3,sea,#0000ff\n1,wood,#00ff00\n8,town,\n9,field,\n", "utf-8"
    )
    (tmp_path / "config.yaml").write_text("classes: [a, {id: 9, name: b, color: '#123456'}, c, d]\n", "utf-8")
    options = ("--architecture", "fpn", "--encoder", "tu-test_resnet", "--bands", "red,green,blue", "--dtype", "uint8")
    options += ("--mean", "0", "--std", "255", "--resolution", "unknown")
    for file, names in (("legend.csv", ["wood", "sea", "town", "field"]), ("config.yaml", ["a", "b", "c", "d"])):
        output = tmp_path / f"{file}.safetensors"
        done = run("import", source, "-o", output, *options, "--classes", tmp_path / file, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["classes"] == names
    assert load_model(tmp_path / "legend.csv.safetensors").spec.classes[0].id == 1


# ------------------------------------------------------------------------------------------------------------ bad input


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    torch.save({"state_dict": {"a": torch.zeros(1)}, "more": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(
        ModelError, match=r"evil.pth holds more than weights \(\w+.system\), which could run code"
    ) as caught:
        import_model(tmp_path / "evil.pth", tmp_path / "m.safetensors", **RGB)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_whole_module_and_a_program_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Conv2d(3, 4, 1), tmp_path / "module.pth")
    torch.jit.script(torch.nn.Conv2d(3, 4, 1)).save(tmp_path / "program.pt")
    with pytest.raises(ModelError, match=r"holds more than weights \(torch.nn.modules.conv.Conv2d\)"):
        import_model(tmp_path / "module.pth", tmp_path / "m.safetensors", **RGB)
    with pytest.raises(ModelError, match=r"holds a program \(TorchScript\), not weights alone: save model.state_dict"):
        import_model(tmp_path / "program.pt", tmp_path / "m.safetensors", **RGB)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".old"])
@pytest.mark.parametrize("share", [0.1, 0.99])
def test_a_truncated_file_is_refused(suffix: str, share: float, tmp_path: Path) -> None:
    weights, path = network().state_dict(), tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=suffix == ".pth")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelError, match=r"w\.\w+ (cannot be read|is a damaged archive).*copy it again") as caught:
        import_model(path, tmp_path / "m.safetensors", **RGB)
    assert "\n" not in str(caught.value)


def test_an_archive_that_would_unpack_to_far_more_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    with pytest.raises(ModelError, match=r"would unpack to 10 MB, more than weights do: it is not read"):
        import_model(tmp_path / "bomb.pth", tmp_path / "m.safetensors", **RGB)


def test_weights_of_another_network_are_refused_with_the_names_that_differ(tmp_path: Path) -> None:
    source = saved(network(), tmp_path / "w.pth")
    with pytest.raises(
        ModelError, match=r"do not fit unet tu-test_resnet: 'decoder.blocks.*first name there is 'encoder"
    ):
        import_model(source, tmp_path / "m.safetensors", architecture="unet", encoder="tu-test_resnet", **RGB)
    with pytest.raises(ModelError, match=r"no architecture is called 'unett': did you mean 'unet'"):
        import_model(source, tmp_path / "m.safetensors", architecture="unett", encoder="tu-test_resnet", **RGB)
    said = RGB | {"bands": ("red", "green", "blue", "nir"), "architecture": "fpn", "encoder": "tu-test_resnet"}
    with pytest.raises(ModelError, match=r"the weights take 3 bands, 4 bands named"):
        import_model(source, tmp_path / "m.safetensors", **said)


def test_an_unknown_prefix_and_missing_weights_are_named(tmp_path: Path) -> None:
    weights = network().state_dict()
    torch.save({f"student.{name}": tensor for name, tensor in weights.items()}, tmp_path / "prefix.pth")
    torch.save({name: t for name, t in weights.items() if "segmentation_head" not in name}, tmp_path / "part.pth")
    said = RGB | {"architecture": "fpn", "encoder": "tu-test_resnet"}
    with pytest.raises(ModelError, match=r"and \d+ more are missing \(the first name there is 'student\.encoder"):
        import_model(tmp_path / "prefix.pth", tmp_path / "m.safetensors", **said)
    with pytest.raises(ModelError, match=r"'segmentation_head.0.weight' and 1 more are missing"):
        import_model(tmp_path / "part.pth", tmp_path / "m.safetensors", **said)


def test_a_folder_with_several_files_of_weights_is_refused(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        saved(network(), tmp_path / name)
    with pytest.raises(ModelError, match=r"holds 2 files .pth: give one of them, e.g. a.pth"):
        import_model(tmp_path, tmp_path / "m.safetensors", **RGB)


def test_of_files_of_several_kinds_the_safest_is_taken_with_a_notice(tmp_path: Path) -> None:
    model = network()
    model.save_pretrained(tmp_path / "saved")
    saved(network("unet"), tmp_path / "saved" / "pytorch_model.bin")
    result = import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB)
    assert result.notices[0] == "weights of model.safetensors, not of pytorch_model.bin beside it"


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ("{", r"config.json is not JSON"),
        (
            '{"_model_class": "Unett"}',
            r"a network 'Unett', which segmentation-models-pytorch does not have, did you mean",
        ),
        (
            '{"_model_class": "Unet", "decoder_magic": 3}',
            r"builds unet with 'decoder_magic', which geoseg does not know",
        ),
        ('{"_model_class": "Unet", "activation": "tanh"}', r"ends in the activation 'tanh': geoseg takes softmax"),
        ('{"_model_class": "Unet", "encoder_name": "resnet9000"}', r"unknown encoder .resnet9000., did you mean"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: str, error: str, tmp_path: Path) -> None:
    saved(network("unet"), tmp_path / "model.pth")
    (tmp_path / "config.json").write_text(config, "utf-8")
    with pytest.raises(ModelError, match=error) as caught:
        import_model(tmp_path, tmp_path / "m.safetensors", **RGB)
    assert "\n" not in str(caught.value)


def test_a_bundle_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"exists: pass --overwrite"):
        import_model(saved(network(), tmp_path / "w.pth"), tmp_path / "m.safetensors", **RGB)
    with pytest.raises(OutputError, match=r"is no path of a bundle: choose one that ends in .safetensors"):
        import_model(tmp_path / "w.pth", tmp_path / "m.pth", **RGB)
    with pytest.raises(ModelError, match=r"no model at .*gone.pth: check the path"):
        import_model(tmp_path / "gone.pth", tmp_path / "n.safetensors", **RGB)


def test_the_weights_that_are_imported_are_not_replaced(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    for source in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(OutputError, match=r"is the model that is imported: choose another --output"):
            import_model(source, tmp_path / "model.safetensors", overwrite=True, **RGB)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_band_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path / "saved")
    with pytest.raises(SpecError, match=r"bands red, green, red: one is named twice"):
        import_model(tmp_path / "saved", tmp_path / "m.safetensors", **RGB | {"bands": ("red", "green", "red")})
    assert not (tmp_path / "m.safetensors").exists()


def test_of_an_onnx_model_is_said_how_to_use_it(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"graph")
    with pytest.raises(ModelError, match=r"is an ONNX model, which is used as it is: geoseg predict -m .*m.onnx"):
        import_model(tmp_path / "m.onnx", tmp_path / "m.safetensors")


def test_a_bundle_of_geoseg_is_no_source(tmp_path: Path) -> None:
    said = RGB | {"architecture": "fpn", "encoder": "tu-test_resnet"}
    bundle = import_model(saved(network(), tmp_path / "w.pth"), tmp_path / "m.safetensors", **said).bundle
    with pytest.raises(ModelError, match=r"is a bundle of geoseg already: use it as it is, with --model"):
        import_model(bundle, tmp_path / "n.safetensors", **said)


def test_nan_in_the_weights_is_refused(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        next(model.parameters())[0] = np.nan
    said = RGB | {"architecture": "fpn", "encoder": "tu-test_resnet"}
    with pytest.raises(ModelError, match=r"holds NaN or infinity"):
        import_model(saved(model, tmp_path / "w.pth"), tmp_path / "m.safetensors", **said)
