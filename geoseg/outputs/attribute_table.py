"""Sidecar of a class raster that GDAL reads: names, colours, pixel counts and areas of its classes.

In: classes and how many pixels each has. Out: PAM, the XML of a file `X.tif.aux.xml`, with a raster attribute table and
the statistics of the band, so that no program has to read the raster to know them. Reads no raster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.core.errors import OutputError
from geoseg.core.files import draft_of, sidecar
from geoseg.core.naming import visible
from geoseg.spec import NODATA_ID, ClassSpec

__all__ = ["aux_xml", "read_counts", "write_aux"]

_INTEGER, _REAL, _STRING = ("Integer", 0), ("Real", 1), ("String", 2)
"""Types of columns, as GDALRATFieldType names and numbers them."""
_GENERIC, _PIXEL_COUNT, _NAME, _MIN_MAX = ("Generic", 0), ("PixelCount", 1), ("Name", 2), ("MinMax", 5)
_COLORS = {"Red": 6, "Green": 7, "Blue": 8, "Alpha": 9}
"""Usages of columns, as GDALRATFieldUsage names and numbers them."""
_HIGHEST_INTEGER = 2**31 - 1
"""Highest value of an integer column: GDAL has 32 bits for it."""
_M2_PER_HA = 10_000


def aux_xml(
    classes: Sequence[ClassSpec],
    pixels: Mapping[int, int],
    areas_m2: Mapping[int, float] | None,
    existing: str | None = None,
) -> str:
    """The sidecar of a class raster.

    Args:
        classes: One row of the table each, those without pixels too.
        pixels: Pixels by class id; those without data, under `NODATA_ID`, count for the share of valid pixels only.
        areas_m2: Area on the earth by class id, 0 where it has none; None leaves the column Area_ha out.
        existing: The sidecar as GDAL wrote it, whose other contents stay: the CRS, say, where GeoTIFF has no room.

    Raises:
        OutputError: `existing` is no sidecar.
    """
    root = _parse(existing) if existing else Element("PAMDataset")
    band = _first_band(root)
    metadata = _default_metadata(band)
    for name, value in _statistics(classes, pixels).items():
        SubElement(metadata, "MDI", key=f"STATISTICS_{name}").text = value
    band.append(_table(classes, pixels, areas_m2))
    ElementTree.indent(root)
    return visible(ElementTree.tostring(root, encoding="unicode"), keep="\n\t") + "\n"


def write_aux(
    raster: Path, classes: Sequence[ClassSpec], pixels: Mapping[int, int], areas_m2: Mapping[int, float] | None
) -> Path:
    """Write the sidecar of a class raster beside it, keeping what GDAL may have written there; return its path.

    Raises:
        OutputError: It cannot be written, or what is there is no sidecar.
    """
    path = sidecar(raster)
    try:
        existing = path.read_text(encoding="utf-8") if path.exists() else None
        with draft_of(path) as draft:
            draft.write_text(aux_xml(classes, pixels, areas_m2, existing), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot write {path}: {error}: check the free space and the permissions") from None
    return path


def read_counts(raster: Path) -> dict[int, tuple[int, float | None]] | None:
    """Pixels, and area on the earth in m² if known, by class id, from the sidecar of a class raster; None without."""
    try:
        table = ElementTree.parse(sidecar(raster)).find(".//GDALRasterAttributeTable")
    except (OSError, ElementTree.ParseError):
        return None
    if table is None:
        return None
    names = [field.findtext("Name") for field in table.findall("FieldDefn")]
    rows = [dict(zip(names, (cell.text or "" for cell in row), strict=True)) for row in table.findall("Row")]
    return {
        int(row["Value"]): (int(float(row["Count"])), float(row["Area_ha"]) * _M2_PER_HA if "Area_ha" in row else None)
        for row in rows
    }


def _parse(text: str) -> Element:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise OutputError(f"the raster's .aux.xml is damaged: {error}: delete it") from None
    if root.tag != "PAMDataset":
        raise OutputError(f"the raster's .aux.xml holds {root.tag}, not PAMDataset: delete it")
    return root


def _first_band(root: Element) -> Element:
    """The element of band 1, without table and statistics."""
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        return SubElement(root, "PAMRasterBand", band="1")
    for table in band.findall("GDALRasterAttributeTable"):
        band.remove(table)
    for metadata in band.findall("Metadata"):
        for item in metadata.findall("MDI"):
            if item.get("key", "").startswith("STATISTICS_"):
                metadata.remove(item)
    return band


def _default_metadata(band: Element) -> Element:
    """The element for metadata of the default domain."""
    for metadata in band.findall("Metadata"):
        if not metadata.get("domain"):
            return metadata
    return SubElement(band, "Metadata")


def _statistics(classes: Sequence[ClassSpec], pixels: Mapping[int, int]) -> dict[str, str]:
    """Statistics of the valid values, by GDAL's names; none where nothing is valid."""
    counts = {c.id: pixels[c.id] for c in classes if pixels.get(c.id)}
    valid = sum(counts.values())
    if not valid:
        return {}
    mean = sum(value * count for value, count in counts.items()) / valid
    variance = sum(count * (value - mean) ** 2 for value, count in counts.items()) / valid
    return {
        "MINIMUM": str(min(counts)),
        "MAXIMUM": str(max(counts)),
        "MEAN": f"{mean:.12g}",
        "STDDEV": f"{math.sqrt(variance):.12g}",
        "VALID_PERCENT": f"{100 * valid / (valid + pixels.get(NODATA_ID, 0)):.4g}",
    }


def _table(classes: Sequence[ClassSpec], pixels: Mapping[int, int], areas_m2: Mapping[int, float] | None) -> Element:
    table = Element("GDALRasterAttributeTable", tableType="thematic")
    counts = [pixels.get(c.id, 0) for c in classes]
    columns = [
        ("Value", _INTEGER, _MIN_MAX),
        ("Count", _INTEGER if max(counts, default=0) <= _HIGHEST_INTEGER else _REAL, _PIXEL_COUNT),
        ("Class", _STRING, _NAME),
        *((name, _INTEGER, (name, number)) for name, number in _COLORS.items()),
    ]
    if areas_m2 is not None:
        columns.append(("Area_ha", _REAL, _GENERIC))
    for index, column in enumerate(columns):
        _add_column(table, index, *column)
    for index, (c, count) in enumerate(zip(classes, counts, strict=True)):
        row = SubElement(table, "Row", index=str(index))
        for cell in _cells(c, count, None if areas_m2 is None else areas_m2.get(c.id, 0)):
            SubElement(row, "F").text = cell
    return table


def _add_column(table: Element, index: int, name: str, kind: tuple[str, int], usage: tuple[str, int]) -> None:
    column = SubElement(table, "FieldDefn", index=str(index))
    SubElement(column, "Name").text = name
    SubElement(column, "Type", typeAsString=kind[0]).text = str(kind[1])
    SubElement(column, "Usage", usageAsString=usage[0]).text = str(usage[1])


def _cells(c: ClassSpec, count: int, area_m2: float | None) -> list[str]:
    """One row, column by column."""
    rgba = [str(int(c.color[i : i + 2], 16)) for i in (1, 3, 5)] + ["255"]
    area = [] if area_m2 is None else [f"{area_m2 / _M2_PER_HA:.9g}"]
    return [str(c.id), str(count), c.name, *rgba, *area]
