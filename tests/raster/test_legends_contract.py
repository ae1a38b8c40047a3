"""Every registered legend source finds the names and colours that stand in its place, and survives what is none."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support.rasters import write_raster

from geoseg.raster.class_raster import open_classes
from geoseg.raster.legend import Legend
from geoseg.raster.legends import LEGENDS, LegendPlace, UnreadableLegend, read_legend, with_file

LEGEND = Legend({1: "Wet meadow", 2: "Häuser", 40: "Fels & Geröll"}, {1: "#0ac80a", 2: "#c80a0b", 40: "#808182"})
NAMELESS = {"color_table"}
"""Sources that hold colours alone; those of names alone put the colours into the colour table."""


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "classes.tif", np.array([[1, 2, 40], [40, 2, 1]], np.uint8))


@pytest.mark.parametrize("name", LEGENDS.names)
def test_every_source_finds_its_legend_in_or_beside_a_raster(raster, name):
    path = LEGENDS.get(name).example(raster, LEGEND)
    with open_classes(raster) as opened:
        found, reading = LEGENDS.get(name).find(LegendPlace(opened)), read_legend(opened)
    assert found.names == ({} if name in NAMELESS else LEGEND.names)
    assert reading.legend.names == found.names
    assert {k: reading.legend.colors[k] for k in LEGEND.colors} == LEGEND.colors
    assert reading.is_complete == LEGENDS.get(name).names_all
    assert reading.notices == ()
    assert LEGENDS.get(name).read(path) == found


@pytest.mark.parametrize("name", LEGENDS.names)
def test_every_source_names_nothing_where_there_is_no_legend(raster, name):
    with open_classes(raster) as opened:
        assert LEGENDS.get(name).find(LegendPlace(opened)) == Legend()


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe <no", b"<a><b/></a>", b"1 2 x y\n", b"\x03" + bytes(64)])
@pytest.mark.parametrize("name", LEGENDS.names)
def test_every_source_refuses_or_finds_nothing_in_a_file_that_is_none(tmp_path, name, content):
    for suffix in LEGENDS.get(name).suffixes or (".tif",):
        path = tmp_path / f"legend{suffix}"
        path.write_bytes(content)
        with suppress(UnreadableLegend):
            assert LEGENDS.get(name).read(path) == Legend()


@pytest.mark.parametrize("name", LEGENDS.names)
def test_every_source_is_read_when_its_file_is_named(tmp_path, raster, name):
    path = LEGENDS.get(name).example(raster, LEGEND)
    other = write_raster(tmp_path / "other.tif", np.array([[1]], np.uint8))
    with open_classes(other) as opened:
        reading = with_file(read_legend(opened), path)
    assert {k: reading.legend.colors[k] for k in LEGEND.colors} == LEGEND.colors
    assert not reading.is_complete
