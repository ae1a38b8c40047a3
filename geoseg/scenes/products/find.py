"""Products by their path: the folder, the archive, or the metadata file of one."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace

from geoseg.core.errors import SceneError, did_you_mean
from geoseg.scenes.paths import is_local
from geoseg.scenes.products.listing import Listing, is_archive, list_archive, list_folder
from geoseg.scenes.products.product import PRODUCTS, FoundProduct
from geoseg.scenes.reference import SceneRef

_ARCHIVED = re.compile(r"/vsi(?:zip|tar)/+?(.+?\.(?:zip|tar|tgz|tar\.gz))(?:/(.*))?", re.IGNORECASE)
_SHOWN = 20


def find_products(listing: Listing) -> list[FoundProduct]:
    """All products among some files, of any kind."""
    return [found for name in PRODUCTS for found in PRODUCTS.get(name).find(listing)]


def find_product(path: str) -> SceneRef | None:
    """The scene of a product, given its folder, its archive, or its metadata file; None for anything else.

    Raises:
        SceneError: if there are several, or it cannot be read.
    """
    found = _products_at(path)
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(one.scene.path for one in found[:_SHOWN])
        raise SceneError(f"{path} holds {len(found)} products: give one of them, {names}")
    if found[0].scene.problem is not None:
        raise SceneError(found[0].scene.problem)
    return replace(found[0].scene, path=path)


def _products_at(path: str) -> list[FoundProduct]:
    """The products of a folder or an archive, or the one of a metadata file."""
    name = posixpath.basename(path.replace(os.sep, "/"))
    if is_local(path) and os.path.isdir(path):
        return find_products(list_folder(path))
    if is_local(path) and is_archive(path):
        return find_products(list_archive(path))
    if (inside := _ARCHIVED.fullmatch(path)) is not None and os.path.isfile(inside[1]):
        return _inside(find_products(list_archive(inside[1])), (inside[2] or "").rstrip("/"))
    if (
        is_local(path)
        and os.path.isfile(path)
        and any(PRODUCTS.get(kind).metadata.fullmatch(name) for kind in PRODUCTS)
    ):
        return _inside(find_products(list_folder(os.path.dirname(path) or ".")), name)
    return []


def _inside(found: Sequence[FoundProduct], inside: str) -> list[FoundProduct]:
    """The products of a folder in an archive or of a metadata file."""
    return [
        one
        for one in found
        if one.metadata == inside or not inside or one.prefix == f"{inside}/" or _same_stem(one.metadata, inside)
    ]


def _same_stem(one: str, other: str) -> bool:
    """Whether two metadata files say the same in two formats."""
    stems = {os.path.splitext(name)[0] for name in (one, other)}
    return len(stems) == 1 and "_MTL" in one.upper()


def choose_parts(scene: SceneRef, wanted: Sequence[str]) -> SceneRef:
    """A product's scene with some of its bands, by their number in the product or by what they measure.

    Raises:
        SceneError: if it lacks one.
    """
    chosen = []
    for key in wanted:
        parts = [part for part in scene.parts if key.lower() in part.name.lower().split()]
        if len(parts) != 1:
            names = [name for part in scene.parts for name in part.name.split()]
            raise SceneError(f"{scene.path} has no band {key}{did_you_mean(key, names)}: it has {', '.join(names)}")
        chosen.append(replace(parts[0], shapes_grid=True))
    return replace(scene, parts=tuple(chosen))
