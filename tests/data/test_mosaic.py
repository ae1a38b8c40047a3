"""Mosaics of labelled rasters that touch: what is read is what pasting whole arrays gives."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from support.models import class_specs
from support.rasters import write_raster

from geoseg.data.areas import Rectangles
from geoseg.data.labelled_raster import FilePool, FileRaster, MemoryRaster, read_into_memory
from geoseg.data.listing import ListedRaster
from geoseg.data.mosaic import Mosaic, join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, DataSpec
from geoseg.training.data.image_files import open_pair

UTM17, UTM18 = CRS.from_epsg(32617), CRS.from_epsg(32618)
NOWHERE = Affine.identity()


def labelled_raster(
    row: float = 0, col: float = 0, height: int = 4, width: int = 4, value: int = 1, *, seed: int | None = None,
    crs: CRS | None = UTM17, step: float = 0.5, transform: Affine | None = None,
) -> MemoryRaster:  # fmt: skip
    """A rectangle placed in pixels of half a metre; of one value and class, or of random ones with gaps."""
    place = transform or Affine(step, 0, 300_000 + 0.5 * col, 0, -step, 4_300_000 - 0.5 * row)
    shape = height, width
    image, labels, valid = np.full((2, *shape), value, np.uint8), np.full(shape, value, np.uint8), np.ones(shape, bool)
    if seed is not None:
        rng = np.random.default_rng(seed)
        image = rng.integers(0, 255, image.shape, np.uint8)
        labels = np.where(rng.random(shape) < 0.5, rng.integers(0, 9, shape), IGNORE).astype(np.uint8)
        valid = rng.random(shape) < 0.7
    return MemoryRaster(f"r{row} c{col}", PixelGrid(*shape, place, crs), image, valid, labels)


lengths, starts = st.integers(1, 20), st.integers(-30, 30)
rectangles = st.builds(Window, starts, starts, lengths, lengths)


@st.composite
def connected(draw: Any) -> list[MemoryRaster]:
    """Up to six rasters, each of which touches or overlaps the one before it."""
    places = [Window(0, 0, draw(lengths), draw(lengths))]
    for _ in range(draw(st.integers(0, 5))):
        last, height, width = places[-1], draw(lengths), draw(lengths)
        row = last.row + draw(st.integers(-height, last.height))
        places.append(Window(row, last.col + draw(st.integers(-width, last.width)), height, width))
    return [labelled_raster(p.row, p.col, p.height, p.width, seed=i) for i, p in enumerate(places)]


@settings(deadline=None, max_examples=60)
@given(connected(), st.data())
def test_a_mosaic_is_all_its_rasters_pasted(rasters: list[MemoryRaster], data: Any) -> None:
    ((joined, members),) = join_neighbours(rasters)
    assert members == list(range(len(rasters)))
    values = np.zeros((2, joined.height, joined.width), np.uint8)
    valid = np.zeros((joined.height, joined.width), bool)
    labels = np.full((joined.height, joined.width), IGNORE, np.uint8)
    for part in rasters:
        row, col = joined.grid.offset_of(part.grid) or (0, 0)
        at = Window(row, col, part.height, part.width).slices
        values[:, *at] = np.where(part.valid, part.image, values[:, *at])
        valid[at] |= part.valid
        labels[at] = np.where(part.labels != IGNORE, part.labels, labels[at])
    row, col = data.draw(st.integers(0, joined.height - 1)), data.draw(st.integers(0, joined.width - 1))
    window = Window(row, col, *data.draw(st.tuples(lengths, lengths))).clip(joined.height, joined.width)
    found, held = joined.read(window)
    assert np.array_equal(found, values[:, *window.slices])
    assert np.array_equal(held, valid[window.slices])
    assert np.array_equal(joined.read_labels(window), labels[window.slices])


@settings(deadline=None)
@given(st.lists(rectangles, min_size=1, max_size=8))
def test_rasters_are_joined_where_they_touch(places: list[Window]) -> None:
    rasters = [labelled_raster(p.row, p.col, p.height, p.width) for p in places]
    found = sorted(sorted(members) for _, members in join_neighbours(rasters))
    assert found == sorted(map(sorted, components(places)))


def components(places: Sequence[Window]) -> list[set[int]]:
    """Numbers of the windows that hang together, corners included, found by brute force."""
    groups: list[set[int]] = []
    for index, p in enumerate(places):
        near = {
            i for i, q in enumerate(places)
            if p.row <= q.row + q.height and q.row <= p.row + p.height
            and p.col <= q.col + q.width and q.col <= p.col + p.width
        }  # fmt: skip
        touched = [group for group in groups if group & near]
        groups = [group for group in groups if not group & near] + [set().union(*touched, {index})]
    return groups


@pytest.mark.parametrize(
    "other",
    [
        labelled_raster(0, 5),
        labelled_raster(0, 4.5),
        labelled_raster(0, 4, crs=UTM18),
        labelled_raster(0, 4, crs=None),
        labelled_raster(0, 4, step=0.6),
        labelled_raster(transform=NOWHERE),
        labelled_raster(transform=NOWHERE, crs=None),
        labelled_raster(transform=Affine(0.5, 0, 300_002, 0, -0.5, 4_300_000) @ Affine.rotation(3)),
    ],
)
def test_strangers_stay_apart(other: MemoryRaster) -> None:
    assert len(join_neighbours([labelled_raster(), other])) == 2
    assert len(join_neighbours([other, labelled_raster()])) == 2


def test_images_with_coordinates_but_no_crs_are_joined() -> None:
    assert len(join_neighbours([labelled_raster(crs=None), labelled_raster(0, 4, crs=None)])) == 1


@pytest.mark.parametrize("crs", [None, UTM17])
def test_images_without_coordinates_are_no_neighbours_however_many(crs: CRS | None) -> None:
    rasters = [labelled_raster(transform=NOWHERE, crs=crs) for _ in range(3000)]
    assert len(join_neighbours(rasters)) == 3000


def test_a_chain_of_tiles_whose_pixels_drift_is_laid_in_its_order() -> None:
    """Each tile's pixels are off by a ten-millionth: neighbours share a lattice, the ends of the chain hardly do."""
    tiles = [labelled_raster(0, 4 * i, value=i) for i in range(40)]
    drifting = [
        labelled_raster(value=i, transform=tile.grid.transform @ Affine.translation(0.004 * i, 0))
        for i, tile in enumerate(tiles)
    ]  # fmt: skip
    ((joined, _),) = join_neighbours(drifting)
    assert joined.read_labels(Window(2, 0, 1, 160)).ravel().tolist() == [i for i in range(40) for _ in range(4)]


def test_a_window_in_a_gap_holds_nothing() -> None:
    joined = Mosaic([labelled_raster(), labelled_raster(4, 4), labelled_raster(8, 8)])
    image, valid = joined.read(Window(0, 8, 4, 4))
    assert image.shape == (2, 4, 4)
    assert not valid.any()
    assert (joined.read_labels(Window(0, 8, 4, 4)) == IGNORE).all()
    assert (joined.name_at(9, 9), joined.member_at(9, 9)) == ("r8 c8", 2)
    assert (joined.name_at(0, 9), joined.member_at(0, 9)) == ("r0 c0 and 2 neighbours", None)


@given(st.lists(rectangles, max_size=6), rectangles)
def test_rectangles_are_a_set_of_pixels(windows: list[Window], window: Window) -> None:
    expected = np.zeros((window.height, window.width), bool)
    for row in range(window.height):
        for col in range(window.width):
            expected[row, col] = any(
                0 <= window.row + row - w.row < w.height and 0 <= window.col + col - w.col < w.width for w in windows
            )
    assert np.array_equal(Rectangles.of(windows).mask(window), expected)


def test_part_of_a_raster_shows_all_of_the_image_and_open_labels_only() -> None:
    whole = labelled_raster(0, 0, 9, 9)
    part = PartlyLabelled(whole, Rectangles.of([Window(0, 0, 6, 9)]), Rectangles.of([Window(4, 0, 9, 3)]))
    labels = part.read_labels(Window(2, 1, 6, 6))
    assert (labels[:2] == 1).all()
    assert (labels[2:4, :2] == IGNORE).all()
    assert (labels[2:4, 2:] == 1).all()
    assert (labels[4:] == IGNORE).all()
    assert np.array_equal(part.read(Window(2, 1, 6, 6))[0], whole.read(Window(2, 1, 6, 6))[0])
    assert (whole.labels == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_raster_in_memory_is_what_the_files_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, class_values: Any
) -> None:
    monkeypatch.setattr("geoseg.data.labelled_raster.ROWS_AT_ONCE", 16)
    rng = np.random.default_rng(0)
    image = write_raster(tmp_path / "i.tif", rng.integers(0, 9, (2, 50, 40)).astype(dtype), nodata=0)
    label = write_raster(tmp_path / "l.tif", class_values(50, 40), nodata=2)
    data = DataSpec(tiles=tmp_path / "x", bands=("a", "b"), band_indexes=(1, 2), dtype=dtype)
    files = open_pair(ListedRaster(image, label, None), data, class_specs(4))
    grid = PixelGrid(50, 40, files[0].info.transform, files[0].info.crs)
    disk = FileRaster("i.tif", grid, lambda: nullcontext(files))
    held = read_into_memory(disk)
    for window in (Window(0, 0, 50, 40), Window(7, 9, 30, 21), Window(49, 39, 1, 1)):
        for one, other in zip(disk.read(window), held.read(window), strict=True):
            assert np.array_equal(one, other)
            assert one.dtype == other.dtype
        assert np.array_equal(disk.read_labels(window), held.read_labels(window))
    held.read_labels(window)[:] = 9
    held.read(window)[0][:] = 9
    assert np.array_equal(disk.read_labels(window), held.read_labels(window))
    assert np.array_equal(disk.read(window)[0], held.read(window)[0])


class Files(nullcontext):  # type: ignore[type-arg]
    """Something to open that remembers whether it is."""

    def __init__(self) -> None:
        super().__init__(self)
        self.is_open = True

    def __exit__(self, *error: object) -> None:
        self.is_open = False


def test_a_shelf_keeps_what_was_read_last() -> None:
    pool, opened = FilePool(limit=2), []

    def opener() -> Any:
        opened.append((Files(), Files()))
        return opened[-1]

    for key in (1, 2, 1, 3, 1):
        with pool.using(key, opener):
            pass
    assert [[file.is_open for file in pair] for pair in opened] == [[True] * 2, [False] * 2, [True] * 2]
    pool.clear()
    assert not any(file.is_open for pair in opened for file in pair)
    with pool.using(1, opener) as again:
        assert again is not opened[0]


def test_files_that_are_being_read_stay_open() -> None:
    pool, opened = FilePool(limit=1), {key: (Files(), Files()) for key in (1, 2, 3)}
    with pool.using(1, lambda: opened[1]), pool.using(2, lambda: opened[2]):  # type: ignore[arg-type, return-value]
        assert all(file.is_open for key in (1, 2) for file in opened[key])
    with pool.using(3, lambda: opened[3]):  # type: ignore[arg-type, return-value]
        assert [opened[key][0].is_open for key in (1, 2, 3)] == [False, False, True]
