"""A config for images and labels as they come, which trains as it is; what cannot be paired is one clear line."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from rasterio.transform import from_origin
from support.rasters import write_raster

from geoseg.cli.init import init as command
from geoseg.commands.evaluate import evaluate
from geoseg.commands.init import init
from geoseg.commands.predict import predict
from geoseg.commands.train import train
from geoseg.core.errors import LabelError, OutputError
from geoseg.data.listing import list_rasters
from geoseg.scenes import open_scene
from geoseg.scenes.products import PRODUCTS
from geoseg.spec import load_train_spec

SIDE = 96
SAMPLE = Path(__file__).parents[2] / "sample_data"
COLORS = np.array([[40, 160, 60], [60, 60, 170], [200, 190, 150]], np.uint8)
IDS = np.indices((SIDE, SIDE)).sum(axis=0) // 12 % 3
"""Diagonal stripes of three classes (H, W)."""


def write_pair(image: Path, label: Path, number: int = 0, **profile: Any) -> None:
    """Write an image that shows its classes, and a raster of their ids, 10 m apart for each number."""
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    values = np.moveaxis(COLORS[IDS], 2, 0) + rng.integers(0, 20, (3, SIDE, SIDE))
    place = {"crs": "EPSG:32631", "transform": from_origin(1000 * number, 0, 0.5, 0.5)}
    write_raster(image, values.astype(np.uint8), **place)
    write_raster(label, IDS[None].astype(np.uint8), **place, **profile)


def trained(config: Path, output: Path) -> Any:
    """Train a config for one epoch, with a small network."""
    return train(
        config, output, epochs=1, windows_per_epoch=8, window=32, batch_size=4, network={"architecture": "pointwise"},
        device="cpu", precision="fp32",
    )  # fmt: skip


LAYOUTS = {
    "images and masks": "images/{n} masks/{n}",
    "suffixes": "{n} {n}_mask",
    "whole names": "{n}/scene {n}/mask",
    "other suffixes": "{n}_image {n}-label",
    "prefixes": "image_{n} gt_{n}",
    "folders in folders": "img/a/{n} annotations/a/{n}, img/b/{n} annotations/b/{n}",
    "train and val": "train/images/{n} train/labels/{n} train, val/images/{n} val/labels/{n} val",
    "images before train": "images/train/{n} labels/train/{n} train, images/validation/{n} labels/validation/{n} val",
    "words of their own in folders": "imagery/{n}_rgb labels/{n}_lc_v2",
    "names in another case": "images/T{n}A labels/t{n}a",
    "short words": "img/a{n}_sat_x msk/a{n}_seg_v2",
    "joined words": "train_images/{n} train_masks/{n} train, val_images/{n} val_masks/{n} val",
    "as of VOC": "JPEGImages/{n} SegmentationClass/{n}",
    "as of mmsegmentation": "img_dir/train/{n} ann_dir/train/{n} train, img_dir/val/{n} ann_dir/val/{n} val",
}
"""Images, labels and sides of common layouts."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_common_layouts_are_paired_and_train_as_they_are(tmp_path: Path, layout: str) -> None:
    wanted = set()
    for group, words in enumerate(LAYOUTS[layout].split(", ")):
        image, label, *split = words.split()
        for number in range(3):
            paths = [tmp_path / "data" / f"{text.format(n=number)}.tif" for text in (image, label)]
            write_pair(*paths, number=10 * group + number)
            wanted.add((*paths, split[0] if split else None))
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    data = load_train_spec(result.config).data
    assert {(entry.image, entry.label, entry.split) for entry in list_rasters(data)} == wanted
    assert data.bands == ("red", "green", "blue")
    assert not Path(str(data.images or (data.scenes and data.scenes[0].image) or data.tiles)).is_relative_to("/data")
    assert trained(result.config, tmp_path / "run").val_pixels > 0


def test_without_validation_images_all_but_those_of_the_test_are_split(tmp_path: Path) -> None:
    for side, split in enumerate(("train", "test")):
        for number in range(3):
            paths = (tmp_path / "data" / split / kind / f"{number}.tif" for kind in ("images", "masks"))
            write_pair(*paths, number=100 * side + number)
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    listed = list_rasters(load_train_spec(result.config).data)
    assert Counter(one.split for one in listed) == {None: 3, "test": 3}
    assert result.split != "column"
    run = trained(result.config, tmp_path / "run")
    assert (run.test_images, run.val_pixels > 0) == (3, True)


def test_many_pairs_with_a_split_go_into_a_list_beside_the_config(tmp_path: Path) -> None:
    for side, split in enumerate(("train", "val", "test")):
        for number in range(11):
            paths = (tmp_path / "data" / split / kind / f"{number}.tif" for kind in ("images", "masks"))
            write_pair(*paths, number=100 * side + number)
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert result.tiles == tmp_path / "config_tiles.csv"
    assert result.tiles.read_text().splitlines()[:2] == [
        "image,label,split", "data/test/images/0.tif,data/test/masks/0.tif,test",
    ]  # fmt: skip
    listed = list_rasters(load_train_spec(result.config).data)
    assert Counter(one.split for one in listed) == {"train": 11, "val": 11, "test": 11}
    assert result.split == "column"


def test_the_folder_can_be_moved_with_its_config(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path / f"here/images/{number}.tif", tmp_path / f"here/masks/{number}.tif", number)
    init(tmp_path / "here", output=tmp_path / "here" / "config.yaml")
    shutil.move(tmp_path / "here", tmp_path / "there [1]")
    assert len(list_rasters(load_train_spec(tmp_path / "there [1]" / "config.yaml").data)) == 3


def test_the_sample_data_train_as_they_are(tmp_path: Path) -> None:
    result = init(SAMPLE, output=tmp_path / "config.yaml")
    assert result.classes == ("background", "building", "road", "bare land", "forest", "water")
    spec = load_train_spec(result.config)
    assert spec.data.bands == ("red", "green", "blue", "nir")
    assert {c.name: c.color for c in spec.classes}["water"] == "#2b7fd0"
    assert (result.split, spec.data.tiles is not None) == ("column", True)
    assert trained(result.config, tmp_path / "run").val_images == 8


def test_a_scene_with_a_raster_of_labels_is_split_by_blocks(tmp_path: Path) -> None:
    result = init(SAMPLE / "scene.tif", SAMPLE / "scene_labels.tif", tmp_path / "config.yaml")
    assert result.split == "blocks"
    assert trained(result.config, tmp_path / "run").scores.labelled_classes == 6


def write_polygons(path: Path, column: str = "crop", number: int = 12) -> None:
    shapes = [shapely.box(4 * i, -4 * i - 3, 4 * i + 3, -4 * i) for i in range(number)]
    table = {"fid_orig": range(number), column: [("maize", "lake", "wood")[i % 3] for i in range(number)], "area": 9.0}
    gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:32631").to_file(path)


def test_a_scene_with_few_polygons_is_split_by_them(tmp_path: Path) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "unused.tif")
    write_polygons(tmp_path / "fields.gpkg")
    result = init(tmp_path / "scene.tif", tmp_path / "fields.gpkg", tmp_path / "config.yaml")
    assert (result.split, result.classes) == ("polygons", ("lake", "maize", "wood"))
    assert "classes are those of the column crop" in result.notices[-1]
    text = result.config.read_text("utf-8")
    assert 'label_column: "crop"' in text
    assert "# What lies outside of the polygons is not learnt from." in text
    assert '{id: 0, name: "lake", color: "#2b7fd0"}  # 4 polygons' in text
    assert trained(result.config, tmp_path / "run").val_polygons == 3


def test_points_of_several_classes_are_labels_and_those_of_one_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "unused.tif")
    places = [shapely.Point(4 * i + 1.5, -4 * i - 1.5) for i in range(12)]
    table = gpd.GeoDataFrame({"crop": ["maize", "lake", "wood"] * 4}, geometry=places, crs="EPSG:32631")
    table.to_file(tmp_path / "points.gpkg")
    result = init(tmp_path / "scene.tif", tmp_path / "points.gpkg", tmp_path / "config.yaml")
    assert result.classes == ("lake", "maize", "wood")
    assert trained(result.config, tmp_path / "run").val_polygons == 3
    table.assign(crop="maize").to_file(tmp_path / "one.gpkg")
    with pytest.raises(LabelError, match="are of one class, and do not say what lies between them"):
        init(tmp_path / "scene.tif", tmp_path / "one.gpkg", tmp_path / "other.yaml")


@pytest.mark.parametrize("columns", [{"class": "building"}, {"osm_id": range(12)}, {"height": np.arange(12) / 7}])
def test_of_footprints_what_lies_outside_is_a_class_too(tmp_path: Path, columns: dict[str, Any]) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "unused.tif")
    shapes = [shapely.box(4 * i, -4 * i - 3, 4 * i + 3, -4 * i) for i in range(12)]
    table = gpd.GeoDataFrame({"id": range(12)} | columns, geometry=shapes, crs="EPSG:32631")
    table.to_file(tmp_path / "building.gpkg")
    result = init(tmp_path / "scene.tif", tmp_path / "building.gpkg", tmp_path / "config.yaml")
    assert result.classes == ("background", "building")
    assert result.split == "blocks"
    assert "what lies outside of them is taken for another, background" in result.notices[-1]
    assert trained(result.config, tmp_path / "run").scores.labelled_classes == 2


def test_numbers_of_footprints_are_no_classes(tmp_path: Path) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "unused.tif")
    shapes = [shapely.box(4 * i, -4 * i - 3, 4 * i + 3, -4 * i) for i in range(12)]
    for number, classes in ((range(12), ("background", "roofs")), ([1, 2] * 6, ("class 1", "class 2"))):
        table = gpd.GeoDataFrame({"osm_id": number}, geometry=shapes, crs="EPSG:32631")
        table.to_file(tmp_path / "roofs.gpkg")
        found = init(tmp_path / "scene.tif", tmp_path / "roofs.gpkg", tmp_path / "config.yaml", overwrite=True)
        assert found.classes == classes


def test_one_file_of_polygons_labels_all_images_of_a_folder(tmp_path: Path) -> None:
    for number in range(2):
        write_pair(tmp_path / f"data/{number}.tif", tmp_path / "unused.tif")
    write_polygons(tmp_path / "data" / "fields.gpkg")
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert result.images == 2
    write_polygons(tmp_path / "fields.gpkg")
    (tmp_path / "data" / "fields.gpkg").unlink()
    assert init(tmp_path / "data", tmp_path / "fields.gpkg", tmp_path / "other.yaml").images == 2


def test_a_file_for_each_band_is_one_scene(tmp_path: Path) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "unused.tif")
    write_polygons(tmp_path / "fields.gpkg")
    with rasterio.open(tmp_path / "scene.tif") as scene:
        (tmp_path / "s2").mkdir()
        for band, name in enumerate(("B04", "B03", "B02"), 1):
            place = {"crs": scene.crs, "transform": scene.transform}
            write_raster(tmp_path / "s2" / f"T32, {name}.tif", scene.read([band]), **place)
    shutil.copy(tmp_path / "fields.gpkg", tmp_path / "s2")
    result = init(tmp_path / "s2", output=tmp_path / "config.yaml")
    spec = load_train_spec(result.config)
    assert spec.data.bands == ("blue", "green", "red")
    assert len(spec.data.scenes) == 1
    assert trained(result.config, tmp_path / "run").val_pixels > 0


def labels_of(scene: Path, folder: Path) -> tuple[Path, Path]:
    """Write labels of a product's pixels: a raster of two classes, and four polygons."""
    with open_scene(scene) as opened:
        grid = opened.grid
    place = {"crs": grid.crs, "transform": grid.transform}
    values = np.indices((grid.height, grid.width))[1] * 2 // grid.width + 1
    raster = write_raster(folder / "classes.tif", values[None].astype(np.uint8), **place)
    left, bottom, right, top = grid.bounds
    side = (right - left) / 8
    boxes = [shapely.box(left + i * 2 * side, bottom, left + i * 2 * side + side, top) for i in range(4)]
    polygons = gpd.GeoDataFrame({"class": ["a", "b", "a", "b"]}, geometry=boxes, crs=grid.crs)
    polygons.to_file(folder / "polygons.gpkg")
    return raster, folder / "polygons.gpkg"


@pytest.mark.parametrize("kind", list(PRODUCTS))
def test_a_product_is_one_image_whose_bands_have_names(tmp_path: Path, kind: str) -> None:
    product = PRODUCTS.get(kind).example(tmp_path / "data")
    for labels in labels_of(product, tmp_path):
        result = init(product, labels, tmp_path / "config.yaml", overwrite=True)
        assert result.images == 1
        assert {"red", "green", "blue"} <= {*load_train_spec(result.config).data.bands}


def test_files_of_one_band_twice_are_no_images_by_themselves(tmp_path: Path) -> None:
    place = {"crs": "EPSG:32631", "transform": from_origin(0, 0, 0.5, 0.5)}
    for name in ("10m/T32_B02_10m", "10m/T32_B03_10m", "20m/T32_B02_20m"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        write_raster(tmp_path / "data" / f"{name}.tif", IDS[None].astype(np.uint8), **place)
    write_polygons(tmp_path / "fields.gpkg")
    with pytest.raises(LabelError, match=r"T32_B02_20m\.tif show one band of one place.*: name a file for each band"):
        init(tmp_path / "data", tmp_path / "fields.gpkg", tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({0: 0, 1: 255, 2: 255}, ("background", "foreground")),
        ({0: 1, 1: 2, 2: 255}, ("class 1", "class 2")),
        ({0: 111, 1: 112, 2: 523}, ("class 111", "class 112", "class 523")),
        ({0: 111, 1: 523, 2: 255}, ("class 111", "class 523")),
        ({0: -1, 1: 5, 2: 7}, ("class -1", "class 5", "class 7")),
    ],
)
def test_values_of_any_coding_become_classes(tmp_path: Path, values: dict[int, int], names: tuple[str, ...]) -> None:
    for number in range(3):
        image, label = tmp_path / f"data/{number}.tif", tmp_path / f"data/{number}_mask.tif"
        write_pair(image, label, number)
        coded = np.vectorize(values.get)(IDS)
        place = {"crs": "EPSG:32631", "transform": from_origin(1000 * number, 0, 0.5, 0.5)}
        write_raster(
            label, coded[None].astype(np.uint8 if coded.min() >= 0 and coded.max() < 256 else np.int16), **place
        )
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert result.classes == names
    run = trained(result.config, tmp_path / "run")
    assert run.val_pixels > 0
    classes = predict(tmp_path / "data/0.tif", tmp_path, model=run.bundle, device="cpu", polygons=False, preview=False)
    scores = evaluate(classes.paths["landcover"], tmp_path / "data/0_mask.tif").scores
    unlabelled = {255} if len(names) < len({*values.values()}) else set()
    assert scores.pixels == np.isin(IDS, [i for i in values if values[i] not in unlabelled]).sum()


def test_colours_of_pictures_become_classes(tmp_path: Path) -> None:
    for number in range(3):
        image, label = tmp_path / f"data/{number}.tif", tmp_path / f"data/{number}_mask.tif"
        write_pair(image, label, number)
        place = {"crs": "EPSG:32631", "transform": from_origin(1000 * number, 0, 0.5, 0.5)}
        write_raster(label, np.moveaxis(COLORS[IDS], 2, 0), **place)
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert result.classes == ("colour 28a03c", "colour 3c3caa", "colour c8be96")
    assert {c.color for c in load_train_spec(result.config).classes} == {"#28a03c", "#3c3caa", "#c8be96"}
    assert trained(result.config, tmp_path / "run").val_pixels > 0


def test_without_a_possible_split_all_is_learnt_from(tmp_path: Path) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "scene_mask.tif")
    one_each = [shapely.box(0, -3, 3, 0), shapely.box(20, -23, 23, -20)]
    table = {"class": ["a", "b"]}
    gpd.GeoDataFrame(table, geometry=one_each, crs="EPSG:32631").to_file(tmp_path / "two.gpkg")
    result = init(tmp_path / "scene.tif", tmp_path / "two.gpkg", tmp_path / "config.yaml")
    assert result.split == "none"
    assert "nothing is scored" in result.config.read_text("utf-8")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "cannot pair images with labels in .*: 0 images and 0 files with labels are recognized: give labels"),
        (["a.tif", "b.tif"], "2 images and 0 files with labels"),
        (["images/a.tif", "masks/b.tif"], r"b\.tif seems to hold labels, and no image in .* is called like it"),
        (["a.tif", "masks/a.tif", "labels/a.tif"], "are both labels of one place in .*: move one away"),
    ],
)
def test_what_cannot_be_paired_is_one_clear_line(tmp_path: Path, files: list[str], said: str) -> None:
    for name in files:
        write_pair(tmp_path / "data" / name, tmp_path / "unused.tif")
    (tmp_path / "data").mkdir(exist_ok=True)
    with pytest.raises(LabelError, match=said) as caught:
        init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "config.yaml").exists()


def test_a_few_tiles_are_split_whole_so_that_no_guard_band_eats_them(tmp_path: Path) -> None:
    for number in range(5):
        write_pair(tmp_path / f"data/images/{number}.tif", tmp_path / f"data/masks/{number}.tif", number)
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert result.split == "scene"
    assert trained(result.config, tmp_path / "run").train_images == 4


def test_images_without_labels_are_left_out_and_counted(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path / f"data/images/{number}.tif", tmp_path / f"data/masks/{number}.tif", number)
    write_pair(tmp_path / "data/images/more.tif", tmp_path / "unused.tif", 9)
    result = init(tmp_path / "data", output=tmp_path / "config.yaml")
    assert "1 image without labels" in result.notices[0]
    assert len(list_rasters(load_train_spec(result.config).data)) == 3


def test_labels_of_one_class_or_with_fractions_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "scene.tif", tmp_path / "labels.tif")
    place = {"crs": "EPSG:32631", "transform": from_origin(0, 0, 0.5, 0.5)}
    random = np.random.default_rng(0).random
    for values, said in ((np.zeros, "show 1 class: a model needs two"), (random, "holds numbers with fractions")):
        write_raster(tmp_path / "labels.tif", values((1, SIDE, SIDE)).astype(np.float32), **place)
        with pytest.raises(LabelError, match=said):
            init(tmp_path / "scene.tif", tmp_path / "labels.tif", tmp_path / "config.yaml")


def test_the_command_says_what_to_do_next_and_replaces_on_demand(tmp_path: Path) -> None:
    arguments = [str(SAMPLE / "scene.tif"), str(SAMPLE / "scene_labels.tif"), "-o", str(tmp_path / "c.yaml")]
    run = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "1 image, 6 classes (background, building, road, bare land, forest, water), split by blocks" in run.stdout
    assert f"geoseg train {tmp_path / 'c.yaml'} -o RUN" in run.stdout
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        init(*arguments[:2], tmp_path / "c.yaml")
    again = CliRunner().invoke(command, [*arguments, "--overwrite", "--json", "-q"], catch_exceptions=False)
    assert '"split": "blocks"' in again.stdout
