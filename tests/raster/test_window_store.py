"""Arrays that are written and read window by window, in memory or on disk, are the same to everybody who reads them."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from geoseg.core.errors import OutputError
from geoseg.geo.grid import Window
from geoseg.raster.window_store import MAPPED_ROWS, WindowStore

DTYPES = pytest.mark.parametrize("dtype", ["uint8", "float32"])


@pytest.fixture(params=["memory", "file"])
def is_large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether arrays are too large for memory."""
    found = request.param == "file"
    monkeypatch.setattr("geoseg.raster.window_store.HELD_BYTES", 0 if found else 10**9)
    return found


@DTYPES
def test_windows_come_back_and_what_was_not_written_is_zero(tmp_path: Path, is_large: bool, dtype: str) -> None:
    store = WindowStore(3, 150, 30, tmp_path, dtype=dtype)
    values = np.random.default_rng(0).integers(1, 255, (3, 150, 30)).astype(dtype)
    for row in range(0, 130, 50):
        window = Window(row, 2, 45, 28)
        store.write(window, values[:, *window.slices])
        values[:, row + 45 : row + 50] = 0
    values[..., :2] = 0
    found = store.read(Window(0, 0, 150, 30))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)
    found[:] = 7  # what was read is the reader's own
    np.testing.assert_array_equal(store.read(Window(5, 3, 100, 20)), values[:, 5:105, 3:23])
    assert not list(tmp_path.iterdir())  # a file has no name before it is published


@DTYPES
def test_what_one_has_published_others_read(tmp_path: Path, is_large: bool, dtype: str) -> None:
    store = WindowStore(2, 90, 20, tmp_path, dtype=dtype)
    store.write(Window(40, 5, 50, 10), np.full((2, 50, 10), 9, dtype))
    for found in (store.publish(tmp_path / "a.npy"), WindowStore.load(tmp_path / "a.npy")):
        assert (found.shape, found.dtype) == ((2, 90, 20), dtype)
        np.testing.assert_array_equal(found.read(Window(0, 0, 90, 20)), store.read(Window(0, 0, 90, 20)))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), store.read(Window(0, 0, 90, 20)))
    del store, found
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_the_first_array_that_is_published_is_everybodys(tmp_path: Path) -> None:
    first, second = WindowStore(1, 4, 4), WindowStore(1, 4, 4)
    second.write(Window(0, 0, 4, 4), np.full((1, 4, 4), 9, np.uint8))
    first.publish(tmp_path / "a.npy")
    assert not second.publish(tmp_path / "a.npy").read(Window(0, 0, 4, 4)).any()


def test_few_rows_of_a_file_are_mapped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.raster.window_store.HELD_BYTES", 0)
    store, mapped = WindowStore(1, 1000, 8, tmp_path), []
    opened = store._mapped

    class Watched:
        def __init__(self, values: np.ndarray):
            self._values = values

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            mapped.append(key[1].stop - key[1].start)
            return self._values[key]

    monkeypatch.setattr(store, "_mapped", lambda mode: Watched(opened(mode)))
    store.read(Window(0, 0, 1000, 8))
    assert sum(mapped) == 1000
    assert max(mapped) <= MAPPED_ROWS


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.raster.window_store.HELD_BYTES", 0)
    with pytest.raises(OutputError, match=r"cannot write into .*none"):
        WindowStore(1, 4, 4, tmp_path / "none")
