"""What a person gives, and which scenes that means."""

import json
from pathlib import Path

import pystac
import pytest
from support.reporters import Heard

from geoseg.core.errors import SceneError
from geoseg.core.naming import fit_for_files
from geoseg.raster.bands.tags import BandTag
from geoseg.scenes import SceneRef, find_scenes
from geoseg.scenes.items import choose_assets
from geoseg.scenes.names import name_apart
from geoseg.scenes.paths import folders, resolve

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_and_paths(*inputs, **options):
    return {scene.name: scene.path for scene in find_scenes(inputs, **options)}


def item(identity, **assets):
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": identity, "geometry": None, "links": [],
        "properties": {"datetime": "2024-05-01T00:00:00Z"},
        "assets": {key: asset if isinstance(asset, dict) else {"href": asset, "type": TIFF}
                   for key, asset in assets.items()},
    }  # fmt: skip


def collection(*items, **more):
    return {"type": "FeatureCollection", "features": list(items)} | more


def save(path, document):
    Path(path).write_text(json.dumps(document))
    return str(path)


# ------------------------------------------------------------------------------------------------------------ one scene


@pytest.mark.parametrize(
    "path",
    [
        "missing.tif",
        "a/b.vrt",
        "/vsizip/x.zip/list.txt",
        "/vsicurl/http://host/a[1].tif",
        "s3://bucket/scene.tif",
        "https://host/x.tif?a=[1]*",
        "https://host/collections/x/items/scene.tif",
        'NETCDF:"a.nc":b',
        "pipeline.gdalg.json",
    ],
)
def test_what_is_one_scene_is_left_as_it_is(here, path):
    (scene,) = find_scenes([path])
    assert (scene.path, scene.problem) == (path, None)


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(here):
    touch("scene[1].tif", "scene1.tif")
    assert [scene.path for scene in find_scenes("scene[1].tif")] == ["scene[1].tif"]


def test_a_text_that_is_a_raster_is_one(here):
    Path("grid.txt").write_text("ncols 3\nnrows 2\n")
    assert names_and_paths("grid.txt") == {"grid": "grid.txt"}


def test_a_scene_is_listed_once_however_it_is_spelled(here):
    touch("a/x.tif", "a/y.tif")
    found = find_scenes(["a/y.tif", "a", here / "a" / "x.tif", "a/../a/*.tif"])
    assert [scene.path for scene in found] == ["a/y.tif", "a/x.tif"]


# ------------------------------------------------------------------------------------------------ folders and patterns


def test_a_folder_gives_its_rasters(here):
    touch("in/b.tif", "in/A.TIF", "in/below/c.jp2", "in/below/d.vrt")
    touch(
        "in/b_landcover.tif",
        "in/b_scores.tif",
        "in/b_confidence.tif",
        "in/b_uncertainty.tif",
        "in/b.tif.aux.xml",
        "in/b.tif.ovr",
        "in/b.png",
    )
    touch("in/.hidden/x.tif", "in/._b.tif", "in/notes.txt")
    assert [scene.path for scene in find_scenes("in")] == ["in/A.TIF", "in/b.tif", "in/below/c.jp2", "in/below/d.vrt"]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("in/*.tif", ["in/a.tif"]),
        ("in/**/*.tif", ["in/a.tif", "in/x/b.tif"]),
        ("in/{a,x/b}.tif", ["in/a.tif", "in/x/b.tif"]),
        ("in/[ab].ti{f,ff}", ["in/a.tif"]),
        ("in/**", ["in/a.tif", "in/x/b.tif", "in/y/c.vrt"]),
        ("in/*", ["in/a.tif", "in/x/b.tif", "in/y/c.vrt"]),
        ("in/[xy]", ["in/x/b.tif", "in/y/c.vrt"]),
        ("in/a.*", ["in/a.tif"]),
        ("in/?.png", ["in/a.png"]),
    ],
)
def test_a_pattern(here, pattern, paths):
    touch("in/a.tif", "in/a.png", "in/a.tif.aux.xml", "in/a_landcover.tif", "in/x/b.tif", "in/y/c.vrt", "in/docs/d.md")
    assert [scene.path for scene in find_scenes(pattern)] == paths


def test_a_pattern_may_match_items(here):
    save("1.json", item("one", image="one.tif"))
    save("2.json", item("two", image="two.tif"))
    assert names_and_paths("*.json") == {"one": "one.tif", "two": "two.tif"}


# --------------------------------------------------------------------------------------------------------------- lists


def test_a_list(here):
    Path("lists").mkdir()
    Path("lists/all.txt").write_text(
        "\ufeff# my scenes\r\n\r\n a.tif \r\n../b b.tif\r\n/data/c.tif\ns3://bucket/d.tif\n/vsizip/x.zip/e.tif\n",
        encoding="utf-8",
    )
    assert [scene.path for scene in find_scenes("lists/all.txt")] == [
        "lists/a.tif", "b b.tif", "/data/c.tif", "s3://bucket/d.tif", "/vsizip/x.zip/e.tif",
    ]  # fmt: skip


def test_a_list_from_a_server(tmp_path, server):
    (tmp_path / "all.txt").write_text("a.tif\n/deep/b.tif\nhttps://elsewhere/c.tif\n")
    assert [scene.path for scene in find_scenes(f"{server}/all.txt")] == [
        f"{server}/a.tif", f"{server}/deep/b.tif", "https://elsewhere/c.tif",
    ]  # fmt: skip


def test_a_hundred_thousand_scenes(here):
    Path("all.txt").write_text("".join(f"s3://bucket/{i // 10:05d}/{i % 10}/scene.tif\n" for i in range(100_000)))
    found = find_scenes("all.txt")
    assert len({scene.name for scene in found}) == len(found) == 100_000
    assert found[54321].name == "05432_1_scene"


# ---------------------------------------------------------------------------------------------------------- STAC Items


@pytest.mark.parametrize(
    ("assets", "wanted", "key"),
    [
        ({"whatever": {"href": "x", "type": TIFF}}, None, "whatever"),
        ({"whatever": {"href": "x.tif"}, "other": {"href": "x.xml"}}, None, "whatever"),
        ({"B1": {"href": "x.tif"}, "thumbnail": {"href": "t.tif", "roles": ["thumbnail"]}}, None, "B1"),
        ({"a": {"href": "x.tif", "roles": ["data"]}, "mask": {"href": "m.tif", "roles": ["data-mask"]}}, None, "a"),
        ({"red": {"href": "r.tif"}, "visual": {"href": "v.tif"}, "image": {"href": "i.tif"}}, None, "visual"),
        ({"data": {"href": "r.jp2"}, "nir": {"href": "v.jp2"}}, None, "data"),
        ({"red": {"href": "r.tif"}, "visual": {"href": "v.tif"}}, "red", "red"),
        ({"red": {"href": "r.zarr"}, "visual": {"href": "v.tif"}}, "red", "red"),
        ({"broken": {"href": None}, "image": {"href": "i.tif", "roles": None, "type": None}}, None, "image"),
    ],
)
def test_the_asset_that_is_the_scene(assets, wanted, key):
    assert choose_assets({"assets": assets}, wanted) == [key]


@pytest.mark.parametrize(
    ("assets", "wanted", "says"),
    [
        (
            {"one": {"href": "r.tif"}, "two": {"href": "n.tif"}},
            None,
            r"several rasters \(one, two\): choose one with --asset, or one for each band, as in --asset red,green",
        ),
        ({"page": {"href": "r.html"}}, None, r"no raster among its assets \(page\): choose one with --asset"),
        ({}, None, "it has none"),
        ({"red": {"href": "r.tif"}, "nir": {"href": "n.tif"}}, "red,nri", r"no asset nri, did you mean nir\?"),
        ({"visual": {"href": "r.tif"}}, "visaul", r"no asset visaul, did you mean visual\? \(visual\)"),
    ],
)
def test_no_asset_that_is_the_scene(assets, wanted, says):
    with pytest.raises(SceneError, match=says):
        choose_assets({"assets": assets}, wanted)


BANDS_1_0 = [{"name": "B04", "common_name": "red"}], [{"name": "B03", "common_name": "green"}]
BANDS_1_1 = [{"name": "B04", "eo:common_name": "red"}], [{"name": "B03", "eo:common_name": "green"}]


@pytest.mark.parametrize(
    ("assets", "wanted", "expected"),
    [
        ({"one": {}, "two": {}, "visual": {}}, "two,one", {"two": "", "one": ""}),
        ({"red": {}, "green": {}, "visual": {}}, "red, green", {"red": "red", "green": "green"}),
        ({"x": {"eo:bands": BANDS_1_0[0]}, "y": {"eo:bands": BANDS_1_0[1]}}, None, {"x": "red", "y": "green"}),
        ({"x": {"bands": BANDS_1_1[0]}, "y": {"bands": BANDS_1_1[1]}, "qa": {}}, None, {"x": "red", "y": "green"}),
        ({"B04": {}, "B8A": {}, "SCL": {}, "AOT": {}}, None, {"B04": "B04", "B8A": "B8A"}),
        ({"red": {}, "nir08": {}, "qa_pixel": {}, "lwir": {}}, None, {"red": "red", "nir08": "nir08", "lwir": "lwir"}),
        ({"red": {}, "pan": {}, "red2": {"bands": BANDS_1_1[0]}, "nir": {}}, None, {"red": "red", "nir": "nir"}),
    ],
)  # fmt: skip
def test_assets_of_one_band_each_are_one_scene(here, assets, wanted, expected):
    given = {key: {"href": f"{key}.tif"} | fields for key, fields in assets.items()}
    (found,) = find_scenes(save("item.json", item("S2", **given)), asset=wanted)
    assert (found.name, found.path) == ("S2", "+".join(f"{key}.tif" for key in expected))
    names = {part.path.removesuffix(".tif"): "".join(tag.name for tag in part.tags) for part in found.parts}
    assert names == expected


def test_assets_bring_the_scale_and_offset_of_their_bands(here):
    bands = [{"name": "B04", "eo:common_name": "red", "raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0}]
    given = {key: {"href": f"{key}.tif", "bands": bands} for key in ("x", "y")}
    (found,) = find_scenes(save("item.json", item("S2", **given)), asset="x,y")
    assert {part.tags for part in found.parts} == {(BandTag("red", 1e-4, -0.1, 0.0),)}


def test_no_list_from_a_server_reaches_a_file_here_as_a_part(tmp_path, server):
    (tmp_path / "all.txt").write_text("https://elsewhere/r.tif+file:///etc/g.tif\n")
    with pytest.raises(SceneError, match=r"names file:///etc/g\.tif, which is not on a server"):
        find_scenes(f"{server}/all.txt")


def test_a_list_may_name_scenes_of_several_files(here):
    Path("lists").mkdir()
    Path("lists/all.txt").write_text("red.tif+green.tif\nred=https://h/a.tif+green=b.tif\n")
    assert [scene.path for scene in find_scenes("lists/all.txt")] == [
        "lists/red.tif+lists/green.tif", "red=https://h/a.tif+green=lists/b.tif",
    ]  # fmt: skip


def test_a_pattern_of_several_files_is_a_scene_for_each_match(here):
    touch("a/X_B04.tif", "a/X_B03.tif", "b/Y_B04.tif", "b/Y_B03.tif")
    assert names_and_paths("*/*_B04.tif+*/*_B03.tif") == {
        "X": "a/X_B04.tif+a/X_B03.tif", "Y": "b/Y_B04.tif+b/Y_B03.tif",
    }  # fmt: skip


def test_an_item(here):
    Path("deep").mkdir()
    save("deep/item.json", item("LC08/2024:05", image="./pixels/a.tif"))
    assert names_and_paths("deep/item.json") == {"LC08_2024_05": "deep/pixels/a.tif"}


def test_a_collection_of_items_as_pystac_saves_it(here):
    items = [
        pystac.Item(str(i), None, None, pystac.utils.now_in_utc(), {}, assets={"visual": pystac.Asset(f"../{i}.tif")})
        for i in range(3)
    ]
    Path("saved").mkdir()
    pystac.ItemCollection(items).save_object("saved/search.geojson")
    assert names_and_paths("saved/search.geojson") == {"0": "0.tif", "1": "1.tif", "2": "2.tif"}


@pytest.mark.parametrize(
    "href",
    ["s3://bucket/a.tif", "gs://bucket/a.tif", "https://host/a.tif?sig=x%2F", "/vsicurl/http://h/a.tif", "/a.tif"],
)
def test_hrefs_that_need_no_base(here, href):
    assert names_and_paths(save("i.json", item("x", image=href))) == {"x": href}


def test_collected_items_are_relative_to_where_they_come_from(here):
    far = item("far", image="./far.tif") | {"links": [{"rel": "self", "href": "s3://bucket/items/far.json"}]}
    save("items.json", [far, item("near", image="./near.tif")])
    assert names_and_paths("items.json") == {"far": "s3://bucket/items/far.tif", "near": "near.tif"}


def test_an_item_without_a_scene_is_a_problem_of_its_own(here):
    save("items.json", collection(item("good", image="a.tif"), item("bad", page={"href": "a.html"}), {"id": "none"}, 7))
    found = find_scenes("items.json")
    assert [bool(scene.problem) for scene in found] == [False, True, True, True]
    assert found[1].problem == ("item bad of items.json has no raster among its assets (page): choose one with --asset")


def test_the_pages_of_a_search_are_followed(tmp_path, server):
    more = {"links": [{"rel": "next", "href": "../pages/2.json"}]}
    (tmp_path / "pages").mkdir()
    save(tmp_path / "search", collection(item("a", image="a.tif"), links=[{"rel": "next", "href": "pages/1.json"}]))
    save(tmp_path / "pages/1.json", collection(item("b", image="b.tif"), **more))
    save(tmp_path / "pages/2.json", collection(item("c", image="/c.tif"), links=[{"rel": "next", "href": "1.json"}]))
    assert names_and_paths(f"{server}/search?limit=1") == {
        "a": f"{server}/a.tif", "b": f"{server}/pages/b.tif", "c": f"{server}/c.tif",
    }  # fmt: skip


def test_one_saved_page_of_a_search_says_so(here):
    heard = Heard()
    link = {"rel": "next", "href": "https://host/search?token=2"}
    save("page.json", collection(item("a", image="a.tif"), links=[link]))
    assert len(find_scenes("page.json", reporter=heard)) == 1
    assert "is one page of a search with more" in heard.lines[0]


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("empty", "empty holds no raster that is a scene"),
        ("nothing*.tif", r"no raster matches nothing\*\.tif"),
        ("results/*.tif", "no raster matches .* results of geoseg are left out"),
        ("empty.txt", "empty.txt lists no scene"),
        ("missing.txt", "cannot read missing.txt: No such file"),
        ("binary.txt", "binary.txt is no text"),
        ("missing.json", "cannot read missing.json: No such file"),
        ("broken.json", "broken.json is not JSON"),
        ("deep.json", "deep.json is not JSON"),
        ("plain.json", "plain.json holds no STAC Items"),
        ("number.json", "number.json holds no STAC Items"),
        ("catalog.json", "catalog.json is a STAC Catalog"),
        ("none.json", "none.json holds no STAC Item: its search found nothing"),
        ("areas.geojson", r"item without an id of areas.geojson is no STAC Item.* \(and 1 more like it\)"),
        ("http://127.0.0.1:9/x.json", "cannot read http://127.0.0.1:9/x.json: .*check the address"),
        ([], "no scene was given"),
    ],
)
def test_errors_are_one_line(here, given, says):
    Path("empty").mkdir()
    touch("results/a_landcover.tif")
    Path("empty.txt").write_text("# nothing\n\n")
    Path("binary.txt").write_bytes(b"II*\x00\xff\xfe")
    Path("broken.json").write_text("{")
    Path("deep.json").write_text("[" * 100_000)
    save("plain.json", {"a": 1})
    save("number.json", 7)
    save("catalog.json", {"type": "Catalog", "stac_version": "1.0.0", "links": []})
    save("none.json", collection())
    save("areas.geojson", collection({"type": "Feature", "properties": {}}, {"type": "Feature", "properties": {}}))
    with pytest.raises(SceneError, match=says) as error:
        find_scenes(given)
    assert "\n" not in str(error.value)


def test_a_server_that_knows_no_such_items(server):
    with pytest.raises(SceneError, match="Not Found"):
        find_scenes(f"{server}/none.json")


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/a.tif", "/d/b.tif"], ["a", "b"]),
        (["/d/x/s.tif", "/d/y/s.tif", "/d/y/t.tif"], ["x_s", "y_s", "t"]),
        (["/d/x/1/s.tif", "/d/y/1/s.tif", "/d/y/2/s.tif"], ["x_1_s", "y_1_s", "2_s"]),
        (["/x/s.tif", "/y/s.tif", "/d/x_s.tif"], ["x_s", "y_s", "d_x_s"]),
        (["/d/s.tif", "/d/s.jp2"], ["s_tif", "s_jp2"]),
        (["/d/s.tif", "/d/S.tif"], ["s_tif-1", "S_tif-2"]),
        (["http://h/s.tif?a=1", "http://h/s.tif?a=2"], ["s_tif-1", "s_tif-2"]),
        (["http://h/s.tif", "http://g/s.tif"], ["s", "s-2"]),
        (["s3://h/s.tif", "s3://g/s.tif", "s3://g/s-2.tif"], ["s", "s-3", "s-2"]),
        (['NETCDF:"/d/a.nc":u', 'NETCDF:"/d/a.nc":v'], ["a_nc_u", "a_nc_v"]),
    ],
)
def test_scenes_that_are_called_the_same_are_told_apart(paths, names):
    assert [scene.name for scene in find_scenes(paths)] == names


def test_names_do_not_depend_on_the_order():
    paths = [f"/d/{folder}/{name}.tif" for folder in "abc" for name in ("s", "t", "a_s")]
    names = {scene.path: scene.name for scene in find_scenes(paths)}
    assert names == {scene.path: scene.name for scene in find_scenes(paths[::-1])}
    assert len(set(names.values())) == len(paths)


def test_many_scenes_of_one_name_and_folder():
    scenes = [SceneRef(f"http://h/s.tif?{i}", "s") for i in range(20_000)]
    assert len({scene.name for scene in name_apart(scenes)}) == len(scenes)


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("a b-ü.1", "a b-ü.1"),
        ("a/b\\c:d*?", "a_b_c_d"),
        ("..", "scene"),
        (".hidden", "hidden"),
        ("", "scene"),
        ("\ud800\x1b", "scene"),
    ],
)
def test_names_fit_for_files(name, fit):
    assert fit_for_files(name) == fit


@pytest.mark.parametrize(
    ("href", "base", "whole"),
    [
        ("a.tif", "items.json", "a.tif"),
        ("../a.tif", "d/items.json", "a.tif"),
        ("../a.tif", "https://h/d/items.json?x=1", "https://h/a.tif"),
        ("/a.tif", "https://h/d/items.json", "https://h/a.tif"),
        ("a.tif", "s3://bucket/d/items.json", "s3://bucket/d/a.tif"),
        ("file:///d/a%20b.tif", "items.json", "/d/a b.tif"),
        ("12:30.tif", "d/list.txt", "d/12:30.tif"),
        ("GTIFF_DIR:2:a.tif", "d/list.txt", "GTIFF_DIR:2:a.tif"),
    ],
)
def test_paths_relative_to_a_file(href, base, whole):
    assert resolve(href, base) == whole


def test_folders_of_a_path(here):
    assert folders("a/s.tif")[-2:] == [here.name, "a"]
    assert folders("s3://bucket/a/b/s.tif") == ["a", "b"]


@pytest.mark.parametrize("links", [4096, 0.5, "next", {"rel": "next"}, [None, 3]])
def test_links_that_are_none_are_ignored(tmp_path, links):
    item = {"type": "Feature", "id": "a", "links": links, "assets": {"data": {"href": "a.tif"}}}
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item], "links": links}))
    assert [scene.name for scene in find_scenes(str(path))] == ["a"]
