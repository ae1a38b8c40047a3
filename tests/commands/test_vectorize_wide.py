"""Class rasters of any type as polygons: codes beyond 255, numbers of segments, floats; and legends of others."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
from rasterio.transform import from_origin
from support.rasters import TRANSFORM, write_raster

from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import OutputError, SpecError


def opened(path: Path) -> geopandas.GeoDataFrame:
    return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


CORINE = np.kron([[111, 523, 311], [311, 111, 112]], np.ones((4, 5))).astype(np.int16)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"])
def test_values_of_any_type_are_class_ids(tmp_path, dtype):
    values = CORINE.astype(dtype)
    values[0, 0] = 999
    raster = write_raster(tmp_path / "clc.tif", values, nodata=999)
    result = vectorize(raster, tmp_path / "clc.gpkg", check=True)
    frame = geopandas.read_file(tmp_path / "clc.gpkg", layer="clc")
    assert frame.class_id.tolist() == [111, 523, 311, 311, 111, 112]
    assert frame["class"].tolist() == ["111", "523", "311", "311", "111", "112"]
    assert result.check.differing_pixels == 0
    assert result.check.pixels == values.size - 1
    assert result.class_shares["523"] == pytest.approx(20 / 119)


@pytest.mark.parametrize("low", [-7, 300, 2**31 - 100, -(2**62), 2**62])
@pytest.mark.parametrize("end", [".gpkg", ".shp", ".parquet", ".fgb", ".geojson"])
def test_values_of_any_size_are_kept(tmp_path, low, end):
    values = CORINE.astype(np.int64) // 100 + low
    raster = write_raster(
        tmp_path / "wide.tif", values, crs="EPSG:4326", transform=from_origin(10, 50, 1e-3, 1e-3), nodata=0
    )
    if end in (".shp", ".geojson") and abs(low) == 2**62:
        with pytest.raises(OutputError, match=r"holds class ids up to .*: write \.gpkg instead"):
            vectorize(raster, tmp_path / f"out{end}")
        return
    assert vectorize(raster, tmp_path / f"out{end}", check=True).check.differing_pixels == 0
    found = opened(tmp_path / f"out{end}").class_id
    assert sorted(found) == [low + k for k in (1, 1, 3, 3, 5)]  # some formats sort features by place


def test_more_values_than_a_byte_holds_are_traced_and_generalised(tmp_path):
    rng = np.random.default_rng(3)
    segments = np.kron(rng.permutation(np.arange(1, 901)).reshape(30, 30) * 277, np.ones((6, 6))).astype(np.int32)
    specks = rng.random(segments.shape) < 0.02
    segments[specks] = rng.integers(300_000, 400_000, specks.sum())
    raster = write_raster(tmp_path / "s.tif", segments, nodata=0, tiled=True, blockxsize=64, blockysize=64)
    result = vectorize(raster, tmp_path / "s.gpkg", check=True)
    assert result.check.differing_pixels == 0
    assert result.check.is_coverage
    assert result.polygons >= 900 + specks.sum() * 0.9
    for settings in ({"min_area": "4px"}, {"majority": 3}, {"fill_holes": "4px"}):
        calm = vectorize(raster, tmp_path / "calm.gpkg", check=True, overwrite=True, **settings)
        assert calm.check.differing_pixels == 0
        assert calm.polygons < result.polygons
    merged = geopandas.read_file(tmp_path / "calm.gpkg", layer="calm")
    assert set(merged.class_id) >= set(np.unique(segments[~specks]))


def test_thousands_of_segments_have_no_style_which_is_said(tmp_path):
    segments = np.arange(1, 1002, dtype=np.int32)[None]
    result = vectorize(write_raster(tmp_path / "s.tif", segments), tmp_path / "out.fgb")
    assert result.polygons == 1001
    assert result.notices == ("polygons have no style, as there are 1,001 classes",)
    assert not (tmp_path / "out.qml").exists()


def test_wide_values_are_chosen_and_dissolved(tmp_path):
    raster = write_raster(tmp_path / "clc.tif", CORINE)
    vectorize(raster, tmp_path / "some.gpkg", classes=("311", "523"), dissolve=True, smooth=True)
    assert geopandas.read_file(tmp_path / "some.gpkg", layer="some").class_id.tolist() == [311, 523]


def test_values_that_are_not_finite_are_nodata(tmp_path):
    values = CORINE.astype(np.float32)
    values[:4, :5], values[:4, 5:10] = np.nan, np.inf
    assert vectorize(write_raster(tmp_path / "f.tif", values), tmp_path / "f.gpkg").polygons == 4


def test_a_common_value_of_nodata_that_is_not_declared_is_a_class_with_a_notice(tmp_path):
    values = np.where(CORINE == 523, -9999, CORINE).astype(np.int16)
    result = vectorize(write_raster(tmp_path / "clc.tif", values), tmp_path / "clc.gpkg")
    assert "-9999 is nodata, so that it is a class (20 px)" in " ".join(result.notices)
    assert "-9999" in result.class_shares


def test_an_area_has_the_values_that_occur_in_it(tmp_path):
    raster = write_raster(tmp_path / "clc.tif", CORINE)
    left, top = TRANSFORM.c, TRANSFORM.f
    result = vectorize(raster, tmp_path / "part.gpkg", bbox=(left, top - 4 * 0.6, left + 5 * 0.6, top), check=True)
    assert list(result.class_shares) == ["111"]
    assert result.check.differing_pixels == 0


def test_classes_of_one_name_share_it(tmp_path):
    raster = write_raster(tmp_path / "clc.tif", CORINE)
    (tmp_path / "clc.clr").write_text("111 1 1 1 255 urban\n112 2 2 2 255 urban\n311 3 3 3 255 forest\n")
    result = vectorize(raster, tmp_path / "clc.gpkg", classes=("urban", "523"))
    assert result.class_shares == pytest.approx({"urban": 3 / 4, "523": 1 / 4})
    frame = geopandas.read_file(tmp_path / "clc.gpkg", layer="clc")
    assert dict(zip(frame.class_id, frame.color.fillna(""), strict=True)) == {111: "#010101", 112: "#020202", 523: ""}


def test_a_legend_file_names_the_classes(tmp_path):
    raster = write_raster(tmp_path / "clc.tif", CORINE)
    (tmp_path / "legend.txt").write_text("# QGIS\nINTERPOLATION:EXACT\n111,230,0,77,255,111 - Urban\n")
    result = vectorize(raster, tmp_path / "clc.gpkg", legend=tmp_path / "legend.txt")
    assert "111 - Urban" in result.class_shares
    with pytest.raises(SpecError, match=r"legend: .*missing\.qml cannot be read"):
        vectorize(raster, tmp_path / "other.gpkg", legend=tmp_path / "missing.qml")
