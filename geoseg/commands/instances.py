"""The raster of instances: the number of the instance of each pixel, as a GeoTIFF on the grid of the class raster.

In: the instances, the grid's georeferencing. Out: a cloud-optimised GeoTIFF of whole numbers, 0 where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.geo.aoi import Area
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.outputs.cog import write_cog
from geoseg.outputs.geotiff import BLOCK, COUNT_TAG, INSTANCES_FORMAT, Part, PartRaster, write_mosaic
from geoseg.raster.scene_info import SceneInfo, describe_dataset
from geoseg.vector.instances import Instances


def write_instances(instances: Instances, info: SceneInfo, tags: Mapping[str, str], folder: Path, path: Path) -> None:
    """Write the numbers of instances.

    Args:
        instances: the instances of a raster.
        info: size and georeferencing of that raster.
        tags: tags of the file, besides the number of instances.
        folder: a folder for unfinished files, which are left in it.
        path: the file, in a workspace.
    """
    layout = INSTANCES_FORMAT.with_tags({**tags, COUNT_TAG: str(len(instances))})
    part, mosaic = folder / "instances.part.tif", folder / "instances.vrt"
    with PartRaster(part, (info.height, info.width), layout) as raster:
        for row, numbers in instances.strips(BLOCK):
            if numbers.any():
                raster.write(Window(row, 0, *numbers.shape), numbers)
    write_mosaic(mosaic, info, layout, [Part(part, 0, info.height)])
    write_cog(mosaic, layout, path)


def place_of(opened: Any, part: PixelGrid, area: Area | None) -> SceneInfo:
    """Size and georeferencing of an open class raster, or of an area of it."""
    info = describe_dataset(opened, opened.name, "", None)
    if area is None:
        return info
    return replace(info, height=part.height, width=part.width, transform=part.transform, gcps=([], None), rpcs=None)
