"""`geoseg models`: every network by name, what it takes, and whether the weights of its encoder can be had."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
import yaml
from click.testing import CliRunner
from support.networks import buildable

from geoseg.cli import main
from geoseg.commands import models
from geoseg.core.errors import ModelError
from geoseg.models.families import FAMILIES, parameter_counts, timm_sources
from geoseg.models.families.argument_docs import arguments_in
from geoseg.models.families.building import build_body
from geoseg.models.meta_network import meta_device
from geoseg.spec import NetworkSpec, parse_spec
from geoseg.spec.arguments import EncoderArguments


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a network of an installed package that cannot be imported."""
    monkeypatch.setitem(FAMILIES._others, "shards", EntryPoint("shards", "no_such_package:FAMILY", FAMILIES.group))
    return "shards"


def run(*words: str):
    return CliRunner().invoke(main, ["models", *words])


def test_every_network_is_listed_with_its_paper() -> None:
    found = json.loads(run("--json").stdout)
    assert [one["name"] for one in found] == list(FAMILIES)
    listed = run().stdout
    for one in found:
        assert one["title"] in listed
        assert one["paper"] in listed
        assert {"year", "source", "licence", "encoders", "parameters", "bands", "takes_context"} <= set(one)


def test_a_broken_package_is_named_and_the_others_are_listed(broken: str) -> None:
    result = run()
    assert result.exit_code == 0
    assert "U-Net" in result.stdout
    assert f"{broken}: architecture '{broken}': no_such_package:FAMILY cannot be loaded" in result.stdout
    assert "no_such_package" in run(broken).stderr
    assert run(broken).exit_code == 1


def test_weights_of_every_network_of_geoseg_are_counted() -> None:
    assert list(parameter_counts.PARAMETERS) == list(FAMILIES.own), "run python docs/make_networks_reference.py --count"


@pytest.mark.parametrize(
    "name", ["ddrnet23_slim", "pointwise", *(buildable(n, pytest.mark.slow) for n in FAMILIES.own)]
)
def test_counted_weights_are_those_that_are_built(name: str) -> None:
    with meta_device():
        body = build_body(FAMILIES.get(name).usual(name), parameter_counts.BANDS, parameter_counts.CLASSES)
    assert sum(weights.numel() for weights in body.parameters()) == parameter_counts.PARAMETERS[name]


@pytest.mark.parametrize("name", ["unet", "ddrnet23_slim", "unetformer"])
def test_a_network_is_shown_with_its_settings_and_a_config_that_builds_it(name: str) -> None:
    found = models.describe_network(name)
    text = run(name).stdout
    for argument in found["arguments"]:
        assert argument["meaning"]
        assert f"  {argument['name']}: {argument['values']}" in text
    example = yaml.safe_load(text.partition("example:\n")[2])
    assert parse_spec(NetworkSpec, example["network"], source="example") == FAMILIES.get(name).usual(name)
    assert found["parameters"] == parameter_counts.PARAMETERS[name]


def test_every_argument_is_explained() -> None:
    for arguments in (arguments_in(EncoderArguments), *(FAMILIES.get(name).arguments(name) for name in FAMILIES.own)):
        assert all(argument.meaning and argument.values for argument in arguments), arguments


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("unnet",), 1, "no architecture is called 'unnet': did you mean 'unet'?"),
        (("--check",), 2, "--check needs the NAME of a network"),
        (("unet", "--encoder", "resnet18"), 2, "--encoder belongs to --check"),
        (("ddrnet23", "--check"), 1, "there are no pretrained weights of ddrnet23 to download"),
        (("unet", "--check", "--encoder", "resnet43"), 1, "unknown encoder 'resnet43', did you mean resnet34"),
        (("pan", "--check", "--encoder", "vgg11"), 1, "take encoder resnet34, or fpn with vgg11"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(words: tuple[str, ...], code: int, message: str) -> None:
    result = run(*words)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())


def test_weights_that_cannot_be_reached_are_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm_sources, "get_hf_file_metadata", offline)
    monkeypatch.setattr(timm_sources, "_is_cached", lambda source: False)
    result = run("unet", "--check")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "cannot reach the weights imagenet of resnet34: no route to host" in result.stderr


@pytest.mark.parametrize("encoder", ["resnet18", "tu-test_resnet"])
def test_weights_that_can_be_reached_are_said_where(monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    asked: list[str] = []
    monkeypatch.setattr(timm_sources, "get_hf_file_metadata", lambda url, **_: asked.append(url))
    monkeypatch.setattr(timm_sources, "_is_cached", lambda source: False)
    found = models.reach_weights("fpn", encoder)
    assert found["weights"].startswith("https://huggingface.co/")
    assert asked[0].startswith(found["weights"])
    monkeypatch.setattr(timm_sources, "_is_cached", lambda source: True)
    assert models.reach_weights("fpn", encoder)["weights"].startswith("the cache, from https://huggingface.co/")


def test_name_is_another_word_for_architecture() -> None:
    spec = parse_spec(NetworkSpec, {"name": "unet", "encoder": "resnet18"}, source="config")
    assert spec == NetworkSpec(architecture="unet", encoder="resnet18")
    with pytest.raises(Exception, match="name"):
        parse_spec(NetworkSpec, {"name": "unet", "architecture": "fpn"}, source="config")


def test_a_network_of_another_package_is_described_without_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES._others, "mine", EntryPoint("mine", "geoseg.models.families.pointwise:FAMILY", "x"))
    assert next(one for one in models.list_networks() if one["name"] == "mine")["parameters"] is None
    assert models.describe_network("mine")["parameters"] == 28
    with pytest.raises(ModelError, match="no pretrained weights"):
        models.reach_weights("mine")
    FAMILIES._loaded.pop("mine", None)
