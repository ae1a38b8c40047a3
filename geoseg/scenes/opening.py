"""Opening of whatever denotes one scene: the one place where paths, products and references become open scenes."""

from __future__ import annotations

import os

from geoseg.core.composites import split_composite
from geoseg.raster.composites import open_raster
from geoseg.raster.scene import Scene
from geoseg.scenes.products import find_product
from geoseg.scenes.reference import SceneRef


def files_below(scene: str) -> list[str]:
    """The files of a composite address or of a product; none of a single raster."""
    if parts := split_composite(scene):
        return [part.path for part in parts]
    product = find_product(scene)
    return [] if product is None else [part.path for part in product.parts]


def open_scene(scene: str | os.PathLike[str] | SceneRef, name: str | None = None) -> Scene:
    """Open a scene, with the name and band metadata of its reference.

    Args:
        scene: a reference; or what GDAL opens, an address such as RED.tif+GREEN.tif, or a product of Sentinel-2 or
            Landsat by its folder, its archive or its metadata file.
        name: of the scene; default: that of its reference, or of its file.

    Raises:
        SceneError: if it cannot be opened.
    """
    if not isinstance(scene, SceneRef):
        product = find_product(os.fspath(scene))
        if product is None:
            return open_raster(scene, name=name)
        scene = product
    return open_raster(scene.path, name=name or scene.name, tags=scene.bands, parts=scene.parts)
