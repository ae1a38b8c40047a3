"""Bands of embeddings: recognised by names, type and values, read as they are, -128 as no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.embeddings import draw_vectors, quantized, write_embedding
from support.models import make_spec

from geoseg.commands.info import describe
from geoseg.core.errors import GeosegError
from geoseg.geo.grid import Window
from geoseg.inference.brightness import fitting_brightness
from geoseg.inference.fit import values_misfit
from geoseg.inference.source import select_bands
from geoseg.raster.bands.embeddings import are_axes, describe_vectors
from geoseg.raster.bands.matching import choose_bands
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import find_valid
from geoseg.spec import ClassifySpec, NormalizationSpec

AXES = tuple(f"A{axis:02}" for axis in range(64))


@pytest.mark.parametrize(
    ("names", "dtype", "lowest", "found"),
    [
        (AXES, "int8", -127, True),
        (("",) * 64, "float32", -0.6, True),
        (tuple(f"band {i + 1}" for i in range(16)), "float32", -0.6, True),
        (("VV", "VH"), "float32", -25, False),
        (("red", "green", "blue", *AXES), "int8", -127, False),
        (tuple(f"B{i + 1}" for i in range(224)), "uint16", 0, False),
        (("", "", ""), "int8", -5, True),
        (("", "", ""), "uint8", 0, False),
    ],
)
def test_axes_have_no_names_of_colours_and_values_of_both_signs(names, dtype, lowest, found):
    assert are_axes(names, dtype, lowest) == found


def test_vectors_are_described_by_their_length():
    vectors = draw_vectors(np.zeros((20, 20), int))
    assert describe_vectors(vectors.reshape(64, -1)) == "of unit length"
    assert "(v / 127.5)²" in describe_vectors(quantized(vectors).reshape(64, -1))
    assert describe_vectors(7 * vectors.reshape(64, -1)).startswith("of length 7")


def test_no_data_in_any_band_of_signed_bytes_is_enough():
    image = np.int8([[[-128, 3]], [[4, 5]]])
    assert find_valid(image, (-128, -128)).tolist() == [[False, True]]
    assert find_valid(image.view(np.uint8), (128, 128)).tolist() == [[True, True]]


def test_bytes_are_read_as_bytes(tmp_path):
    path = write_embedding(tmp_path / "e.tif", np.zeros((40, 48), int))
    with Scene.open(path) as scene:
        bands = SceneBands.select(scene, range(1, 65), nodata=-128)
        values, valid = bands.read(Window(0, 0, 40, 48))
    assert (values.dtype, bands.value_type, values.shape) == (np.int8, np.int8, (64, 40, 48))
    assert not valid[:8, :8].any()
    assert valid[8:].all()
    assert values[:, valid].min() >= -127


@pytest.mark.parametrize(
    ("changes", "said"), [({}, "int8"), ({"dtype": "float32"}, "float32"), ({"axes": 16}, "16 axes")]
)
def test_info_says_what_it_is(tmp_path, changes, said):
    path = write_embedding(tmp_path / "e.tif", np.zeros((64, 64), int), **changes)
    found = describe(str(path))["embedding"]
    assert said in found
    assert "of unit length" in found


def test_info_says_nothing_of_imagery(tmp_path):
    assert "embedding" not in describe("sample_data/scene.tif")


def test_values_are_neither_dark_nor_bright(tmp_path):
    """Of one class, half of the axes are below 0, and none says how much light there was."""
    path = write_embedding(tmp_path / "e.tif", np.zeros((64, 64), int))
    statistics = NormalizationSpec(mean=(3.0, -2.0) * 32, std=(40.0,) * 64)
    model = make_spec(bands=AXES, dtype="int8", normalization=statistics)
    with Scene.open(path) as scene:
        bands, choice = select_bands(scene, model, ClassifySpec())
        assert (choice.by, choice.indexes) == ("name", tuple(range(1, 65)))
        assert values_misfit(bands, model) is None
        assert fitting_brightness(bands, model, bands.change) is None


def test_bands_are_found_by_description_in_any_order(tmp_path):
    path = write_embedding(tmp_path / "e.tif", np.zeros((32, 32), int))
    model = make_spec(bands=("A16", "A09", "A01"), dtype="int8")
    with Scene.open(path) as scene:
        assert select_bands(scene, model, ClassifySpec())[1].indexes == (17, 10, 2)


@pytest.mark.parametrize(
    ("dtype", "settings", "words"),
    [("int8", {"rescale": (0.0, 100.0)}, "leave it out"), ("float32", {}, "no --rescale makes")],
)
def test_signed_bytes_are_not_rescaled(tmp_path: Path, dtype: str, settings: dict, words: str):
    path = write_embedding(tmp_path / "e.tif", np.zeros((32, 32), int), dtype=dtype)
    with Scene.open(path) as scene, pytest.raises(GeosegError, match=words):
        select_bands(scene, make_spec(bands=AXES, dtype="int8"), ClassifySpec(**settings))


def test_many_bands_are_told_in_a_short_line():
    choice = choose_bands(AXES, ["undefined"] * 64, AXES, None)
    assert choice.describe(AXES, AXES).endswith("A07 = band 8 'A07', ... of 64, A63 = band 64 'A63'")
