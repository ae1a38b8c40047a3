"""Lists of labelled images: what is found, what is left out, and what is wrong with a list in one clear line."""

from pathlib import Path
from typing import Any

import pytest
from support.reporters import Watching

from geoseg.core.errors import LabelError
from geoseg.data.listing import ListedRaster, list_rasters, to_read
from geoseg.spec import DataSpec


def data(**fields: Any) -> DataSpec:
    return DataSpec.model_validate({"bands": ["red"]} | fields)


def table(folder: Path, text: str, **split: Any) -> DataSpec:
    (folder / "tiles.csv").write_text(text, encoding="utf-8")
    return data(tiles=folder / "tiles.csv", split=split)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def patterns(folder: Path, images: str, labels: str) -> DataSpec:
    return data(images=str(folder / images), labels=str(folder / labels))


def names(folder: Path, spec: DataSpec) -> list[tuple[str, str]]:
    """What is found, relative to a folder."""
    return [
        (found.image.relative_to(folder).as_posix(), found.label.relative_to(folder).as_posix())
        for found in list_rasters(spec)
    ]


def refused(spec: DataSpec) -> str:
    with pytest.raises(LabelError) as caught:
        list_rasters(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------- CSV


def test_paths_of_a_list_start_at_its_folder(tmp_path: Path) -> None:
    found = list_rasters(table(tmp_path, "image,label,split\na.tif,b/a.png,train\n/c.tif,/c.png, val \n"))
    assert found == [
        ListedRaster(tmp_path / "a.tif", tmp_path / "b" / "a.png", "train"),
        ListedRaster(Path("/c.tif"), Path("/c.png"), "val"),
    ]


def test_names_may_hold_commas_spaces_and_umlauts(tmp_path: Path) -> None:
    found = list_rasters(table(tmp_path, '\ufeffimage,label\n"2018, Süd 1.tif",ä.png\n'))
    assert found == [ListedRaster(tmp_path / "2018, Süd 1.tif", tmp_path / "ä.png", None)]


def test_rows_that_are_for_no_side_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "image,label,split,fold\na,a,train,1\nb,b,val,2\nc,c,spare,train\nd,d,test,1\n"
    for split, names, said in (
        ({}, "a b d", "1 of 4 images left out, as the split is neither train, val nor test: spare (1)"),
        ({"by": "blocks"}, "a b d", "1 of 4 images left out, as the split is neither train, val nor test: spare (1)"),
        ({"column": "fold"}, "c", "3 of 4 images left out, as the split is neither train, val nor test: 1 (2), 2 (1)"),
    ):
        notices: list[str] = []
        found = list_rasters(table(tmp_path, text, **split), Watching(lines=notices))
        assert [one.image.name for one in found] == names.split()
        assert notices == [said]


def test_test_images_are_read_to_score_the_test_side_and_then_alone(tmp_path: Path) -> None:
    listed = list_rasters(table(tmp_path, "image,label,split\na,a,train\nb,b,val\nd,d,test\n"))
    for only, names in ((None, "a b"), ("train", "a b"), ("val", "a b"), ("test", "d")):
        assert [one.image.name for one in to_read(listed, only)] == names.split()
    assert to_read(listed[:2], "test") == listed[:2], "where it is drawn, all labels are needed"
    with pytest.raises(LabelError, match="all images have the split test"):
        to_read(listed[2:], None)


def test_a_list_may_name_groups(tmp_path: Path) -> None:
    spec = {"by": "scene", "group_column": "Town"}
    found = list_rasters(table(tmp_path, "image,label,split,town\na,b,x,Ulm\nc,d,,Köln\n", **spec))
    assert [one.group for one in found if not one.is_left_out] == ["Köln"]


def test_a_list_needs_no_splits(tmp_path: Path) -> None:
    assert list_rasters(table(tmp_path, "label,image\nl,i\n")) == [ListedRaster(tmp_path / "i", tmp_path / "l", None)]
    found = list_rasters(table(tmp_path, "image,label,split\na,a,\nb,b,train\n", by="scene"))
    assert [entry.split for entry in found] == [None, "train"]


@pytest.mark.parametrize(
    ("text", "split", "said"),
    [
        ("image,mask\n1,2\n", {}, "has no column label: its first line must name the columns image, label and, unless"),
        ("", {}, "has no column image, label"),
        ("image,label\n", {}, "lists no tile"),
        ("image,label,split\na,a,train\n\nb,b\n", {}, "tiles.csv, line 4: a cell is empty: give image, label, split"),
        ("image,label\na,\n", {}, "tiles.csv, line 2: a cell is empty: give image, label of every tile"),
        ("image,label,split\na,a,train\n", {"column": "fold"}, "has no column fold, which data.split.column names"),
        (
            "image,label\na,a\n",
            {"by": "scene", "group_column": "town"},
            "no column town, which data.split.group_column",
        ),
        ("image,label,town\na,a,\n", {"by": "scene", "group_column": "town"}, "give image, label, town of every tile"),
        ("image,label,split\na,a,training\nb,b,spare\n", {}, "all images have the split spare, training, and are left"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, text: str, split: dict, said: str) -> None:
    assert said in refused(table(tmp_path, text, **split))


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot read the list of tiles" in refused(data(tiles=tmp_path / "none.csv"))
    (tmp_path / "latin.csv").write_bytes("image,label\nSüd,a\n".encode("latin-1"))
    assert "cannot read the list of tiles" in refused(data(tiles=tmp_path / "latin.csv"))


# ----------------------------------------------------------------------------------------------------------- patterns


def test_stars_stand_for_the_same_texts(tmp_path: Path) -> None:
    touch(tmp_path, "im/1/a.jpg", "im/2/a.jpg", "im/2/b.jpg", "la/1/a_m.png", "la/2/a_m.png", "la/2/b_m.png")
    assert names(tmp_path, patterns(tmp_path, "im/*/*.jpg", "la/*/*_m.png")) == [
        ("im/1/a.jpg", "la/1/a_m.png"), ("im/2/a.jpg", "la/2/a_m.png"), ("im/2/b.jpg", "la/2/b_m.png"),
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["im/tile_[13].tif", "im/tile_{1,3}.tif", "**/tile_[!2].tif"])
def test_wildcards_of_all_kinds_choose_images(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "[2020]"  # the folder's name is no wildcard
    touch(folder, *(f"im/tile_{i}.tif" for i in range(1, 4)), "la/1.png", "la/3.png", "la/im/1.png", "la/im/3.png")
    labels = "la/**/*.png" if pattern.startswith("**") else "la/*.png"
    found = list_rasters(patterns(folder, pattern, labels))
    assert [entry.image.name for entry in found] == ["tile_1.tif", "tile_3.tif"]
    assert [entry.label.name for entry in found] == ["1.png", "3.png"]


def test_names_that_look_like_patterns_are_names(tmp_path: Path) -> None:
    touch(tmp_path, "[2020]/a?.tif", "[2020]/ab.tif", "m+(1)/a?.png", "m+(1)/ab.png", "2/ab.tif")
    assert names(tmp_path, patterns(tmp_path, "[2020]/*.tif", "m+(1)/*.png")) == [
        ("[2020]/a?.tif", "m+(1)/a?.png"), ("[2020]/ab.tif", "m+(1)/ab.png"),
    ]  # fmt: skip
    assert names(tmp_path, patterns(tmp_path, "[2020]/a?.tif", "m+(1)/a?.png")) == [("[2020]/a?.tif", "m+(1)/a?.png")]


def test_odd_slashes_do_not_matter(tmp_path: Path) -> None:
    touch(tmp_path, "im/a.tif", "la/a.png")
    assert names(tmp_path, patterns(tmp_path, "./im//*.tif", "la/.//*.png")) == [("im/a.tif", "la/a.png")]


def test_labels_may_lie_beside_their_images(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a_mask.tif", "b.tif", "b_mask.tif")
    found = names(tmp_path, patterns(tmp_path, "*.tif", "*_mask.tif"))
    assert found == [("a.tif", "a_mask.tif"), ("b.tif", "b_mask.tif")]


def test_one_file_may_label_all_images(tmp_path: Path) -> None:
    touch(tmp_path, "im/a.tif", "im/b.tif", "l.gpkg")
    assert names(tmp_path, patterns(tmp_path, "im/*.tif", "l.gpkg")) == [("im/a.tif", "l.gpkg"), ("im/b.tif", "l.gpkg")]


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        ("im/*.jpg", "la/*/*.png", "data.images has 1 wildcard, data.labels has 2"),
        ("im/*.bmp", "la/*.png", "im/*.bmp: check data.images"),
        ("im/*.jpg", "la/*.png", "b.jpg has no labels at "),
    ],
)
def test_patterns_that_cannot_be_used(tmp_path: Path, images: str, labels: str, said: str) -> None:
    touch(tmp_path, "im/a.jpg", "im/b.jpg", "la/a.png")
    assert said in refused(patterns(tmp_path, images, labels))


# ------------------------------------------------------------------------------------------------------------- scenes


def test_scenes_are_listed_as_given() -> None:
    scenes = [{"image": "a.tif", "label": "a.gpkg", "split": split} for split in ("val", None, "spare", "test")]
    assert list_rasters(data(scenes=scenes)) == [
        ListedRaster(Path("a.tif"), Path("a.gpkg"), "val"),
        ListedRaster(Path("a.tif"), Path("a.gpkg"), None),
        ListedRaster(Path("a.tif"), Path("a.gpkg"), "test"),
    ]
