"""Every entry of the gallery is complete, and its command is one that `geoseg import` takes."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from geoseg import SpecError
from geoseg.cli import main
from geoseg.cli.import_model import import_model
from geoseg.cli.predict import predict
from geoseg.commands.gallery import describe_entry, read_gallery
from geoseg.models.downloads import is_address
from geoseg.models.families.licences import forbids_commerce, non_commercial
from geoseg.spec import ImportSpec, NetworkSpec, parse_spec

ENTRIES = read_gallery()
ONNX = [name for name, entry in ENTRIES.items() if entry.source.endswith(".onnx")]
IMPORTED = [name for name in ENTRIES if name not in ONNX]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["gallery", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_has_a_free_licence_that_is_said_somewhere(name: str) -> None:
    assert not forbids_commerce(ENTRIES[name].licence)
    assert ENTRIES[name].licence_source.startswith("https://")


@pytest.mark.parametrize("name", IMPORTED)
def test_the_encoder_of_an_entry_comes_from_no_weights_for_non_commercial_use(name: str) -> None:
    give = ENTRIES[name].give
    if give.encoder is not None:
        network = NetworkSpec(architecture=give.architecture or "unet", encoder=give.encoder)
        assert non_commercial(network, "imagenet") is None


@pytest.mark.parametrize("name", IMPORTED)
def test_the_command_of_an_entry_is_parsed_and_gives_what_the_entry_says(name: str) -> None:
    entry = ENTRIES[name]
    words = shlex.split(entry.command(name))
    assert words[:2] == ["geoseg", "import"]
    values = import_model.make_context("import", words[2:]).params
    assert is_address(values["source"]) or "no file that geoseg reads" in " ".join(entry.notes)
    given = {field: values[field] for field in ImportSpec.model_fields if values.get(field)}
    assert parse_spec(ImportSpec, given, source="command").said == entry.give.said


@pytest.mark.parametrize("name", ONNX)
def test_the_commands_of_an_onnx_model_download_it_with_its_files_and_run_it(name: str) -> None:
    entry = ENTRIES[name]
    download, _, run_it = entry.command(name).partition(" && ")
    assert [word for word in shlex.split(download) if is_address(word)] == [entry.source, *entry.beside]
    geoseg, command, *words = shlex.split(run_it)
    assert (geoseg, command) == ("geoseg", "predict")
    values = predict.make_context("predict", words).params
    assert str(values["model"]) == entry.source.rpartition("/")[2]
    assert not entry.give.said


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_given_for_an_entry_is_what_it_shows(name: str) -> None:
    entry, give = ENTRIES[name], ENTRIES[name].give
    assert give.bands in (None, entry.bands)
    assert give.resolution in (None, entry.resolution)
    assert give.licence in (None, entry.licence)
    assert give.classes in (None, entry.classes)


def test_the_gallery_is_listed_and_one_of_it_shown_also_as_json() -> None:
    listed = run()
    assert all(name in listed.stdout and entry.licence in listed.stdout for name, entry in ENTRIES.items())
    assert [one["name"] for one in json.loads(run("--json").stdout)] == list(ENTRIES)
    shown = run("fields-3")
    assert "background, field, boundary" in shown.stdout
    assert "geoseg import hf://torchgeo/ftw@" in shown.stdout


def test_an_unknown_name_is_answered_with_the_ones_there_are() -> None:
    with pytest.raises(SpecError, match="did you mean fields-3"):
        describe_entry("field-3")
