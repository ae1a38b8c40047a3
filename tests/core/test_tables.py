"""Lists of tiles as spreadsheets on Windows save them."""

from pathlib import Path

import pytest

from geoseg.core.errors import LabelError
from geoseg.core.safe_paths import joined, whole_url
from geoseg.data.listing import ListedRaster, list_rasters
from geoseg.spec import DataSpec, paths_from

ROWS = [["image", "label", "split"], ["imgs/s0.tif", "imgs/l0.tif", "train"], ["imgs/ä.tif", "imgs/l1.tif", "val"]]


def saved(folder, rows=ROWS, sep=",", eol="\n", encoding="utf-8", head=""):
    text = head + "".join(sep.join(row) + eol for row in rows)
    (folder / "tiles.csv").write_bytes(text.encode(encoding))
    return list_rasters(DataSpec(tiles=folder / "tiles.csv", bands=("red",)))


def expected(folder):
    return [ListedRaster(folder / image, folder / label, split) for image, label, split in ROWS[1:]]


@pytest.mark.parametrize(
    "options",
    [
        {"sep": ";"},
        {"sep": "\t", "encoding": "utf-16"},
        {"sep": "|", "encoding": "utf-16-be", "head": "\ufeff"},
        {"eol": "\r\n", "encoding": "utf-8-sig"},
        {"sep": ";", "head": "sep=;\r\n", "eol": "\r\n"},
        {"eol": "\r"},
        {"eol": ",,\n"},
        {"eol": "\n,,\n\n"},
    ],
)
def test_any_separator_and_marked_encoding(tmp_path, options):
    assert saved(tmp_path, **options) == expected(tmp_path)


def test_columns_in_capitals(tmp_path):
    assert saved(tmp_path, [["Image", " LABEL ", "Split"], *ROWS[1:]]) == expected(tmp_path)


def test_backslashes_lead_to_the_files_that_there_are(tmp_path):
    rows = [ROWS[0], *([cell.replace("/", "\\") for cell in row] for row in ROWS[1:])]
    assert saved(tmp_path, rows) == expected(tmp_path)
    (tmp_path / "imgs\\s0.tif").touch()
    assert saved(tmp_path, rows)[0].image == tmp_path / "imgs\\s0.tif"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "utf-32"])
def test_other_encodings_are_named(tmp_path, encoding):
    with pytest.raises(LabelError, match="its encoding is not UTF-8") as error:
        saved(tmp_path, encoding=encoding)
    assert "\n" not in str(error.value)


def test_a_device_is_no_list():
    with pytest.raises(LabelError, match="it is a device"):
        list_rasters(DataSpec(tiles=Path("/dev/zero"), bands=("red",)))


@pytest.mark.parametrize(
    "url",
    ["https://h/a/b.tif?x=1", "/vsicurl/http://h/b.tif", "s3://bucket/k.tif", "/vsizip//vsicurl/https://h/x.zip/a.tif"],
)
def test_urls_stay_urls_in_lists_and_configs(tmp_path, url):
    (found,) = saved(tmp_path, [ROWS[0], [url, url, "train"]])
    spec = DataSpec.model_validate({"scenes": [{"image": url, "label": url}], "bands": ["red"]})
    (scene,) = paths_from(spec, tmp_path).scenes
    one = paths_from(DataSpec(images=url, labels=url, bands=("red",)), tmp_path)
    for path in (found.image, found.label, scene.image, scene.label, list_rasters(one)[0].image):
        assert whole_url(path) == url
    assert str(joined(tmp_path, "a.tif")) == str(tmp_path / "a.tif")


@pytest.mark.parametrize("path", ["a.tif", "/a/b.tif", "C:/x.tif", "a:b/c", "https://h/a.tif", "/vsis3/b/k.tif"])
def test_other_paths_are_whole(path):
    assert whole_url(path) == path


def test_a_list_is_a_file(tmp_path):
    for url in ("https://h/tiles.csv", "https:/h/tiles.csv"):
        spec = paths_from(DataSpec.model_validate({"tiles": url, "bands": ["red"]}), tmp_path)
        with pytest.raises(LabelError, match=r"the list of tiles https://h/tiles\.csv: lists are files"):
            list_rasters(spec)


def test_patterns_of_urls_are_refused(tmp_path):
    with pytest.raises(LabelError, match="patterns are for files"):
        list_rasters(DataSpec(images="https://h/*.tif", labels="https://h/*.png", bands=("red",)))
