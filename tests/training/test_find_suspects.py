"""Suspects: planted errors are found to the pixel and rank first; borders and specks are left out and counted."""

from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from support.rasters import TRANSFORM, UTM

from geoseg.core.errors import SpecError
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.data.mosaic import Mosaic
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.window_store import WindowStore
from geoseg.training.scoring import probability_maps
from geoseg.training.scoring.find_suspects import Suspects, find_suspects
from geoseg.training.scoring.probability_maps import ProbabilityMap

HEIGHT, WIDTH = 60, 80
LARGE, SURE, THIN, SPECK = np.s_[5:25, 10:30], np.s_[40:52, 40:54], np.s_[30:32, 2:70], np.s_[55:58, 5:8]
GRID = PixelGrid(HEIGHT, WIDTH, TRANSFORM, CRS.from_user_input(UTM))


def map_of(
    labels: np.ndarray, probabilities: np.ndarray, grid: PixelGrid = GRID, name: str = "a.tif"
) -> ProbabilityMap:
    image = np.zeros((1, *labels.shape), np.uint8)
    raster = MemoryRaster(name, grid, image, np.ones(labels.shape, bool), labels.astype(np.uint8))
    store = WindowStore(len(probabilities), *labels.shape, dtype=np.float16)
    store.write(Window(0, 0, *labels.shape), probabilities)
    return ProbabilityMap(Mosaic([raster]), store)


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Labels of three classes, the left half 0 and the right half 1, and probabilities that contradict four areas."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 35:] = 1
    sure = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])
    probabilities = np.moveaxis(sure[labels], 2, 0)
    probabilities[:, *LARGE] = np.array([0.02, 0.97, 0.01])[:, None, None]
    probabilities[:, *SURE] = np.array([0.04, 0.02, 0.94])[:, None, None]
    probabilities[:, *THIN] = probabilities[[1, 0, 2]][:, *THIN]
    probabilities[:, *SPECK] = np.array([0.02, 0.97, 0.01])[:, None, None]
    return labels, probabilities


def found_in(*maps: ProbabilityMap, min_area: Any = "100px") -> Suspects:
    return find_suspects(maps or (map_of(*planted()),), 3, min_area)


def test_areas_are_found_to_the_pixel_and_the_larger_one_is_first():
    found = found_in()
    first, second = found.ranked
    assert [(one.suspect.label, one.suspect.predicted, one.suspect.pixels) for one in found.ranked] == [
        (0, 1, 400),
        (1, 2, 168),
    ]
    assert first.suspect.confidence == pytest.approx(0.97, abs=1e-3)
    assert first.suspect.self_confidence == pytest.approx(0.02, abs=1e-3)
    for one, place in ((first, LARGE), (second, SURE)):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[one.window.slices] = one.mask
        expected = np.zeros_like(mask)
        expected[place] = True
        np.testing.assert_array_equal(mask, expected)
        assert one.suspect.shape.area == pytest.approx(mask.sum() * abs(TRANSFORM.determinant))
        assert one.suspect.area_m2 == pytest.approx(one.suspect.shape.area, rel=0.01)
    assert first.suspect.score > second.suspect.score


def test_thin_strips_and_small_areas_are_left_out_and_counted():
    found = found_in()
    assert found.left_out == 3, "a speck, and a strip on either side of the border"
    assert found.doubted_px == 400 + 168 + 9 + 2 * 68
    assert found.scored_px == HEIGHT * WIDTH
    assert "3 regions of them smaller than 100px or narrower than 3 px" in found.notice("100px")
    assert len(found_in(min_area="9px").ranked) == 3
    assert len(found_in(min_area=200 * abs(TRANSFORM.determinant)).ranked) == 1


def test_a_strip_that_hangs_on_an_area_is_cut_off():
    labels, probabilities = planted()
    probabilities[:, 12:14, 30:35] = np.array([0.02, 0.97, 0.01])[:, None, None]
    assert found_in(map_of(labels, probabilities)).ranked[0].suspect.pixels == 400


def test_strips_of_rows_give_the_same(monkeypatch):
    whole = found_in()
    monkeypatch.setattr(probability_maps, "STRIP_PX", 7 * WIDTH)
    assert [one.suspect for one in found_in().ranked] == [one.suspect for one in whole.ranked]


def test_pixels_that_were_not_scored_are_not_doubted():
    labels, probabilities = planted()
    probabilities[:, *LARGE] = 0
    labels[SURE] = 255
    found = found_in(map_of(labels, probabilities))
    assert not found.ranked
    assert found.scored_px == HEIGHT * WIDTH - 400 - 168


def test_several_maps_are_ranked_together_by_thresholds_over_all_of_them():
    labels, probabilities = planted()
    fine = np.moveaxis(np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])[labels], 2, 0)
    found = found_in(map_of(labels, fine, name="fine.tif"), map_of(labels, probabilities, name="planted.tif"))
    assert [one.suspect.image for one in found.ranked] == ["planted.tif"] * 2


def test_images_without_coordinates_have_suspects_in_pixels():
    plain = PixelGrid(HEIGHT, WIDTH, Affine.identity(), None)
    first = found_in(map_of(*planted(), grid=plain)).ranked[0].suspect
    assert first.area_m2 is None
    assert first.shape.bounds == (10, 5, 30, 25)
    with pytest.raises(SpecError, match="give pixels"):
        found_in(map_of(*planted(), grid=plain), min_area=100.0)
