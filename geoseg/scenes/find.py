"""Expansion of inputs to the list of scenes."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from geoseg.core.composites import matching, split_composite
from geoseg.core.errors import SceneError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.naming import scene_name
from geoseg.core.patterns import is_pattern, resolved
from geoseg.core.raster_names import is_raster, is_result, path_of, suffix
from geoseg.core.redaction import public_form
from geoseg.scenes.files import read_text
from geoseg.scenes.items import read_items
from geoseg.scenes.names import name_apart
from geoseg.scenes.paths import identity, is_local, is_web, resolve_given
from geoseg.scenes.products.find import choose_parts, find_product, find_products
from geoseg.scenes.products.listing import is_archive, list_archive, list_folder
from geoseg.scenes.reference import SceneRef

SceneInput = str | os.PathLike[str] | SceneRef
"""Anything that denotes one scene or several."""

_ITEMS = (".json", ".geojson")
_STREAMED = ".gdalg.json"
"""File suffix of JSON that is a raster: a pipeline that GDAL runs."""
_API = re.compile(r"/search/?$|/collections/[^/]+/items(/[^/]+)?/?$")
"""URLs of a STAC API that respond with Items, and have no suffix."""
_ASCII_GRID = re.compile(r"\s*ncols\s+\d", re.IGNORECASE)
"""Beginning of a raster format whose files may have the suffix .txt."""


def find_scenes(
    inputs: SceneInput | Sequence[SceneInput], *, asset: str | None = None, reporter: Reporter = SILENT
) -> tuple[SceneRef, ...]:
    """List the scenes of some inputs, each once, with distinct names (see `geoseg.scenes.names`).

    Args:
        inputs: each one a scene (a path, a VRT, /vsi..., a URL, RED.tif+GREEN.tif, a product), a folder or archive, a
            pattern with * ? [] {} or **, a .txt file with a path or URL on each line, or STAC Items (.json or .geojson,
            or the URL of a search).
        asset: key of the asset that is the scene, or with commas of one for each band, for STAC Items and products.
        reporter: takes notices, e.g. of pages of a search that cannot be read.

    Raises:
        SceneError: if an input cannot be read or holds no scene. Whether a single scene exists is checked only when it
            is opened.
    """
    given = [inputs] if isinstance(inputs, str | os.PathLike | SceneRef) else inputs
    found = [scene for each in given for scene in _expand(each, asset, reporter)]
    if not found:
        raise SceneError("no scene was given: give a raster, a folder, a pattern, a list, or STAC Items")
    problems = [scene.problem for scene in found if scene.problem is not None]
    if len(problems) == len(found):
        more = f" (and {len(found) - 1:,} more like it)" if len(found) > 1 else ""
        raise SceneError(f"{problems[0]}{more}")
    once: dict[str, SceneRef] = {}
    for scene in found:
        once.setdefault(identity(scene.path), scene)
    return name_apart(list(once.values()))


def _expand(given: SceneInput, asset: str | None, reporter: Reporter) -> list[SceneRef]:
    if isinstance(given, SceneRef):
        return [given]
    path = os.fspath(given)
    if split_composite(path):
        return _or_refuse([_named(address) for address, _ in matching(path)], f"no raster matches {public_form(path)}")
    if _is_folder(path) or is_archive(path):
        return _or_refuse(_in_listing(path, asset), f"{path} holds no raster that is a scene")
    if (product := find_product(path)) is not None:
        return [_with_bands(product, asset)]
    if _is_pattern(path):
        expanded = (
            _in_listing(match, asset) if _is_folder(match) else _expand(match, asset, reporter)
            for match in _matches(path)
        )
        return _or_refuse([scene for scenes in expanded for scene in scenes], f"no raster matches {path}")
    if _holds_items(path):
        return read_items(path, asset, reporter)
    if suffix(path) == ".txt" and (is_web(path) or is_local(path)):
        return _listed(path)
    return [_named(path)]


def _named(path: str) -> SceneRef:
    return SceneRef(path, scene_name(path))


# ------------------------------------------------------------------------------------------------ folders and patterns


def _is_folder(path: str) -> bool:
    return is_local(path) and os.path.isdir(path)


def _or_refuse(scenes: list[SceneRef], problem: str) -> list[SceneRef]:
    if not scenes:
        raise SceneError(f"{problem}: scenes end in .tif, .vrt, .jp2, .img, ..., and results of geoseg are left out")
    return scenes


def _in_listing(path: str, asset: str | None) -> list[SceneRef]:
    """The products in a folder or an archive, then the other rasters, without geoseg's own results; sorted."""
    listing = list_folder(path) if os.path.isdir(path) else list_archive(path)
    products = find_products(listing)
    inside = tuple(product.prefix for product in products)
    others = [name for name in listing.names if is_raster(name) and not is_result(name) and not name.startswith(inside)]
    scenes = [_with_bands(product.scene, asset) for product in products]
    if len(scenes) == 1 and not others:
        return [replace(scenes[0], path=path)]
    return scenes + [_named(listing.address(name)) for name in others]


def _with_bands(scene: SceneRef, asset: str | None) -> SceneRef:
    """A product with the bands that --asset names, if it names any."""
    return scene if asset is None or scene.problem is not None else choose_parts(scene, asset.split(","))


def _is_pattern(path: str) -> bool:
    return is_local(path) and is_pattern(path) and not os.path.exists(path)


def _matches(pattern: str) -> list[str]:
    """Files and folders that match a pattern, without geoseg's own results; sorted.

    Folders that ** passes through are no matches. Where the pattern leaves the file suffix open, only rasters match.
    """
    return sorted({path for one in resolved(pattern).alternatives() for path in _matching(one)})


def _matching(pattern: str) -> list[str]:
    """The same for a pattern without braces, as Python's glob writes it."""
    wants_folders = os.path.basename(pattern) != "**"
    is_open = not suffix(pattern) or glob.has_magic(suffix(pattern))

    def is_meant(path: str) -> bool:
        if os.path.isdir(path):
            return wants_folders
        return not is_result(path) and (is_raster(path) or not is_open)

    return [path for path in glob.glob(pattern, recursive=True) if is_meant(path)]


# ------------------------------------------------------------------------------------------------------ lists and items


def _listed(path: str) -> list[SceneRef]:
    """The scenes listed in a text file, one per line; paths may be relative to the file."""
    text = read_text(path)
    if _ASCII_GRID.match(text):
        return [_named(path)]
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if not lines:
        raise SceneError(f"{path} lists no scene: write a path or URL on each line")
    try:
        return [_named(resolve_given(line, path, path)) for line in lines]
    except (SceneError, ValueError) as error:
        raise SceneError(f"{public_form(path)} {error}") from None


def _holds_items(path: str) -> bool:
    if not (is_web(path) or is_local(path)) or path.lower().endswith(_STREAMED):
        return False
    if suffix(path) in _ITEMS:
        return True
    return is_web(path) and not is_raster(path) and _API.search(path_of(path)) is not None
