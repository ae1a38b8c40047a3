import numpy as np
import pytest

from geoseg.core.errors import ModelError
from geoseg.raster.bands.matching import BandChoice, check_dtype, choose_bands, looks_like_alpha

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


GRAY = ("gray", "undefined", "undefined", "undefined", "undefined")
MARKED = ("red", "green", "blue", "undefined", "undefined")


@pytest.mark.parametrize("colors", [GRAY, MARKED])
@pytest.mark.parametrize(
    ("wanted", "names", "indexes"),
    [
        (RGB, ("B2", "B3", "B4"), (3, 2, 1)),
        (RGB, ("B2", "B3", "B4", "B8"), (3, 2, 1)),
        (RGB, ("SR_B2", "SR_B3", "SR_B4", "SR_B5"), (3, 2, 1)),
        (RGB, ("SR_B4", "SR_B3", "SR_B2"), (1, 2, 3)),
        (RGB, ("Band 1: Blue", "Band 2: Green", "Band 3: Red"), (3, 2, 1)),
        (RGB, ("blueband", "greenband", "redband"), (3, 2, 1)),
        (RGB, ("azul", "verde", "rojo"), (3, 2, 1)),
        (RGB, ("Blue (490 nm)", "Green (560 nm)", "Red (665 nm)"), (3, 2, 1)),
        (RGB, ("490 nm", "560.0 Nanometers", "0.665 um"), (3, 2, 1)),
        (RGB, ("B02_10m", "B03_10m", "B04_10m"), (3, 2, 1)),
        (RGB, ("T32_B04_10m", "T32_B03_10m", "T32_B02_10m"), (1, 2, 3)),
        (RGB, ("blue_band", "green_band", "red_band"), (3, 2, 1)),
        (RGB, ("B2 - Blue", "B3 - Green", "B4 - Red"), (3, 2, 1)),
        (RGB, ("coastal_blue", "RedEdge", "blue", "green", "red"), (5, 4, 3)),
        (RGB, ("nir", "red", "green", "blue"), (2, 3, 4)),
        (RGB, ("Bleu", "Vert", "Rouge"), (3, 2, 1)),
        (("nir", "red", "green"), ("B02", "B03", "B04", "B08"), (4, 3, 2)),
        (("nir", "red", "green"), ("B2", "B3", "B4", "B8A"), (4, 3, 2)),
        (("nir", "red", "green"), ("SR_B3", "SR_B4", "SR_B5", "SR_B6"), (3, 2, 1)),
        (("red", "nir"), ("Red", "Near-Infrared"), (1, 2)),
        (("nir", "swir16"), ("SWIR 1", "NIR"), (2, 1)),
        ((*RGB, "nir"), ("B2", "B3", "B4", "B8"), (3, 2, 1, 4)),
        (RGB, ("LC08_SR_B1", "LC08_SR_B2", "LC08_SR_B3", "LC08_SR_B4"), (4, 3, 2)),
        (("rededge2",), ("Red Edge 1", "Red Edge 2"), (2,)),
        (("B04", "B03", "B02"), ("blue", "green", "red"), (3, 2, 1)),
    ],
)
def test_bands_are_known_by_the_names_that_people_give(colors, wanted, names, indexes):
    assert choose_bands(wanted, colors[: len(names)], names, None) == BandChoice(indexes, "name")


@pytest.mark.parametrize("colors", [GRAY, MARKED])
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (RGB, ("blue", "red", "")),
        (RGB, ("blue", "", "")),
        (RGB, ("", "", "nir")),
        (RGB, ("B1", "B2", "B3")),
        (RGB, ("B1", "B2", "B3", "B4", "B5")),
        (RGB, ("red", "red", "blue")),
        (RGB, ("coastal", "blue", "green", "yellow")),
        (RGB, ("ndvi", "dem", "")),
        (RGB, ("B5", "B4", "B3")),
        (("red", "green"), ("green", "foo")),
        (("nir", "red", "green"), ("B4", "B3", "B2")),
        ((*RGB, "nir"), ("red", "green", "blue", "rededge")),
        ((*RGB, "nir"), ("B2", "B3", "B4", "B5")),
        ((*RGB, "nir"), ("B02", "B03", "B04", "B05")),
        ((*RGB, "nir"), ("red", "green", "blue", "alpha")),
    ],
)
def test_a_name_known_for_another_band_forbids_a_guess(colors, wanted, names):
    with pytest.raises(ModelError, match=r"--bands|choose a model") as error:
        choose_bands(wanted, colors[: len(names)], names, None)
    assert repr(next(name for name in names if name)) in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "colors", "names", "choice"),
    [
        ((*RGB, "nir"), ("red", "green", "blue", "undefined"), ("", "", "", "NIR"), ((1, 2, 3, 4), True)),
        ((*RGB, "nir"), ("blue", "green", "red", "undefined"), ("", "", "", "NIR"), ((3, 2, 1, 4), True)),
        (RGB, ("gray", "undefined", "undefined", "undefined"), ("", "", "", "ndvi"), ((1, 2, 3), False)),
        (RGB, ("gray", "undefined", "undefined"), ("Band 1", "Band 2", "Band 3"), ((1, 2, 3), False)),
        (RGB, ("gray", "undefined", "undefined"), ("b1", "b2", "b3"), ((1, 2, 3), False)),
        (("nir", "red", "green"), ("red", "green", "blue"), ("", "", ""), ((1, 2, 3), False)),
        (("height",), ("gray",), ("dsm",), ((1,), True)),
        (("value",), ("gray",), ("B4",), ((1,), False)),
    ],
)
def test_names_and_colours_together(wanted, colors, names, choice):
    found = choose_bands(wanted, colors, names, None)
    assert (found.indexes, found.by != "position") == choice


def test_colours_against_position_forbid_a_guess():
    with pytest.raises(ModelError, match="--bands"):
        choose_bands((*RGB, "nir"), ("blue", "green", "red", "undefined"), ("",) * 4, None)


def test_a_choice_tells_names_and_doubts():
    names = ("x", "y", "z")
    said = choose_bands(RGB, GRAY[:3], names, None).describe(RGB, names)
    assert said.startswith("bands by position: red = band 1 'x', green = band 2 'y'")
    assert "pass --bands" in said
    assert "pass --bands" not in choose_bands(RGB, MARKED[:3], names, None).describe(RGB, names)


@pytest.mark.parametrize(
    ("colors", "override", "says"),
    [
        (("gray",), None, "scene has 1 band (marked gray): name a file for each band"),
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
