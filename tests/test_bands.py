import numpy as np
import pytest

from geoseg.bands import check_dtype, choose_bands, looks_like_alpha
from geoseg.errors import ModelError

RGB = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("wanted", "colors", "names", "override", "indexes", "by"),
    [
        (RGB, ("red", "green", "blue"), ("", "", ""), None, (1, 2, 3), "colour interpretation"),
        (RGB, ("blue", "green", "red", "alpha"), ("",) * 4, None, (3, 2, 1), "colour interpretation"),
        (RGB, ("red", "green", "blue", "undefined"), ("",) * 4, None, (1, 2, 3), "colour interpretation"),
        (RGB, ("gray", "undefined", "undefined"), ("B", "G", "R"), None, (3, 2, 1), "name"),
        ((*RGB, "nir"), ("gray",) * 4, ("Red", "Green", "Blue", "NIR"), None, (1, 2, 3, 4), "name"),
        ((*RGB, "nir"), ("red", "green", "blue", "undefined"), ("",) * 4, None, (1, 2, 3, 4), "position"),
        (RGB, ("gray", "undefined", "undefined", "undefined"), ("",) * 4, None, (1, 2, 3), "position"),
        (RGB, ("gray", "undefined", "undefined", "alpha"), ("",) * 4, None, (1, 2, 3), "position"),
        (RGB, ("red", "green", "blue"), ("",) * 3, (3, 1, 2), (3, 1, 2), "--bands"),
        (("value",), ("gray", "alpha"), ("", ""), None, (1,), "position"),
        (RGB, ("red", "green", "blue", "undefined"), ("B02", "B03", "B04", "B08"), None, (3, 2, 1), "name"),
    ],
)
def test_choice(wanted, colors, names, override, indexes, by):
    choice = choose_bands(wanted, colors, names, override)
    assert (choice.indexes, choice.by) == (indexes, by)


@pytest.mark.parametrize(
    ("colors", "override", "says"),
    [
        (("gray",), None, "scene has 1 band (marked gray): choose a model"),
        (("gray", "alpha", "undefined"), None, "expects 3 bands (red, green, blue)"),
        (("gray",) + ("undefined",) * 7, None, "--bands"),
        (("red", "green", "blue"), (1, 2), "names 2 bands"),
        (("red", "green", "blue"), (1, 2, 9), "band 9"),
    ],
)
def test_refusal_names_the_way_out(colors, override, says):
    with pytest.raises(ModelError) as error:
        choose_bands(RGB, colors, ("",) * len(colors), override)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_band_full_of_imagery_is_no_alpha():
    imagery = np.random.default_rng(0).integers(0, 255, 10_000, dtype=np.uint8)
    assert not looks_like_alpha(imagery, "uint8")
    assert looks_like_alpha(np.where(imagery > 60, 255, 0).astype(np.uint8), "uint8")
    assert looks_like_alpha(np.zeros(100, np.uint8), "uint8")


@pytest.mark.parametrize(
    ("scene", "model", "fits"),
    [
        ("uint8", "uint8", True),
        ("uint16", "uint8", False),
        ("int16", "uint16", True),
        ("float64", "float32", True),
        ("uint8", "float32", False),
        ("float32", "uint8", False),
    ],
)
def test_types(scene, model, fits):
    if fits:
        check_dtype(scene, model, None)
    else:
        with pytest.raises(ModelError, match=r"--rescale 10,2000"):
            check_dtype(scene, model, (10, 2000))
