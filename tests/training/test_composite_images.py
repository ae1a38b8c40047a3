"""Training images of one file per band, in configs and lists."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rasterio.transform import from_origin
from support.rasters import write_raster
from support.servers import serving_apart

from geoseg.cli.early_checks import read_train_config
from geoseg.core.errors import GeosegError, LabelError, SceneError, SpecError
from geoseg.data.listing import list_rasters
from geoseg.geo.grid import Window
from geoseg.raster.gdal import gdal_settings
from geoseg.scenes.products.sentinel2 import write_example as sentinel2
from geoseg.spec import DataSpec, TrainSpec, load_train_spec
from geoseg.training.data.stored_statistics import fingerprint
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.run.provenance import without_folders

SIDE = 128
BANDS = {"red": "red.tif", "swir": "swir.tif"}


def write_bands(folder: Path, seed: int = 0, place: int = 0) -> dict[str, np.ndarray]:
    """Write red of 10 m, swir of 20 m, and labels, 2 km further for each place."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    x = 300_000 + 2_000 * place
    red = rng.integers(1, 200, (SIDE, SIDE), np.uint8)
    swir = np.full((SIDE // 2, SIDE // 2), 7 + seed, np.uint8)
    write_raster(folder / "red.tif", red, transform=from_origin(x, 4_300_000, 10, 10))
    write_raster(folder / "swir.tif", swir, transform=from_origin(x, 4_300_000, 20, 20))
    labels = rng.integers(0, 2, (SIDE, SIDE), np.uint8)
    write_raster(folder / "labels.tif", labels, transform=from_origin(x, 4_300_000, 10, 10))
    return {"red": red, "swir": swir, "labels": labels}


def config(folder: Path, data: dict[str, Any]) -> Path:
    split = {"by": "blocks", "block_px": 64, "val_share": 0.3, "guard_px": 0}
    values = {
        "name": "m",
        "data": {"bands": ["swir", "red"], "split": split} | data,
        "classes": [{"id": i, "name": f"c{i}", "color": f"#{i}0{i}0{i}0"} for i in range(2)],
        "network": {"architecture": "pointwise", "multiple": 1},
        "window": 32,
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "c.yaml"


def load(folder: Path, data: dict[str, Any]) -> TrainSpec:
    return load_train_spec(config(folder, data))


def pixels(found: TrainingData) -> np.ndarray:
    (mosaic,) = found.train.rasters
    return mosaic.read(Window(0, 0, SIDE, SIDE))[0]


@pytest.mark.parametrize("memory_mb", [0, 100])
def test_an_image_may_be_a_file_for_each_band(tmp_path: Path, memory_mb: int) -> None:
    values = write_bands(tmp_path / "in")
    image = {name: f"in/{file}" for name, file in BANDS.items()}
    spec = load(tmp_path, {"scenes": [{"image": image, "label": "in/labels.tif"}], "memory_mb": memory_mb})
    found = pixels(read_training_data(spec))
    np.testing.assert_array_equal(found[1], values["red"])
    assert (found[0] == 7).all()


def test_one_band_alone_may_be_named_too(tmp_path: Path) -> None:
    write_bands(tmp_path)
    scene = {"image": {"height": "red.tif"}, "label": "labels.tif"}
    spec = load(tmp_path, {"scenes": [scene], "bands": ["height"]})
    assert len(pixels(read_training_data(spec))) == 1


def test_patterns_may_be_given_for_each_band(tmp_path: Path) -> None:
    for place in range(3):
        write_bands(tmp_path / f"in/t{place}", seed=place, place=place)
    images = {name: f"in/t[01]/{file}" for name, file in BANDS.items()}
    spec = load(tmp_path, {"images": images, "labels": "in/t*/labels.tif"})
    found = list_rasters(spec.data)
    assert [str(one.image) for one in found] == [
        f"red={tmp_path}/in/t{i}/red.tif+swir={tmp_path}/in/t{i}/swir.tif" for i in range(2)
    ]
    assert [one.label for one in found] == [tmp_path / f"in/t{i}/labels.tif" for i in range(2)]
    assert read_training_data(spec).train.images == 2


def test_a_list_may_name_files_for_each_band(tmp_path: Path) -> None:
    write_bands(tmp_path / "in")
    (tmp_path / "in/tiles.csv").write_text("image,label\nred.tif+swir.tif,labels.tif\n", encoding="utf-8")
    assert len(pixels(read_training_data(load(tmp_path, {"tiles": "in/tiles.csv"})))) == 2


def test_a_missing_file_of_a_pattern_is_named(tmp_path: Path) -> None:
    for place in range(2):
        write_bands(tmp_path / f"t{place}", place=place)
    (tmp_path / "t1/swir.tif").unlink()
    images = {name: f"t*/{file}" for name, file in BANDS.items()}
    with pytest.raises(LabelError, match=r"has no file at .*t1/swir\.tif: check data\.images"):
        list_rasters(load(tmp_path, {"images": images, "labels": "t*/labels.tif"}).data)
    with pytest.raises(LabelError, match=r"no image matches .*x\*/red\.tif"):
        list_rasters(load(tmp_path, {"images": {"red": "x*/red.tif"}, "labels": "t*/labels.tif"}).data)


def test_a_missing_file_of_an_image_is_named_before_anything_is_read(tmp_path: Path) -> None:
    write_bands(tmp_path)
    image = {"red": "red.tif", "swir": "swirr.tif"}
    with pytest.raises(SceneError, match=r"no scene at .*swirr\.tif: check the path"):
        read_train_config(config(tmp_path, {"scenes": [{"image": image, "label": "labels.tif"}]}))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({}, r"give the path of an image, or one for each band"),
        ({"red": 3}, r"band red: give the path of its file"),
        ({"a/b": "x.tif"}, r"is no name of a band"),
        (["red.tif"], r"a path"),
    ],
)
def test_wrong_images_are_refused_in_one_line(tmp_path: Path, image: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(tmp_path, {"scenes": [{"image": image, "label": "labels.tif"}]})
    assert "\n" not in str(caught.value)


def test_a_product_may_be_an_image(tmp_path: Path) -> None:
    product = sentinel2(tmp_path)
    labels = np.random.default_rng(0).integers(0, 2, (192, 192), np.uint8)
    write_raster(tmp_path / "labels.tif", labels, crs="EPSG:32632", transform=from_origin(600_000, 5_000_000, 10, 10))
    data = {"scenes": [{"image": product.name, "label": "labels.tif"}], "bands": ["nir", "red"], "dtype": "uint16"}
    found = read_training_data(load(tmp_path, data))
    assert found.scaling is not None
    assert found.scaling.offset == pytest.approx((-0.1, -0.1))


def test_statistics_are_counted_anew_when_any_file_changes(tmp_path: Path) -> None:
    write_bands(tmp_path)
    spec = load(tmp_path, {"scenes": [{"image": BANDS, "label": "labels.tif"}]})
    for name in ("red.tif", "swir.tif", "labels.tif"):
        before = fingerprint(list_rasters(spec.data), spec)
        assert fingerprint(list_rasters(spec.data), spec) == before
        os.utime(tmp_path / name, ns=(5, 5))
        assert fingerprint(list_rasters(spec.data), spec) != before


def test_the_record_of_a_run_names_files_without_folders(tmp_path: Path) -> None:
    spec = load(tmp_path, {"scenes": [{"image": BANDS, "label": "labels.tif"}]})
    assert str(without_folders(spec.data).scenes[0].image) == "red=red.tif+swir=swir.tif"
    patterns = DataSpec.model_validate({"images": {"red": "/d/a*.tif"}, "labels": "/d/b*.tif", "bands": ["red"]})
    assert without_folders(patterns).images == "red=a*.tif+"


# ------------------------------------------------------------------------------------- archives and servers in configs


def test_members_of_an_archive_are_relative_to_the_config(tmp_path: Path) -> None:
    values = write_bands(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "tiles.zip", "w") as archive:
        for name in ("red.tif", "swir.tif", "labels.tif"):
            archive.write(tmp_path / "in" / name, f"deep/{name}")
    image = {name: f"/vsizip/tiles.zip/deep/{file}" for name, file in BANDS.items()}
    label = "/vsizip/tiles.zip/deep/labels.tif"
    np.testing.assert_array_equal(
        pixels(read_training_data(load(tmp_path, {"scenes": [{"image": image, "label": label}]})))[1], values["red"]
    )
    single = {"images": "/vsizip/tiles.zip/deep/red.tif", "labels": label, "bands": ["red"]}
    assert len(pixels(read_training_data(load(tmp_path, single)))) == 1


@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_files_on_a_server_may_be_images(tmp_path: Path, prefix: str) -> None:
    values = write_bands(tmp_path / "in")
    with serving_apart(tmp_path / "in") as server, gdal_settings():
        image = {name: f"{prefix}{server}/{file}" for name, file in BANDS.items()}
        scene = {"image": image, "label": f"{prefix}{server}/labels.tif"}
        found = pixels(read_training_data(load(tmp_path, {"scenes": [scene]})))
        np.testing.assert_array_equal(found[1], values["red"])
        single = {"images": f"{prefix}{server}/red.tif", "labels": f"{prefix}{server}/labels.tif", "bands": ["red"]}
        assert len(pixels(read_training_data(load(tmp_path, single)))) == 1
        with pytest.raises(GeosegError, match="patterns are for files"):
            list_rasters(load(tmp_path, single | {"images": f"{prefix}{server}/*.tif"}).data)
