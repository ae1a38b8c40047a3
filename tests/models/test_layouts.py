"""The contract of layouts, held by every one that is registered: it recognises and reads what it writes itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geoseg import import_model, load_model
from geoseg.core.errors import ModelError
from geoseg.models.layouts import LAYOUTS, layout_of
from geoseg.models.layouts.source import Source


@pytest.mark.parametrize("name", LAYOUTS.names)
def test_its_example_is_recognised_as_what_it_is_and_as_nothing_else_before(name: str, tmp_path: Path) -> None:
    source = Source.open(LAYOUTS.get(name).example(tmp_path).path)
    assert layout_of(source)[0] == name
    assert LAYOUTS.get(name).title


@pytest.mark.parametrize("name", LAYOUTS.names)
def test_its_example_becomes_a_bundle_that_says_where_it_is_from(name: str, tmp_path: Path) -> None:
    example = LAYOUTS.get(name).example(tmp_path)
    result = import_model(example.path, tmp_path / "m.safetensors", **example.says.said)
    model = load_model(result.bundle)
    imported = model.spec.card.training["imported"]
    assert imported["sha256"] == Source.open(example.path).sha256
    assert imported["layout"] == LAYOUTS.get(name).title
    assert imported["notices"] == list(result.notices)
    image = torch.full((1, len(model.spec.bands), 64, 64), 90.0)
    with torch.inference_mode():
        assert model.module(image).shape == (1, len(model.spec.classes), 64, 64)


@pytest.mark.parametrize("name", LAYOUTS.names)
def test_its_weights_are_those_of_the_source(name: str, tmp_path: Path) -> None:
    example = LAYOUTS.get(name).example(tmp_path)
    source = Source.open(example.path)
    found = LAYOUTS.get(name).read(source)
    import_model(example.path, tmp_path / "m.safetensors", **example.says.said)
    bundled = load_model(tmp_path / "m.safetensors").module.state_dict()
    pairs = [(bundled[f"body.{key}"], tensor) for key, tensor in found.weights.items()]
    assert all(torch.equal(own, tensor) for own, tensor in pairs if own.shape == tensor.shape)  # heads may be cut


@pytest.mark.parametrize("name", LAYOUTS.names)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"no model at all", bytes(64)])
def test_what_is_no_model_is_refused_on_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / LAYOUTS.get(name).example(tmp_path).path.with_suffix(".pth").name
    path = path if not path.is_dir() else tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        layout_of(Source.open(path))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no file of weights \(.safetensors, .pth, .*give the folder or file"):
        layout_of(Source.open(tmp_path))
