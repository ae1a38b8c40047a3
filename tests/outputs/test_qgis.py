"""What QGIS and GDAL themselves make of the styles and the sidecar; skipped where the system's Python lacks them."""

import json
import os
import shutil
import subprocess

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from support.rasters import UTM, write_raster

from geoseg.outputs.attribute_table import write_aux
from geoseg.outputs.styles import (
    add_layer_style,
    raster_sld,
    shared_qml,
    vector_qml,
    vector_sld,
    write_style_files,
)
from geoseg.spec import ClassSpec

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin") or "python3"
CLASSES = [
    ClassSpec(id=0, name="Gewässer", color="#2b7fd0"),
    ClassSpec(id=7, name='Wald & "Wiese" <1>', color="#1f7a3c"),
]
IDS = np.repeat(np.repeat(np.array([[0, 7], [255, 7]], np.uint8), 20, 0), 20, 1)
COLORS = ["#2b7fd0", "#1f7a3c", None, "#1f7a3c"]
"""What a map of the four quarters shows."""

LOOK = """
import json, os, sys
from osgeo import gdal
from qgis.core import (
    QgsApplication, QgsExpression, QgsExpressionContext, QgsMapRendererSequentialJob, QgsMapSettings, QgsRasterLayer,
    QgsVectorLayer)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

def quarters(layer):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(100, 100))
    settings.setBackgroundColor(QColor("transparent"))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    colors = [image.pixelColor(x, y) for y in (25, 75) for x in (25, 75)]
    return [color.name() if color.alpha() else None for color in colors]

def vector(path):
    layer = QgsVectorLayer(path, "layer", "ogr")
    categories = [[c.value(), c.label(), c.symbol().color().name()] for c in layer.renderer().categories()]
    tips = []
    for feature in sorted(layer.getFeatures(), key=lambda feature: feature["class_id"]):
        context = QgsExpressionContext()
        context.setFeature(feature)
        tips.append(QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context))
    return [layer.renderer().classAttribute(), categories, layer.displayExpression(), tips, quarters(layer)]

def raster(path):
    layer = QgsRasterLayer(path, "layer")
    return [[[c.value, c.label, c.color.name()] for c in layer.renderer().classes()], quarters(layer)]

def sld(path, style):
    layer = QgsVectorLayer(path, "layer", "ogr")
    layer.loadSldStyle(style)
    return quarters(layer)

def table(path):
    dataset = gdal.Open(path)
    band = dataset.GetRasterBand(1)
    rat = band.GetDefaultRAT()
    rows = [[rat.GetValueAsString(r, c) for c in range(rat.GetColumnCount())] for r in range(rat.GetRowCount())]
    usages = [rat.GetUsageOfCol(c) for c in range(rat.GetColumnCount())]
    return [usages, rows, band.GetStatistics(True, False), rat.GetTableType() == gdal.GRTT_THEMATIC]

app = QgsApplication([], False)
app.initQgis()
os.chdir(sys.argv[1])
seen = {name: vector(name) for name in ("vector.shp", "shared.shp")}
seen |= {name: raster(name) for name in ("raster.tif", "shared.tif")}
seen["gpkg"] = vector("in.gpkg|layername=landcover")
seen["sld"] = sld("plain.shp", "vector.sld")
seen["table"] = table("raster.tif")
json.dump(seen, open("seen.json", "w"))
os._exit(0)
"""


def has_qgis() -> bool:
    try:
        return not subprocess.run([PYTHON, "-c", "import qgis.core, osgeo.gdal"], capture_output=True).returncode
    except OSError:
        return False


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict:
    """What QGIS sees, by what it opens."""
    if not has_qgis():
        pytest.skip("no QGIS on this machine")
    folder = tmp_path_factory.mktemp("qgis")
    columns = {"class_id": [0, 7], "class": [c.name for c in CLASSES], "area_m2": [12_300.0, None]}
    frame = geopandas.GeoDataFrame(columns, geometry=shapely.box([0, 1], [1, 0], [1, 2], [2, 2]), crs=UTM)
    for name in ("vector.shp", "shared.shp", "plain.shp"):
        pyogrio.write_dataframe(frame, folder / name, ENCODING="UTF-8")
    pyogrio.write_dataframe(frame, folder / "in.gpkg", layer="landcover")
    add_layer_style(folder / "in.gpkg", "landcover", vector_qml(CLASSES), vector_sld(CLASSES, "landcover"))
    write_style_files(folder / "vector.shp", vector_qml(CLASSES), vector_sld(CLASSES, "vector"))
    write_style_files(folder / "raster.tif", shared_qml(CLASSES), raster_sld(CLASSES, "raster"))
    write_style_files(folder / "shared.tif", shared_qml(CLASSES), raster_sld(CLASSES, "shared"))
    write_aux(write_raster(folder / "raster.tif", IDS), CLASSES, {0: 400, 7: 800, 255: 400}, {0: 144, 7: 288})
    write_raster(folder / "shared.tif", IDS)
    ours = ("PROJ_", "GDAL_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    subprocess.run([PYTHON, "-c", LOOK, folder], env=environment, check=True, capture_output=True, timeout=300)
    return json.loads((folder / "seen.json").read_text())


@pytest.mark.parametrize("source", ["gpkg", "vector.shp", "shared.shp"])
def test_polygons_open_in_the_classes_colours(seen, source):
    attribute, categories, display, tips, colors = seen[source]
    assert attribute == "class_id"
    assert categories == [[str(c.id), c.name, c.color] for c in CLASSES]
    assert display == '"class"'
    assert tips == ["<b>Gewässer</b> 1.23 ha", '<b>Wald &amp; "Wiese" &lt;1></b> ']
    assert colors == COLORS


@pytest.mark.parametrize("source", ["raster.tif", "shared.tif"])
def test_rasters_open_in_the_classes_colours(seen, source):
    classes, colors = seen[source]
    assert classes == [[c.id, c.name, c.color] for c in CLASSES]
    assert colors == COLORS


def test_sld_gives_the_same_map(seen):
    assert seen["sld"] == COLORS


def test_gdal_reads_the_attribute_table(seen):
    usages, rows, statistics, is_thematic = seen["table"]
    assert usages == [5, 1, 2, 6, 7, 8, 9, 0]
    assert rows[0] == ["0", "400", "Gewässer", "43", "127", "208", "255", "0.0144"]
    assert rows[1][:3] == ["7", "800", CLASSES[1].name]
    assert statistics == pytest.approx([0, 7, 14 / 3, np.std([0, 7, 7])])
    assert is_thematic
