"""Windows of scenes are counted exactly, piece by piece, and chosen by uncertainty, unlike each other."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.geo.grid import Window
from geoseg.inference.places import windows
from geoseg.inference.places.spread import Candidates, spread
from geoseg.inference.places.windows import ClassifiedPixels, WindowStatistics, count_windows
from geoseg.spec import NODATA_ID

IDS = np.array([3, 9, 0], np.uint8)


def scene(height: int, width: int) -> ClassifiedPixels:
    random = np.random.default_rng(height)
    ids = np.append(IDS, NODATA_ID).astype(np.uint8)[random.integers(0, 4, (height, width))]
    return ClassifiedPixels(ids, random.random((height, width)), random.random((height, width)) < 0.2)


def counted(pixels: ClassifiedPixels, side: int) -> WindowStatistics:
    def read(window: Window) -> ClassifiedPixels:
        where = window.slices
        return ClassifiedPixels(pixels.ids[where], pixels.uncertainty[where], pixels.is_labelled[where])

    done: list[int] = []
    found = count_windows(pixels.ids.shape, side, IDS, read, done.append)
    assert sum(done) == pixels.ids.size
    return found


@pytest.mark.parametrize(("height", "width", "side"), [(64, 96, 32), (65, 95, 32), (20, 300, 32), (33, 33, 64)])
@pytest.mark.parametrize("piece_px", [1, 2**21])
def test_each_window_has_the_counts_of_its_pixels(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, side: int, piece_px: int
) -> None:
    monkeypatch.setattr(windows, "PIECE_PX", piece_px)
    pixels = scene(height, width)
    found = counted(pixels, side)
    assert len(found) == -(-height // side) * -(-width // side)
    assert sum(found.window(i).pixels for i in range(len(found))) == height * width
    for i in range(len(found)):
        where = found.window(i).slices
        ids, labelled = pixels.ids[where], pixels.is_labelled[where]
        is_open = (ids != NODATA_ID) & ~labelled
        assert found.counts[i].tolist() == [(ids == one).sum() for one in IDS]
        assert found.labelled[i] == (labelled & (ids != NODATA_ID)).sum()
        assert found.uncertainty[i] == pytest.approx(pixels.uncertainty[where][is_open].mean())
        assert found.open_share[i] == pytest.approx(is_open.sum() / (min(side, height) * min(side, width)))


def test_pixels_without_data_count_for_nothing_even_if_their_uncertainty_is_no_number() -> None:
    ids = np.full((8, 8), NODATA_ID, np.uint8)
    ids[0, 0] = 3
    values = np.full((8, 8), np.nan)
    values[0, 0] = 0.5
    found = counted(ClassifiedPixels(ids, values, np.zeros((8, 8), bool)), 8)
    assert (found.valid[0], found.uncertainty[0]) == (1, 0.5)


def candidates(uncertainty: list[float], **fields: object) -> Candidates:
    count = len(uncertainty)
    values: dict[str, object] = {
        "uncertainty": np.array(uncertainty),
        "shares": np.tile([1.0, 0.0], (count, 1)),
        "positions": np.zeros((count, 3)),
        "areas_m2": np.full(count, 100.0),
        "is_open": np.ones(count, bool),
        "is_labelled": np.zeros(count, bool),
    }
    return Candidates(**values | fields)  # type: ignore[arg-type]


def along(*metres: float) -> np.ndarray:
    return np.array([(x, 0.0, 0.0) for x in metres])


def test_the_most_uncertain_comes_first_and_of_equals_the_first() -> None:
    assert spread(candidates([0.1, 0.9, 0.9, 0.3]), 1) == [1]


def test_of_windows_as_uncertain_the_farthest_is_next() -> None:
    found = spread(candidates([0.5, 0.4, 0.4, 0.4], positions=along(0, 1, 8, 3)), 3)
    assert found == [0, 2, 3]


def test_of_windows_side_by_side_one_of_other_classes_is_next() -> None:
    shares = np.array([(1.0, 0.0), (0.9, 0.1), (0.0, 1.0)])
    assert spread(candidates([0.5, 0.4, 0.4], shares=shares, positions=along(0, 5, 5)), 2) == [0, 2]


def test_what_resembles_labelled_windows_waits() -> None:
    shares = np.array([(1.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
    labelled = np.array([True, False, False])
    found = spread(candidates([0.9, 0.6, 0.5], shares=shares, is_labelled=labelled, is_open=~labelled), 3)
    assert found == [2, 1]


def test_as_many_as_there_are_and_each_once() -> None:
    many = candidates(list(np.random.default_rng(0).random(30)), positions=np.random.default_rng(1).random((30, 3)))
    assert sorted(spread(many, 100)) == list(range(30))
    assert spread(many, 30) == spread(many, 30)
