"""Whatever stands in a raster or a VRT, geoseg reads it or says in a line why not."""

from pathlib import Path

import pytest
from fuzzing import CORPUS, LONG_S, edited, fuzz, seeds, words

from geoseg.commands.info import describe
from geoseg.geo.grid import Window
from geoseg.raster.class_raster import open_classes, read_strips
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.legends import read_legend
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands

RASTERS = ("rgb.tif", "tiled.tif", "float.tif", "classes.tif", "gcps.tif")
MOST_PX = 2**22
"""Pixels up to which a raster is read whole; of larger ones the first."""
VRT_WORDS = words("vrt.words")
SECONDS = pytest.mark.parametrize("seconds", [None, pytest.param(LONG_S, marks=pytest.mark.slow)])

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def read_scene(path: Path) -> None:
    """Look at a scene as info does, and read what predict would."""
    with gdal_settings(), Scene.open(path) as scene:
        bands = SceneBands.select(scene, range(1, min(len(scene.info.colors), 16) + 1))
        rows = max(1, min(scene.height, MOST_PX // scene.width))
        bands.read(Window(0, 0, rows, min(scene.width, MOST_PX)))
        scene.taken()
    describe(path)


def read_classes(path: Path) -> None:
    """Read a class raster as vectorize and evaluate do."""
    with gdal_settings(), open_classes(path) as raster:
        read_legend(raster)
        if raster.width * raster.height <= MOST_PX:
            for _ in read_strips(raster, None):
                pass


@SECONDS
def test_scenes(seconds):
    fuzz(read_scene, edited(seeds(*RASTERS)), ".tif", seconds)


@SECONDS
def test_class_rasters(seconds):
    fuzz(read_classes, edited(seeds(*RASTERS)), ".tif", seconds)


@SECONDS
def test_virtual_rasters(seconds):
    start = seeds("scene.vrt")[0].replace(b"CORPUS", str(CORPUS).encode())
    fuzz(read_scene, edited([start], VRT_WORDS), ".vrt", seconds)
