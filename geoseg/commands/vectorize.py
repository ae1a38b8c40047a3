"""`geoseg vectorize`: polygons of a class raster, as a vector file.

In: the path of any single-band raster of integers. Out: a vector file, and a result that describes it. The raster is
read in strips, so that memory depends on its polygons and not on its size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from geoseg.commands.output_paths import check_names, instances_path
from geoseg.core.errors import OutputError, SpecError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.files import one_line, publish, workspace
from geoseg.core.naming import layer_name
from geoseg.geo.aoi import find_area
from geoseg.geo.crs import same_horizontal_crs
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.outputs.styles import (
    add_layer_style,
    has_polygon_style,
    shared_qml,
    style_paths,
    vector_qml,
    vector_sld,
    write_style_files,
)
from geoseg.raster.class_raster import open_classes
from geoseg.raster.confidence import open_confidence
from geoseg.raster.legends import read_legend, with_file
from geoseg.raster.notices_tag import stated_notices
from geoseg.raster.rights import Rights
from geoseg.spec import VectorizeSpec, VectorSpec, parse_spec
from geoseg.spec.settings import VectorizeSettings
from geoseg.vector.formats import check_extension, format_of
from geoseg.vector.layer import PolygonLayer
from geoseg.vector.polygonize import Polygonizer, grid_of_classes
from geoseg.vector.write import write_polygons

if TYPE_CHECKING:
    from geoseg.vector.check import PolygonCheck

__all__ = ["VectorizeResult", "vectorize"]

MOST_STYLED = 1000
"""Most classes of a style: GIS draw layers of more categories slowly, and nobody reads their legend."""
RASTER_ENDS = (".tif", ".tiff", ".img", ".vrt", ".asc", ".nc")
"""Endings of class rasters whose styles go by the same names as those of polygons."""


@dataclass(frozen=True)
class VectorizeResult:
    """The result of `vectorize`."""

    output: Path
    """The vector file."""
    polygons: int
    """How many polygons are in it."""
    class_shares: Mapping[str, float]
    """Share of each class in the area of the polygons, 0..1, by name in the order of class ids."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """What the user should know of: a sentence each."""
    check: PolygonCheck | None = None
    """What became of the raster, if that was asked for."""
    instances: int | None = None
    """How many instances there are; None if none are numbered."""
    instances_raster: Path | None = None
    """Their raster."""


def vectorize(
    raster: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    check: bool = False,
    confidence: str | os.PathLike[str] | None = None,
    reporter: Reporter = SILENT,
    **settings: Unpack[VectorizeSettings],
) -> VectorizeResult:
    """Write the regions of a class raster as polygons, in the format of the output's extension.

    Args:
        raster: any raster with a single band of whole numbers.
        output: .gpkg, .shp, .geojson, .fgb, .parquet, .pmtiles or .mbtiles.
        overwrite: replace a file that exists.
        check: read the polygons back and compare them with the raster.
        confidence: a raster on the same pixels, in percent or from 0 to 1, whose mean each polygon gets.
        reporter: takes notices, and the progress of `polygons` in pixels.
        settings: fields of VectorizeSpec.

    Raises:
        SceneError: The raster cannot be read, or is no class raster.
        SpecError: A setting is invalid, or does not go with this raster.
        OutputError: The output exists, names no format, or cannot be written.
    """
    started = time.perf_counter()
    spec = parse_spec(VectorizeSpec, settings, source="settings")
    output = Path(output)
    check_output(output, overwrite)
    numbers = None if spec.vector.instances is None else instances_path(output)
    if numbers is not None:
        check_free(numbers, overwrite)
    with open_classes(raster) as opened:
        reading = with_file(read_legend(opened), spec.names.legend)
        grid, unplaced = grid_of_classes(opened)
        if check:
            _check_checkable(grid, spec, output)
        area = find_area(grid, spec.area.aoi, spec.area.bbox, opened.name)
        beside = nullcontext(output.parent) if numbers is None else workspace(numbers)
        with open_confidence(confidence, grid) as percentages, beside as folder:
            job = Polygonizer(opened, percentages, grid, reading.legend, spec.vector, area)
            with job.numbered(folder) as instances:
                tags = opened.tags()
                rights = Rights.stated(tags)
                layer = replace(job.run(reporter, instances), notices=stated_notices(tags), rights=rights)
                if numbers is not None and instances is not None:
                    from geoseg.commands.instances import place_of, write_instances

                    draft = folder / numbers.name
                    write_instances(instances, place_of(opened, job.part, area), rights.tags(), folder, draft)
            styles = _place_of_styles(output, spec.vector, overwrite)
            write_polygons(layer, output, finish=partial(_style, layer, output.stem, styles))
            if numbers is not None:
                publish(folder / numbers.name, numbers)
            found = _checked(output, job) if check else None
    unstyled = styles.notice(output)
    unmarked = _unmarked_notice(job.unmarked)
    crowd = len(np.unique(layer.regions.class_id))
    plain = f"polygons have no style, as there are {crowd:,} classes" if crowd > MOST_STYLED else None
    nothing = None if len(layer) else "the raster shows no class here: the layer is empty"
    whole = None if instances is None else instances.notice
    said = (unplaced, *reading.notices, unstyled, unmarked, whole, plain, nothing)
    notices = tuple(notice for notice in said if notice)
    for notice in notices:
        reporter.notice(notice)
    counts = len(layer), class_shares(layer), time.perf_counter() - started
    return VectorizeResult(output, *counts, notices, found, None if instances is None else len(instances), numbers)


def _unmarked_notice(fill: tuple[int, int] | None) -> str | None:
    """A notice that a value that is nodata in many rasters is a class in one without a nodata value."""
    if fill is None:
        return None
    value, pixels = fill
    return (
        f"the raster does not say that {value} is nodata, so that it is a class ({pixels:,} px): if it means nodata, "
        f"say so with gdal_edit.py -a_nodata {value}"
    )


def _checked(output: Path, job: Polygonizer) -> PolygonCheck:
    from geoseg.vector.check import check_polygons

    try:
        return check_polygons(output, job.strips(), job.part, job.codes)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{output} is written, but cannot be checked: {one_line(error)}") from None


def _check_checkable(grid: PixelGrid, spec: VectorizeSpec, output: Path) -> None:
    """Refuse to check polygons in another CRS than the raster's, and those in tiles."""
    coordinates = format_of(output).traits.coordinates
    if coordinates == "tiles":
        raise SpecError(f"polygons in tiles ({output.suffix}) cannot be checked: write another format")
    leaves = coordinates == "degrees" and grid.crs is not None and not _is_geojson(grid)
    if spec.vector.to_crs is not None or leaves:
        remedy = "leave out to_crs" if spec.vector.to_crs is not None else "write another format than GeoJSON"
        raise SpecError(f"only polygons in the raster's CRS can be checked: {remedy}")


def _is_geojson(grid: PixelGrid) -> bool:
    """Whether a raster's coordinates are those of GeoJSON: WGS 84, longitudes up to 180°."""
    left, _, right, _ = grid.box(Window(0, 0, grid.height, grid.width))
    return same_horizontal_crs(grid.crs, "EPSG:4326") and left >= -180 and right <= 180


@dataclass(frozen=True)
class _Styles:
    """Where the styles of polygons go."""

    embeds: bool
    """Whether they go into the vector file."""
    owner: Path | None
    """What keeps them from the place beside it: a class raster, or files that may not be replaced; None for nothing."""

    def notice(self, output: Path) -> str | None:
        """A notice that they are not beside the vector file; None if they are."""
        if self.owner is None:
            return None
        where = "are inside of it only" if self.embeds else "were not written"
        styles = style_paths(output)
        is_style = self.owner in styles
        remedy = "pass --overwrite to replace it" if is_style else f"{styles[0].name} would be its style, too"
        return f"the styles of {output} {where}, because of {self.owner}: {remedy}, or choose another name"


def _place_of_styles(output: Path, spec: VectorSpec, overwrite: bool) -> _Styles:
    """Styles go beside the file; inside as well if that is asked for, or what lies there is no style of polygons."""
    raster = next((path for end in RASTER_ENDS if (path := output.with_suffix(end)).exists()), None)
    existing = next((path for path in style_paths(output) if path.exists()), None)
    owner = raster or (None if overwrite else existing)
    is_bare = owner is not None and not has_polygon_style(style_paths(output)[0])
    return _Styles(format_of(output).traits.holds_styles and (spec.embed_style or is_bare), owner)


def _style(layer: PolygonLayer, name: str, styles: _Styles, draft: Path) -> None:
    """Write the styles of polygons, unless there are too many classes for any."""
    ids = np.unique(layer.regions.class_id).tolist()
    if len(ids) > MOST_STYLED:
        return
    classes = layer.legend.classes(ids)
    sld = vector_sld(classes, layer_name(name))
    if styles.embeds:
        add_layer_style(draft, layer_name(name), vector_qml(classes), sld)
    if styles.owner is None:
        write_style_files(draft, shared_qml(classes), sld)


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output that could not be written, before any work is done.

    Raises:
        OutputError: The extension is unknown, or the file exists and may not be replaced.
    """
    check_extension(output)
    check_names([output])
    check_free(output, overwrite)


def check_free(output: Path, overwrite: bool) -> None:
    """Refuse the path of an output that is taken.

    Raises:
        OutputError: It is a folder, or exists and may not be replaced.
    """
    if output.is_dir():
        raise OutputError(f"{output} is a folder: choose another name")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists: choose another name or pass --overwrite")


def class_shares(layer: PolygonLayer) -> dict[str, float]:
    """Share of each class in the pixels of all regions, 0..1, by name in the order of class ids."""
    ids, which = np.unique(layer.regions.class_id, return_inverse=True)
    pixels = np.bincount(which, weights=layer.regions.pixels, minlength=len(ids))
    shares: dict[str, float] = {}
    for class_id, share in zip(ids.tolist(), (pixels / max(1, pixels.sum())).tolist(), strict=True):
        name = layer.legend.name(class_id)
        shares[name] = shares.get(name, 0.0) + share
    return shares
