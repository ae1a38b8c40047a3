"""Mosaics as models see them: bands, scaling, resolution, area; and the units that their pixels belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from support.models import make_spec

from geoseg.core.errors import ModelError, SpecError
from geoseg.data.class_statistics import CELL_PX, count_classes
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.data.mosaic import Mosaic
from geoseg.geo.aoi import Area
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import AreaSpec, DataSpec, ScalingSpec
from geoseg.training.scoring.model_rasters import (
    ModelBands,
    areas_of,
    bands_at_resolution,
    cells_of,
    model_bands,
    resolution_of,
)
from geoseg.training.scoring.units import UNITS
from geoseg.training.windows.random_windows import LabelledCells

HEIGHT, WIDTH = 100, 140
EVERYWHERE = Area(Window(0, 0, HEIGHT, WIDTH))


def mosaic(left_px: int = 0, top_px: int = 0, *, side: float = 0.5, crs: int | None = 32631) -> Mosaic:
    """One image of 100 × 140 px, so far from the corner of its lattice; band b is b + 1 times its pixel's number."""
    place = Affine(side, 0, left_px * side, 0, -side, -top_px * side) if crs else Affine.identity()
    grid = PixelGrid(HEIGHT, WIDTH, place, CRS.from_epsg(crs) if crs else None)
    numbers = np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    image = np.stack([numbers, 2 * numbers, 3 * numbers])
    labels = (np.arange(HEIGHT)[:, None] // 10 + np.arange(WIDTH) // 10).astype(np.uint8) % 3
    labels[:40, :40] = 255
    return Mosaic([MemoryRaster("town.tif", grid, image, np.ones((HEIGHT, WIDTH), bool), labels)])


def bands_of(one: Mosaic) -> ModelBands:
    return ModelBands(one, (0, 1, 2), None)


# ------------------------------------------------------------------------------------------------- bands and scaling


@pytest.mark.parametrize("wanted", [("red",), ("Blue", "RED"), ("red", "green", "blue")])
def test_a_model_gets_its_bands_in_its_order(wanted: tuple[str, ...]) -> None:
    data = DataSpec(tiles="t.csv", bands=("red", "green", "blue"), dtype="float32")
    (found,) = model_bands([mosaic()], data, None, make_spec(bands=wanted, dtype="float32"))
    values, valid = found.read(Window(1, 2, 3, 4))
    factors = [("red", "green", "blue").index(name.lower()) + 1 for name in wanted]
    assert (values[:, 0, 0] / factors == WIDTH + 2).all()
    assert valid.all()


def test_values_are_brought_to_the_scaling_of_the_model() -> None:
    data = DataSpec(tiles="t.csv", bands=("red", "green", "blue"), dtype="float32")
    own = ScalingSpec(scale=(0.1, 0.2, 0.5), offset=(0, 0, 5))
    model = make_spec(bands=("blue",), dtype="float32", scaling=ScalingSpec(scale=(1,), offset=(1,)))
    (found,) = model_bands([mosaic()], data, own, model)
    assert found.read(Window(0, 2, 1, 1))[0].item() == pytest.approx(6 * 0.5 + 5 - 1)


@pytest.mark.parametrize(
    ("bands", "dtype", "says"), [(("nir",), "uint8", "wants the bands nir"), (("red",), "uint16", "uint16")]
)
def test_a_model_of_other_bands_or_values_is_refused(bands: tuple[str, ...], dtype: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        model_bands([mosaic()], DataSpec(tiles="t.csv", bands=("red",)), None, make_spec(bands=bands, dtype=dtype))


# --------------------------------------------------------------------------------------------------------- resolution


def test_at_another_resolution_pixels_are_averaged_and_labels_stay() -> None:
    raster = bands_at_resolution(bands_of(mosaic()), EVERYWHERE, 1.0, 0.5)
    assert (raster.height, raster.width) == (50, 70)
    values, _ = raster.read(Window(0, 0, 1, 1))
    assert values[0].item() == np.mean([0, 1, WIDTH, WIDTH + 1])
    assert raster.source.scene_window(Window(3, 4, 5, 6)) == Window(7, 9, 10, 12)
    whole = mosaic().read_labels(Window(0, 0, HEIGHT, WIDTH))
    assert np.array_equal(raster.read_labels(Window(2, 3, 20, 30)), whole[5:45:2, 7:67:2])
    assert raster.window_name(Window(10, 20, 4, 4)) == "town.tif, row 21, column 41"


@pytest.mark.parametrize("metres", [0.25, 0.5, 0.8, 1.0, 1.7, 4.0])
def test_the_cells_of_another_resolution_hold_all_labels(metres: float) -> None:
    one = mosaic()
    statistics = count_classes(one.rasters[0], 3, 3)
    cells = LabelledCells(np.insert(statistics.cells, 0, 0, axis=1), statistics.counts)
    raster = bands_at_resolution(bands_of(one), EVERYWHERE, metres, 0.5)
    found = cells_of(cells, [raster]).places
    assert len(np.unique(found, axis=0)) == len(found)
    missed = raster.read_labels(Window(0, 0, raster.height, raster.width)) != 255
    for _, row, col in found:
        missed[row : row + CELL_PX, col : col + CELL_PX] = False
    assert not missed.any()
    if metres == 0.5:
        assert np.array_equal(found, cells.places)


def test_the_resolution_is_that_of_the_config_else_of_the_coordinates() -> None:
    assert resolution_of(mosaic(), None) == pytest.approx(0.5, rel=1e-3)
    assert resolution_of(mosaic(), 0.6) == 0.6
    assert resolution_of(mosaic(crs=None), None) is None


@pytest.mark.parametrize(("own", "metres", "says"), [(None, 1.0, "no known pixel size"), (0.5, 0.01, "8 times finer")])
def test_a_resolution_that_cannot_be_is_refused(own: float | None, metres: float, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        bands_at_resolution(bands_of(mosaic()), EVERYWHERE, metres, own)


def test_an_area_of_interest_is_where_it_lies_and_nowhere_in_other_mosaics() -> None:
    areas = areas_of([mosaic(), mosaic(left_px=9000)], AreaSpec(bbox=(10, -20, 30, -5)))
    rasters = [bands_at_resolution(bands_of(mosaic()), area, None, 0.5) for area in areas]
    inside, elsewhere = (raster.in_area(Window(0, 10, HEIGHT, WIDTH - 10)) for raster in rasters)
    assert np.array_equal(np.argwhere(inside)[[0, -1]], [[10, 10], [39, 49]])
    assert not elsewhere.any()
    with pytest.raises(SpecError, match="lies off"):
        areas_of([mosaic()], AreaSpec(bbox=(1e6, 1e6, 2e6, 2e6)))


# -------------------------------------------------------------------------------------------------------------- units


@pytest.mark.parametrize("kind", UNITS)
def test_every_pixel_has_one_unit_whichever_window_shows_it(kind: str) -> None:
    mosaics = [mosaic(left_px=70, top_px=30), mosaic(left_px=5000)]
    units = UNITS[kind](mosaics, 64, 3)
    for which in range(2):
        whole = units.numbers(which, Window(0, 0, HEIGHT, WIDTH))
        assert whole.shape == (HEIGHT, WIDTH)
        assert 0 <= whole.min() <= whole.max() < units.count
        assert np.array_equal(units.numbers(which, Window(20, 33, 50, 70)), whole[20:70, 33:103])


def test_blocks_lie_on_one_lattice_for_all_images_of_one_pixel_size() -> None:
    first, beside = mosaic(), mosaic(left_px=WIDTH)
    units = UNITS["block"]([first, beside, mosaic(side=0.6), mosaic(crs=None), mosaic(crs=None)], 128, 3)
    right = units.numbers(0, Window(0, WIDTH - 1, 1, 1)).item()
    assert units.numbers(1, Window(0, 0, 1, 1)).item() == right, "a block goes on in the next image"
    others = {units.numbers(which, Window(0, 0, 1, 1)).item() for which in range(5)}
    assert len(others) == 5, "other pixels and images without coordinates have lattices of their own"


def test_images_are_units_and_gaps_are_none() -> None:
    two = Mosaic([*mosaic().rasters, *mosaic(left_px=WIDTH + 20, top_px=10).rasters])
    units = UNITS["image"]([mosaic(left_px=9000), two], 64, 3)
    numbers = units.numbers(1, Window(0, 0, two.height, two.width))
    assert units.count == 3
    assert (numbers[0, 0], numbers[50, WIDTH + 5], numbers[50, WIDTH + 25]) == (1, -1, 2)
