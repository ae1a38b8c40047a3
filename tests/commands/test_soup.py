"""A soup is the mean of its members; what cannot be averaged is refused in a line; its card holds its own scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from affine import Affine
from click.testing import CliRunner
from safetensors.torch import load_file
from support.models import class_specs, make_spec
from support.rasters import TRANSFORM, write_raster

from geoseg.cli import main
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.soup import soup
from geoseg.core.errors import GeosegError, ModelError, OutputError, SpecError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.spec import ModelCard, NetworkSpec, NormalizationSpec

UNET = NetworkSpec(
    architecture="unet", encoder="resnet18", arguments={"encoder_depth": 2, "decoder_channels": [8, 8]}, multiple=4
)


def make_bundle(path: Path, moved: float = 0.0, start: int = 0, half: bool = False, **fields: Any) -> Path:
    """A small U-Net whose kernels are moved by a seeded tenth of their size, times `moved`, from a start."""
    torch.manual_seed(start)
    spec = make_spec(3, network=UNET, name=path.stem, resolution_m=0.6).model_copy(update=fields)
    network = build_network(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * moved * parameter.abs().mean() * torch.randn_like(parameter))
    return save_model(network, spec, path, half=half)


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    """Three models from one start."""
    texts = ("CC BY 4.0", "CC BY 4.0", "ODbL")
    return [
        make_bundle(
            tmp_path / f"{name}.safetensors",
            moved=number,
            card=ModelCard(
                licence=licence, scores={"miou": 0.9}, test_scores={"miou": 0.8}, training={"seed": number, "epochs": 7}
            ),
        )
        for number, (name, licence) in enumerate(zip("abc", texts, strict=True))
    ]


@pytest.mark.parametrize("half", [False, True])
def test_the_soup_of_equal_models_is_the_model_bit_for_bit(tmp_path: Path, half: bool) -> None:
    first = make_bundle(tmp_path / "a.safetensors", half=half)
    others = [tmp_path / "b.safetensors", tmp_path / "c.safetensors"]
    for other in others:
        other.write_bytes(first.read_bytes())
    made = load_file(soup([first, *others], tmp_path / "soup.safetensors").bundle)
    wanted = load_file(first)
    assert made.keys() == wanted.keys()
    assert all(made[name].dtype == wanted[name].dtype and torch.equal(made[name], wanted[name]) for name in wanted)


def test_a_soup_is_the_mean_of_weights_and_buffers(tmp_path: Path, members: list[Path]) -> None:
    made = load_model(soup(members, tmp_path / "soup.safetensors").bundle).module.state_dict()
    states = [load_model(member).module.state_dict() for member in members]
    for name, tensor in made.items():
        mean = sum(state[name].double() for state in states) / 3
        assert torch.equal(tensor, mean.to(tensor.dtype)), name


def test_the_card_says_what_it_was_made_from_and_not_what_its_members_score(
    tmp_path: Path, members: list[Path]
) -> None:
    spec = load_model(soup(members, tmp_path / "mixed.safetensors").bundle).spec
    assert spec.name == "mixed"
    assert not spec.card.scores
    assert not spec.card.test_scores
    assert spec.card.licence == "CC BY 4.0 ODbL"
    assert spec.card.epoch_rule == "mean of the weights of 3 models, of each as its own run kept it"
    assert spec.card.training["epochs"] == 7
    assert "seed" not in spec.card.training  # they differ in it
    files = [load_model(member).file for member in members]
    assert spec.card.training["soup"] == [
        {"name": name, "file": f"{name}.safetensors", "sha256": file.sha256, "seed": seed}
        for seed, (name, file) in enumerate(zip("abc", files, strict=True))
        if file is not None
    ]


def test_temperatures_that_differ_are_averaged_and_that_is_said(tmp_path: Path) -> None:
    paths = [make_bundle(tmp_path / f"{t}.safetensors", temperature=t) for t in (1.0, 4.0)]
    result = soup(paths, tmp_path / "soup.safetensors")
    assert load_model(result.bundle).spec.temperature == 2.0
    assert any("temperature 2" in line for line in result.notices)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"network": NetworkSpec(architecture="pointwise", multiple=8)}, "differ in network"),
        ({"bands": ("red",)}, "differ in bands"),
        ({"normalization": NormalizationSpec(mean=(1.0,), std=(1.0,))}, "differ in normalisation"),
        ({"classes": tuple(class_specs(4)[1:])}, "differ in classes"),
        ({"resolution_m": 10.0}, "differ in pixel size"),
        ({"dtype": "uint16"}, "differ in type of values"),
    ],
)
def test_models_whose_weights_mean_something_else_are_refused(
    tmp_path: Path, members: list[Path], fields: dict[str, Any], said: str
) -> None:
    other = make_bundle(tmp_path / "other.safetensors", **fields)
    with pytest.raises(ModelError, match=said) as error:
        soup([members[0], other], tmp_path / "soup.safetensors")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "soup.safetensors").exists()


def test_models_without_a_common_start_are_made_and_named(tmp_path: Path, members: list[Path]) -> None:
    other = make_bundle(tmp_path / "other.safetensors", start=5)
    result = soup([*members, other], tmp_path / "soup.safetensors")
    assert result.alike[:3] == (1, 1, 1)
    assert result.alike[3] < 0.5
    (line,) = result.notices
    assert "other.safetensors" in line
    assert "one start" in line
    assert not soup(members, tmp_path / "good.safetensors").notices


@pytest.mark.parametrize(
    ("models", "output", "kind", "said"),
    [
        (["a"], "new.safetensors", SpecError, "two or more"),
        (["a", "a"], "new.safetensors", SpecError, "given twice"),
        (["a", "nothing"], "new.safetensors", ModelError, "no model at"),
        (["a", "b"], "new.onnx", OutputError, "ends in .safetensors"),
        (["a", "b"], "c.safetensors", OutputError, "exists"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    tmp_path: Path, members: list[Path], models: list[str], output: str, kind: type[GeosegError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        soup([tmp_path / f"{name}.safetensors" for name in models], tmp_path / output)


def test_folders_of_runs_stand_for_their_bundles(tmp_path: Path, members: list[Path]) -> None:
    for member in members[:2]:
        folder = tmp_path / f"run_{member.stem}"
        folder.mkdir()
        member.rename(folder / member.name)
    soup([tmp_path / "run_a", tmp_path / "run_b"], tmp_path / "soup.safetensors")
    assert (tmp_path / "soup.safetensors").exists()


# -------------------------------------------------------------------------------------------------------------- scores


@pytest.fixture
def config(tmp_path: Path, class_values: Any) -> Path:
    """Three images of one band, one on each side, with classes that their values show."""
    for number, name in enumerate(("train", "val", "test")):
        ids = class_values(96, 96, classes=3, blob=12, seed=number)
        apart = TRANSFORM @ Affine.translation(2000 * number, 0)
        write_raster(tmp_path / f"{name}.tif", (20 + 60 * ids)[None].astype(np.uint8), transform=apart)
        write_raster(tmp_path / f"{name}_labels.tif", ids.astype(np.uint8), nodata=255, transform=apart)
    settings = {
        "name": "small",
        "classes": [c.model_dump() for c in class_specs(3)],
        "network": {"architecture": "pointwise"},
        "window": 32,
        "data": {
            "scenes": [
                {"image": f"{side}.tif", "label": f"{side}_labels.tif", "split": side}
                for side in ("train", "val", "test")
            ],
            "bands": ["value"],
            "resolution_m": 0.6,
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "config.yaml"


def test_with_data_the_card_has_the_scores_that_evaluate_gives(
    tmp_path: Path, members: list[Path], config: Path
) -> None:
    result = soup(members, tmp_path / "soup.safetensors", config=config, device="cpu")
    card = load_model(result.bundle).spec.card
    for split, found in (("val", card.scores), ("test", card.test_scores)):
        alone = evaluate_model(result.bundle, config, device="cpu", split=split)  # type: ignore[arg-type]
        assert json.loads(json.dumps(found)) == json.loads(json.dumps(alone.scores.as_dict()))
        assert alone.calibration is not None
        assert card.calibration[split] == alone.calibration.as_dict()
    assert load_model(result.bundle).spec.temperature != 1, "it is fitted on the validation side"
    assert result.member_miou == tuple(evaluate_model(one, config, device="cpu").scores.miou for one in members)
    assert card.training["test_images"] == 1


def test_a_soup_worse_than_its_members_is_doubted(tmp_path: Path, config: Path) -> None:
    """One model finds the classes; another is wrong about two of three with ten times the weight."""
    paths = []
    for factor in (1.0, -10.0):
        normalization = NormalizationSpec(mean=(80.0,), std=(1.0,))
        spec = make_spec(3, resolution_m=0.6, normalization=normalization)
        network = build_network(spec)
        with torch.no_grad():
            weight, bias = network.parameters()
            weight.copy_(factor * torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1))
            bias.copy_(abs(factor) * torch.tensor([0.0, 30.0, 0.0]))
        paths.append(save_model(network, spec, tmp_path / f"factor{factor:g}.safetensors"))
    result = soup(paths, tmp_path / "soup.safetensors", config=config, device="cpu")
    assert result.scores is not None
    assert result.scores.miou < 0.6 < sum(result.member_miou) / 2
    assert any("worse" in line for line in result.notices)


def test_tiles_without_a_config_are_refused(tmp_path: Path, members: list[Path]) -> None:
    with pytest.raises(SpecError, match="give the config"):
        soup(members, tmp_path / "soup.safetensors", data=tmp_path / "tiles.csv")


def test_the_command_line_names_members_and_scores(tmp_path: Path, members: list[Path], config: Path) -> None:
    out, words = tmp_path / "soup.safetensors", [*map(str, members), "-o", str(tmp_path / "soup.safetensors")]
    found = CliRunner().invoke(main, ["soup", *words])
    assert found.exit_code == 0, found.output
    assert "not scored" in found.output
    found = CliRunner().invoke(main, ["soup", *words, "--data", str(config), "--overwrite", "--device", "cpu"])
    assert found.exit_code == 0, found.output
    assert "soup, validation: mIoU" in found.output
    assert "soup, test: mIoU" in found.output
    assert str(out) in found.output
    found = CliRunner().invoke(main, ["soup", *words, "--overwrite", "--json"])
    assert json.loads(found.stdout)["bundle"] == str(out)
