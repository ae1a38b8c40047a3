"""Splits: what is learnt from never touches what is scored, and every labelled cell is on one side."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.areas import Rectangles
from geoseg.data.class_statistics import CELL_PX, ClassStatistics
from geoseg.data.clusters import PlacedImage, number_clusters
from geoseg.data.listing import ListedRaster
from geoseg.data.splits import CountedRaster, RasterSplit, how_to_split, split_rasters
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import SplitSpec

UTM17, UTM18, DEGREES = (CRS.from_epsg(code) for code in (32617, 32618, 4326))
PLACE = Affine(0.5, 0, 300_000, 0, -0.5, 4_300_000)
NOWHERE = Affine.identity()


def raster(
    height: int = 200, width: int = 200, *, row: float = 0, col: float = 0, crs: CRS | None = UTM17,
    split: str | None = None, name: str = "", transform: Affine | None = None, labelled: float = 1.0, seed: int = 0,
    classes: int = 2,
) -> CountedRaster:  # fmt: skip
    """An image placed in pixels of half a metre, of whose cells a share is labelled."""
    place = PLACE @ Affine.translation(col, row) if transform is None else transform
    rng = np.random.default_rng(seed)
    cells = np.array([(r, c) for r in range(0, height, CELL_PX) for c in range(0, width, CELL_PX)])
    cells = cells[rng.random(len(cells)) < labelled]
    values = np.zeros((len(cells), 1))
    counts = rng.integers(0, 500, (len(cells), classes)) + 1
    path = Path(f"/data/{name or (row, col)}.tif")
    grid = PixelGrid(height, width, place, crs)
    return CountedRaster(
        ListedRaster(path, path, split), grid, ClassStatistics(cells, counts, *(values,) * 4, np.zeros(len(cells), int))
    )


def learnt_pixels(raster: CountedRaster, share: RasterSplit) -> np.ndarray:
    """Row and column (N, 2) of every labelled pixel that is learnt from."""
    return labelled_pixels(raster, share.train, share.closed)


def labelled_pixels(raster: CountedRaster, opened: Sequence[Window], closed: Sequence[Window]) -> np.ndarray:
    """Row and column (N, 2) of every labelled pixel in some windows and not in others."""
    everything = raster.everything
    mask = Rectangles.of(opened).mask(everything) & ~Rectangles.of(closed).mask(everything)
    cells = [Window(int(r), int(c), CELL_PX, CELL_PX) for r, c in raster.statistics.cells]
    return np.argwhere(mask & Rectangles.of(cells).mask(everything))


def touches(pixels: np.ndarray, reach: int, rows: tuple[float, float], cols: tuple[float, float]) -> bool:
    """Whether a window of side `reach` that shows one of the pixels (N, 2) may show a rectangle."""
    near = (pixels[:, 0] - reach + 1 < rows[1] - 1e-6) & (pixels[:, 0] + reach > rows[0] + 1e-6)
    near &= (pixels[:, 1] - reach + 1 < cols[1] - 1e-6) & (pixels[:, 1] + reach > cols[0] + 1e-6)
    return bool(near.any())


def in_pixels(grid: PixelGrid, xs: Any, ys: Any) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates -> row and column, as real numbers."""
    back, x, y = ~grid.transform, np.array(xs), np.array(ys)
    return back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c


def check_guard(rasters: list[CountedRaster], splits: list[RasterSplit], reach: int) -> None:
    """No window of side `reach` with a pixel that is learnt from shows validation or test pixels of any image, and no
    pixel that is validated is a test pixel of any image."""
    for learner, share in zip(rasters, splits, strict=True):
        pixels, validated = learnt_pixels(learner, share), labelled_pixels(learner, share.val, share.tested)
        for other, its_share in zip(rasters, splits, strict=True):
            same_place = (
                learner.grid.is_georeferenced and other.grid.is_georeferenced and learner.grid.crs == other.grid.crs
            )
            if learner.file != other.file and not same_place:
                continue
            for window in (*its_share.val, *its_share.test):
                rows, cols = (window.row, window.row + window.height), (window.col, window.col + window.width)
                if learner.file != other.file:
                    left, bottom, right, top = other.grid.box(window)
                    rows, cols = (sorted(found) for found in in_pixels(learner.grid, [left, right], [bottom, top]))
                assert not touches(pixels, reach, tuple(rows), tuple(cols))
                assert window not in its_share.test or not touches(validated, 1, tuple(rows), tuple(cols))


@st.composite
def layouts(draw: Any) -> list[CountedRaster]:
    """Images that overlap, touch or lie apart, of several pixel sizes, some without a place or with a twin."""
    rasters = []
    for index in range(draw(st.integers(2, 6))):
        row, col = (draw(st.integers(-300, 300) | st.floats(-300, 300)) for _ in range(2))
        place = PLACE @ Affine.translation(col, row) @ Affine.scale(draw(st.sampled_from([1, 1, 1, 2, 0.7])))
        where = draw(st.sampled_from(["utm", "utm", "utm", "no crs", "nowhere", "twin"]))
        name = f"image {index - 1 if where == 'twin' and index else index}"
        split = draw(st.sampled_from(["train", "train", "val", "val", "test"])) if where != "nowhere" else "train"
        rasters.append(
            raster(
                draw(st.integers(20, 260)),
                draw(st.integers(20, 260)),
                crs={"no crs": None, "nowhere": None}.get(where, UTM17),
                transform=NOWHERE if where == "nowhere" else place,
                name=name,
                split=split,
                labelled=draw(st.sampled_from([0.3, 1.0])),
                seed=index,
            )
        )
    for index, one in enumerate(rasters):  # twins are one file, so they have one grid
        for other in rasters[index + 1 :]:
            if one.file == other.file:
                vars(other).update(grid=one.grid, statistics=one.statistics)
    return rasters


whole_cells = st.builds(lambda cells, more: CELL_PX * cells + more, st.integers(0, 4), st.integers(1, 3))
reaches = st.integers(1, 150) | whole_cells
"""Sides of windows; those of whole cells and a bit leave nothing to what rounding to cells adds to the guard band."""


@settings(deadline=None, max_examples=150)
@given(
    layouts(), st.sampled_from(["column", "blocks", "scene"]), st.sampled_from([0, 0, 0.3]), reaches, st.integers(0, 3)
)
def test_no_training_window_shows_what_is_scored(
    layout: list[CountedRaster], by: str, test_share: float, reach: int, seed: int
) -> None:
    is_drawn = by != "column" and not any(image.entry.split == "test" for image in layout)
    spec = SplitSpec(by=by, block_px=64, val_share=0.3, seed=seed, test_share=test_share if is_drawn else 0)
    try:
        splits = split_rasters(layout, spec, reach)
    except LabelError:
        return
    check_guard(layout, splits, reach)
    for image, share in zip(layout, splits, strict=True):
        sides = np.stack([image.statistics.inside(windows) for windows in (share.train, share.val, share.test)])
        assert (sides.sum(axis=0) == 1).all(), "every labelled cell is on one side"
        for window in (*share.train, *share.val, *share.closed, *share.test, *share.tested):
            assert window.pixels
            for edge, end in ((window.row, 0), (window.col, 0), (window.row + window.height, image.grid.height),
                              (window.col + window.width, image.grid.width)):  # fmt: skip
                assert edge % CELL_PX == 0 or edge == end


@pytest.mark.parametrize("learner", [UTM17, UTM18, DEGREES, CRS.from_epsg(3857)])
@pytest.mark.parametrize("scored", [UTM17, UTM18, DEGREES])
def test_no_training_window_shows_validation_ground_of_another_crs(learner: CRS, scored: CRS) -> None:
    """Four images around the border of two UTM zones, some of them overlapping."""
    lon, lat = -78.0, 40.0
    rasters = []
    images = (learner, "train", -40), (scored, "val", 60), (learner, "train", 300), (scored, "val", 0)
    for crs, split, shift in images:
        (x,), (y,) = transform_points(DEGREES, crs, [lon], [lat])
        step = 10 / 111_000 if crs.is_geographic else 10.0
        place = Affine(step, 0, x + shift * step, 0, -step, y + shift * step / 2)
        rasters.append(raster(250, 180, crs=crs, split=split, transform=place, name=f"{crs} {split} {shift}"))
    reach = 70
    splits = split_rasters(rasters, SplitSpec(), reach)
    assert sum(len(learnt_pixels(*pair)) for pair in zip(rasters, splits, strict=True)) > 5000
    for image, share in zip(rasters[::2], splits[::2], strict=True):
        pixels = learnt_pixels(image, share)
        for other in rasters[1::2]:
            rows, cols = np.mgrid[0:251:10, 0:181:10].reshape(2, -1)
            xs, ys = zip(*(other.grid.xy(c, r) for r, c in zip(rows, cols, strict=True)), strict=True)
            found = np.stack(in_pixels(image.grid, *transform_points(other.grid.crs, image.grid.crs, xs, ys)), axis=1)
            for row, col in found[(np.abs(found) < 1000).all(axis=1)]:
                assert not touches(pixels, reach, (row, row), (col, col))


def test_a_rotated_image_is_guarded_too() -> None:
    leaning = raster(200, 200, split="val", transform=PLACE @ Affine.rotation(30), name="leaning")
    straight = raster(400, 400, row=-200, col=-200, split="train", name="straight")
    rasters = [leaning, straight]
    splits = split_rasters(rasters, SplitSpec(), 20)
    pixels = learnt_pixels(straight, splits[1])
    corners = [leaning.grid.xy(c, r) for r in range(0, 201, 10) for c in range(0, 201, 10)]
    for row, col in np.stack(in_pixels(straight.grid, *zip(*corners, strict=True)), axis=1):
        assert not touches(pixels, 20, (row, row), (col, col))
    assert len(pixels) > 10_000


def test_without_a_guard_only_the_validation_ground_itself_is_closed() -> None:
    rasters = [raster(256, 256, split="train"), raster(64, 64, row=96, col=96, split="val")]
    train, _ = split_rasters(rasters, SplitSpec(), 0)
    assert train.closed == (Window(96, 96, 64, 64),)


def test_a_random_split_closes_nothing() -> None:
    rasters = [raster(col=200 * i) for i in range(6)]
    assert not any(share.closed for share in split_rasters(rasters, SplitSpec(by="random"), 99))


# ------------------------------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("crs", [UTM17, None])
def test_all_images_of_a_block_go_to_one_side(crs: CRS | None) -> None:
    """Two images of the same area, 37 pixels apart: they differ by less than a cell at the borders of blocks."""
    rasters = [raster(1000, 1000, crs=crs, name="one"), raster(900, 800, row=37, col=91, crs=crs, name="other")]
    one, other = split_rasters(rasters, SplitSpec(block_px=128, val_share=0.4), 0)
    common = Window(37, 91, 900, 800)
    a, b = Rectangles.of(one.val).mask(common), Rectangles.of(other.val).mask(rasters[1].everything)
    assert 0.2 < a.mean() < 0.6
    assert (a != b).mean() < 0.25
    rows, cols = (np.arange(37, 937) - 8_600_000) % 128, (np.arange(91, 891) + 600_000) % 128
    inner = np.zeros_like(a)  # a cell and more inside of a block
    inner[np.ix_((rows >= 32) & (rows < 96), (cols >= 32) & (cols < 96))] = True
    assert (a[inner] == b[inner]).all()


def test_blocks_share_ground_and_classes_evenly() -> None:
    image = raster(3200, 3200, classes=3)
    rare = np.random.default_rng(1).random(len(image.statistics.cells)) < 0.02
    image.statistics.counts[:, 2] = np.where(rare, 50, 0)
    (share,) = split_rasters([image], SplitSpec(block_px=256, val_share=0.2), 0)
    found = image.statistics.counts[image.statistics.inside(share.val)].sum(axis=0) / image.statistics.class_counts
    assert found == pytest.approx([0.2] * 3, abs=0.03)


def test_the_seed_draws_the_blocks() -> None:
    def val(seed: int) -> set[Window]:
        return set(split_rasters([raster(1000, 1000)], SplitSpec(block_px=128, seed=seed), 0)[0].val)

    assert val(1) == val(1)
    assert val(1) != val(2)


def test_images_without_a_place_are_split_into_blocks_of_their_own() -> None:
    rasters = [raster(300, 300, transform=NOWHERE, crs=None, name=name) for name in ("a", "b")]
    splits = split_rasters(rasters, SplitSpec(block_px=128, val_share=0.5), 10)
    check_guard(rasters, splits, 10)
    assert {window for share in splits for window in share.val}


def test_one_image_labelled_twice_is_one_ground_even_without_a_place() -> None:
    """Two label files for one JPEG: what one of them shows of a validation block is closed for the other."""
    rasters = [raster(600, 600, transform=NOWHERE, crs=None, name="same", labelled=0.2, seed=i) for i in range(2)]
    for by in ("blocks", "scene"):
        others = [raster(transform=NOWHERE, crs=None, name=f"other {i}") for i in range(3)]
        splits = split_rasters([*rasters, *others], SplitSpec(by=by, block_px=128, val_share=0.3), 40)
        check_guard([*rasters, *others], splits, 40)
        assert (not splits[0].val) == (not splits[1].val)


# ------------------------------------------------------------------------------------------------------------- scenes


@pytest.mark.parametrize("by", ["scene", "random"])
def test_scenes_go_to_one_side_as_a_whole(by: str) -> None:
    rasters = [raster(100, 100 + 10 * i, row=5000 * i) for i in range(10)]
    splits = split_rasters(rasters, SplitSpec(by=by, val_share=0.3), 50)
    for image, share in zip(rasters, splits, strict=True):
        assert share.train + share.val == (image.everything,)
    assert sum(bool(share.val) for share in splits) == 3


def sides_of(rasters: list[CountedRaster], **split: Any) -> list[str]:
    """The side of each whole image."""
    found = split_rasters(rasters, SplitSpec(**split), guard_px=0)
    return ["".join(name for name in ("train", "val", "test") if getattr(one, name)) for one in found]


def chain(cols: Sequence[int], **place: Any) -> list[CountedRaster]:
    """Images of 100 m in a row, given where they begin, in pixels of half a metre."""
    return [raster(col=col, name=f"{col}{place}", seed=col, **place) for col in cols]


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_and_what_they_link_go_to_one_side(seed: int) -> None:
    """Three clusters: of 200 px images 60 px apart, one 300 px farther, and two that touch."""
    rasters = chain([0, 260, 520, 1020, 1520, 1720])
    found = sides_of(rasters, by="clusters", cluster_gap_m=40, val_share=0.3, seed=seed)
    assert len(set(found[:3])) == 1
    assert len(set(found[4:])) == 1
    assert set(found) == {"train", "val"}
    dealt = {
        tuple(sides_of(rasters, by="clusters", cluster_gap_m=40, folds=3, fold=fold, seed=seed)) for fold in (1, 2, 3)
    }
    assert len(dealt) == 3
    assert [sum(one[image] == "val" for one in dealt) for image in range(6)] == [1] * 6


def test_the_gap_is_in_metres_whatever_the_coordinates() -> None:
    """The same images in degrees, where a pixel of half a metre is 5.8 millionths of a degree of longitude."""
    for gap_m, clusters in ((25, 2), (60, 1)):
        placed = [PlacedImage(one.grid, (one.file,)) for one in chain([0, 280])]
        lon, lat = -83.0, 38.0
        east = 0.5 / (111_320 * np.cos(np.radians(lat)))
        degrees = [
            PlacedImage(PixelGrid(200, 200, Affine(east, 0, lon + col * east, 0, -0.5 / 110_990, lat), DEGREES), (col,))
            for col in (0, 280)
        ]
        for images in (placed, degrees):
            assert number_clusters(images, gap_m).max() + 1 == clusters


@pytest.mark.parametrize(
    ("crs", "size", "start", "step", "gap_m", "clusters"),
    [
        (4326, (0.001, 0.001), (20, 80), (0, 0.12), 500, 2),  # 0.02 degrees of 111.7 km
        (4326, (0.001, 0.001), (20, 80), (0.12, 0), 350, 2),
        (4326, (0.001, 0.001), (20, 80), (0.12, 0), 400, 1),  # 0.02 degrees of 19.4 km
        (4326, (0.001, 0.001), (20, 80), (0, 0.105), 500, 2),  # 0.005 degrees of 111.7 km
        (4326, (0.001, 0.001), (20, 80), (0, 0.105), 600, 1),
        (3857, (100, 100), (0, 8_399_738), (10_900, 0), 500, 1),  # at 60 degrees a metre of the map is half a metre
        (3857, (100, 100), (0, 8_399_738), (10_900, 0), 400, 2),
        (32633, (1000, 1000), (4e5, 5e6), (101_000, 0), 0, 2),
        (32633, (1000, 1000), (4e5, 5e6), (100_000, 0), 0, 1),
        (32633, (1000, 1000), (4e5, 5e6), (101_000, 0), 1000, 1),
        (32633, (1000, 10), (4e5, 5e6), (0, 1010), 0, 2),
        (32633, (10, 1000), (4e5, 5e6), (1000, 105_000), 400, 2),
        (4326, (0.001, 0.001), (179.9, 10), (-359.9, 0), 0, 1),  # touch at 180 degrees
        (4326, (0.001, 0.001), (179.89, 10), (-359.88, 0), 500, 2),
        (4326, (0.001, 0.001), (179.9, 10), (0.1, 0), 0, 1),
    ],
)  # fmt: skip
def test_the_gap_is_measured_along_each_axis_on_the_ground(
    crs: int, size: tuple[float, float], start: tuple[float, float], step: tuple[float, float], gap_m: float,
    clusters: int,
) -> None:  # fmt: skip
    """Images of 100 px."""
    places = [start, (start[0] + step[0], start[1] + step[1])]
    images = [
        PlacedImage(PixelGrid(100, 100, Affine(size[0], 0, x, 0, -size[1], y), CRS.from_epsg(crs)), ((x, y),))
        for x, y in places
    ]
    assert number_clusters(images, gap_m).max() + 1 == clusters


def test_a_cluster_that_is_given_as_test_in_part_is_refused() -> None:
    first, second, *others = chain([0, 260, 5000, 10_000])
    rasters = [replace(first, entry=replace(first.entry, split="test")), second, *others]
    with pytest.raises(
        LabelError, match=r"0\{\}.tif is given as test, but .*260\{\}.tif of its cluster is not: give all"
    ):
        sides_of(rasters, by="clusters", cluster_gap_m=40)
    assert sides_of(rasters, by="clusters", cluster_gap_m=20)[0] == "test"


def test_images_of_two_coordinate_systems_may_be_neighbours() -> None:
    x, y = transform_points(UTM17, UTM18, [300_100.0], [4_300_000.0])
    here = raster(name="a")
    there = raster(name="b", crs=UTM18, transform=Affine(0.5, 0, x[0] + 20, 0, -0.5, y[0]))
    images = [PlacedImage(one.grid, (one.file,)) for one in (here, there)]
    assert number_clusters(images, 100).tolist() == [0, 0]
    assert number_clusters(images, 1).tolist() == [0, 1]


def test_images_without_a_place_are_clusters_of_their_own_unless_of_one_group() -> None:
    images = [PlacedImage(raster(name=n, crs=None, transform=NOWHERE).grid, (n, *group)) for n, group in (
        ("a", ()), ("b", ("north",)), ("c", ()), ("d", ("north",)),
    )]  # fmt: skip
    assert number_clusters(images, 1e6).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("by", ["scene", "clusters"])
@pytest.mark.parametrize("seed", range(4))
def test_images_of_one_group_go_to_one_side(by: str, seed: int) -> None:
    rasters = [
        replace(one, entry=replace(one.entry, group=group))
        for one, group in zip(chain([0, 5000, 10_000, 15_000, 20_000, 25_000]), "abacbc", strict=True)
    ]
    found = sides_of(rasters, by=by, val_share=0.4, seed=seed)
    assert found[0] == found[2]
    assert found[1] == found[4]
    assert found[3] == found[5]
    assert set(found) == {"train", "val"}


def test_a_group_that_is_given_as_test_in_part_is_refused() -> None:
    first, second, third = chain([0, 5000, 10_000])
    rasters = [
        replace(first, entry=replace(first.entry, group="a", split="test")),
        replace(second, entry=replace(second.entry, group="a")),
        third,
    ]
    for by in ("scene", "clusters", "none"):
        with pytest.raises(LabelError, match="group a has images that are given as test, and others"):
            sides_of(rasters, by=by)


def test_one_cluster_cannot_be_split() -> None:
    with pytest.raises(LabelError, match=r"1 of the clusters, 500 m apart, has labels.*lower data.split.cluster_gap_m"):
        sides_of(chain([0, 200, 400]), by="clusters")


def test_groups_are_for_whole_images() -> None:
    with pytest.raises(ValueError, match="group_column does not go with by: blocks: take scene or clusters"):
        SplitSpec(by="blocks", group_column="town")
    assert SplitSpec(by="none", group_column="town").group_column == "town"  # as of the final model of folds


def test_images_without_labels_are_on_no_side() -> None:
    rasters = [raster(row=999 * i, labelled=float(i != 1)) for i in range(4)]
    for by in ("scene", "blocks"):
        assert split_rasters(rasters, SplitSpec(by=by, block_px=64), 0)[1] == RasterSplit((), (), ())


# ------------------------------------------------------------------------------------------------- how, and what not


@pytest.mark.parametrize(
    ("splits", "by", "found"),
    [
        ("train val", "auto", "column"),
        ("- -", "auto", "blocks"),
        ("train val", "blocks", "blocks"),
        ("train -", "scene", "scene"),
        ("- -", "random", "random"),
        ("train -", "auto", "has no split: give train or val in column split, or let geoseg split"),
        ("- train", "column", "data.split.by = 'column', but /data/0.tif has no split"),
    ],
)
def test_how_ground_is_split(splits: str, by: str, found: str) -> None:
    rasters = [
        raster(name=str(i), split=None if split == "-" else split) for i, split in enumerate(splits.split())
    ]  # fmt: skip
    if " " in found:
        with pytest.raises(SpecError, match=found) as caught:
            how_to_split(rasters, SplitSpec(by=by))
        assert "\n" not in str(caught.value)
    else:
        assert how_to_split(rasters, SplitSpec(by=by)) == found


@pytest.mark.parametrize(
    ("rasters", "spec", "said"),
    [
        ([raster(split="train")] * 2, {}, "no labelled image has split val: write val in that column for some tiles"),
        ([raster(split="train"), raster(split="val", labelled=0)], {}, "no labelled image has split val"),
        ([raster(split="val")] * 2, {}, "no labelled image has split train"),
        ([raster(transform=NOWHERE)], {"block_px": 512}, "1 of the blocks of 512 px has labels, .*lower data.split.b"),
        ([raster()], {"by": "scene"}, "1 of the images has labels, .*split by blocks"),
        ([raster(labelled=0)], {}, "0 of the blocks"),
        (
            [raster(transform=NOWHERE, crs=None, name="a", split=split) for split in ("train", "val")], {},
            "/data/a.tif is given for train and for val",
        ),
    ],
)  # fmt: skip
def test_ground_that_cannot_be_split(rasters: list[CountedRaster], spec: dict, said: str) -> None:
    with pytest.raises(LabelError, match=said) as caught:
        split_rasters(rasters, SplitSpec.model_validate(spec), 100)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("splits", "spec", "said"),
    [
        ("train val test", {"by": "scene", "test_share": 0.2}, "there is 1 image given as test: leave out one of both"),
        ("train val val", {"test_share": 0.2}, "there is a split given in column split: leave out one of both"),
        ("train val val", {"val_share": 0}, "val_share is 0, but the split is given"),
    ],
)
def test_a_test_side_is_given_or_drawn(splits: str, spec: dict, said: str) -> None:
    rasters = [raster(name=str(i), split=split) for i, split in enumerate(splits.split())]
    with pytest.raises(SpecError, match=said):
        split_rasters(rasters, SplitSpec.model_validate(spec), 0)


@pytest.mark.parametrize("by", ["blocks", "scene", "random", "none"])
def test_images_given_as_test_are_the_test_side_however_the_others_are_split(by: str) -> None:
    rasters = [raster(row=999 * i, name=str(i), split=split) for i, split in enumerate(["test", None, None, "train"])]
    splits = split_rasters(rasters, SplitSpec(by=by, block_px=64), 10)
    assert (splits[0].train, splits[0].val, splits[0].test) == ((), (), (rasters[0].everything,))
    assert not any(share.test for share in splits[1:])


def test_a_neighbour_of_a_test_image_is_guarded_from_in_a_random_split_too() -> None:
    rasters = [raster(col=200 * i, name=str(i), split="test" if i == 2 else None) for i in range(5)]
    splits = split_rasters(rasters, SplitSpec(by="random"), 40)
    for index, share in enumerate(splits):
        assert index == 2 or bool(share.closed) == (bool(share.train) and index in (1, 3))


def test_the_test_side_is_the_same_whatever_the_folds() -> None:
    rasters = [raster(row=999 * i, name=str(i), seed=i) for i in range(12)]
    base = {"by": "scene", "test_share": 0.25}
    changes: list[dict[str, Any]] = [
        {}, {"val_share": 0.4}, {"val_share": 0}, *({"folds": 3, "fold": fold} for fold in (1, 2, 3)),
    ]  # fmt: skip
    splits = [split_rasters(rasters, SplitSpec.model_validate(base | one), 0) for one in changes]
    tested = [[bool(share.test) for share in split] for split in splits]
    assert all(one == tested[0] for one in tested)
    assert sum(tested[0]) == 3
    validated = np.sum([[bool(share.val) for share in split] for split in splits[3:]], axis=0)
    assert validated.tolist() == [int(not one) for one in tested[0]], "every other image is in one fold"
    assert not any(share.val for share in splits[2]), "without validation the rest is learnt from"


def test_many_tiles_and_small_blocks_do_not_take_long() -> None:
    """Both are a fraction of a second; a loop over pairs would take minutes."""
    tiles = [raster(32, 32, row=32 * (i // 40), col=32 * (i % 40), seed=i) for i in range(1600)]
    assert len(split_rasters(tiles, SplitSpec(by="scene"), 64)) == 1600
    (share,) = split_rasters([raster(5120, 5120)], SplitSpec(block_px=64), 64)
    assert 1000 < len(share.val) < 1600
