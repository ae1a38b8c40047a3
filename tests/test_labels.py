"""Label rasters: class ids become indexes, and what does not fit is one clear line."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.errors import LabelError
from geoseg.labels import PixelGrid, class_indexes, grid_of, read_labels
from geoseg.spec import IGNORE, ClassSpec

CLASSES = [ClassSpec(id=7, name="grass", color="#00ff00"), ClassSpec(id=2, name="water", color="#0000ff")]


def write(path: Path, values: np.ndarray, *, left: float = 0.0, crs: str | None = "EPSG:32631", nodata=None) -> Path:
    values = values if values.ndim == 3 else values[np.newaxis]
    count, height, width = values.shape
    grid = {"crs": crs, "transform": from_origin(left, 100, 0.5, 0.5), "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=values.dtype, **grid) as out:
        out.write(values)
    return path


def grid(path: Path) -> PixelGrid:
    with rasterio.open(path) as dataset:
        return grid_of(dataset)


def test_ids_become_places_in_the_list_of_classes() -> None:
    assert class_indexes(np.array([[7, 2, 255]], np.uint8), CLASSES).tolist() == [[0, 1, IGNORE]]


def test_nodata_is_ignored_unless_it_is_a_class() -> None:
    assert class_indexes(np.array([7, 0]), CLASSES, nodata=0).tolist() == [0, IGNORE]
    assert class_indexes(np.array([7, 2]), CLASSES, nodata=2).tolist() == [0, 1]


def test_an_unknown_id_is_named_with_file_and_remedy() -> None:
    with pytest.raises(LabelError, match=r"tile\.tif: class id 3, 9 is unknown; .* 7 grass, 2 water: add it"):
        class_indexes(np.array([9, 3, 7]), CLASSES, source="tile.tif")


def test_labels_are_read_on_the_grid_of_their_image(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.tif", np.array([[7, 2]], np.uint8))
    assert read_labels(path, grid(path), CLASSES, image=path).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("shape", "options"),
    [((2, 3), {}), ((2, 2), {"left": 0.5}), ((2, 2), {"crs": "EPSG:32632"}), ((2, 2), {"crs": None})],
)
def test_another_grid_is_refused(tmp_path: Path, shape: tuple[int, int], options: dict) -> None:
    image = write(tmp_path / "image.tif", np.zeros((2, 2), np.uint8))
    labels = write(tmp_path / "labels.tif", np.full(shape, 7, np.uint8), **options)
    with pytest.raises(LabelError, match=r"labels\.tif is not on the grid of its image .*image\.tif: .*gdalwarp"):
        read_labels(labels, grid(image), CLASSES, image=image)


@pytest.mark.parametrize("values", [np.full((3, 2, 2), 7, np.uint8), np.full((2, 2), 7, np.float32)])
def test_labels_are_one_band_of_whole_numbers(tmp_path: Path, values: np.ndarray) -> None:
    path = write(tmp_path / "labels.tif", values)
    with pytest.raises(LabelError, match="one band of whole-number class ids"):
        read_labels(path, grid(path), CLASSES, image=path)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_text("no raster")
    somewhere = PixelGrid(1, 1, from_origin(0, 0, 1, 1), None)
    for name in ("missing.tif", "broken.tif"):
        with pytest.raises(LabelError, match=f"cannot read labels .*{name}"):
            read_labels(tmp_path / name, somewhere, CLASSES, image=tmp_path / "image.tif")
