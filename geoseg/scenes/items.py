"""STAC Items as scenes: one Item, an ItemCollection, a saved list of Items, or the pages of a search.

In: JSON. Out: a scene for each Item, named by its id. An Item without a scene becomes a SceneRef with a problem, so
that one of thousands does not stop the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from geoseg.core.errors import SceneError, did_you_mean
from geoseg.core.events import Reporter
from geoseg.core.naming import fit_for_files
from geoseg.core.redaction import public_form
from geoseg.scenes.asset_bands import asset_bands
from geoseg.scenes.files import read_json
from geoseg.scenes.paths import is_raster, is_web, resolve, resolve_given
from geoseg.scenes.reference import SceneRef

_MEDIA_TYPES = ("image/tiff", "image/jp2", "image/geotiff", "image/x.geotiff", "image/vnd.stac.geotiff")
"""Beginnings of the media types of rasters."""
_NO_SCENE = frozenset({"thumbnail", "overview", "metadata"})
"""Roles of rasters that only illustrate or describe a scene."""
_USUAL_KEYS = ("visual", "image", "data", "analytic", "ortho")
"""Usual keys of the raster with all bands, the preferred ones first."""
_MOST_LISTED = 20
_LONGEST_ID = 200
"""Most letters of an Item's id that messages show."""
_MOST_PAGES, _MOST_IDLE_PAGES = 20_000, 50
"""Most pages of a search, and most consecutive ones without a new Item."""


def read_items(source: str, asset: str | None, reporter: Reporter) -> list[SceneRef]:
    """List the scenes of a file or URL with STAC Items, including further pages of a search.

    Args:
        source: path or URL of the JSON, to which the Items' paths are relative.
        asset: key of the asset that is the scene; None leaves the choice to `choose_asset`.
        reporter: receives a notice if there are further pages that cannot be read.

    Raises:
        SceneError: if it cannot be read, or holds no Items.
    """
    scenes = [
        _scene(item, asset, page, single)
        for page, document in _pages(source, reporter)
        for single, item in _items(document, page)
    ]
    if not scenes:
        raise SceneError(f"{source} holds no STAC Item: its search found nothing, widen it")
    return scenes


def choose_asset(assets: Mapping[str, Any], wanted: str | None) -> str:
    """Key of the asset that is the scene.

    That is the wanted key, else the only raster, else the only raster with the role data, else the first of the usual
    keys for all bands in one file.

    Raises:
        SceneError: if there is none, with the keys of all assets.
    """
    known = [key for key, asset in assets.items() if isinstance(asset, dict) and isinstance(asset.get("href"), str)]
    if wanted is not None:
        if wanted in known:
            return wanted
        raise SceneError(f"has no asset {wanted}{did_you_mean(wanted, known)} {_there_are(known)}")
    rasters = [key for key in known if _is_raster(assets[key])]
    for keys in (rasters, [key for key in rasters if "data" in _roles(assets[key])]):
        if len(keys) == 1:
            return keys[0]
    usual = [key for key in _USUAL_KEYS if key in rasters]
    if usual:
        return usual[0]
    if rasters:
        raise SceneError(f"has several rasters ({_listed(rasters)}): choose one with --asset, or stack them in a VRT")
    raise SceneError(f"has no raster among its assets {_there_are(known)}")


def _pages(source: str, reporter: Reporter) -> Iterator[tuple[str, Any]]:
    """The pages of a search, each with its URL; a file is one page."""
    seen: set[str] = set()
    ids: set[str] = set()
    idle = 0
    page: str | None = source
    while page is not None and page not in seen:
        seen.add(page)
        document = read_json(page)
        yield page, document
        known = len(ids)
        ids.update(_ids(document))
        idle = idle + 1 if len(ids) == known else 0
        if idle > _MOST_IDLE_PAGES or len(seen) > _MOST_PAGES:
            raise SceneError(f"{source} goes on for ever: {len(seen):,} pages, the last {idle:,} without a new Item")
        page = _next_page(document, page, reporter)


def _ids(document: Any) -> Iterator[str]:
    features = document.get("features") if isinstance(document, dict) else None
    for item in features if isinstance(features, list) else ():
        yield f"{item.get('collection')}/{item.get('id')}" if isinstance(item, dict) else ""


def _next_page(document: Any, page: str, reporter: Reporter) -> str | None:
    following = _links(document, "next")
    href = following[0].get("href") if following else None
    if not isinstance(href, str) or document.get("type") != "FeatureCollection":
        return None
    if is_web(page) and str(following[0].get("method", "GET")).upper() == "GET":
        following_page = resolve(href, page)
        if not is_web(following_page):
            raise SceneError(f"{page} names a next page that is not on a server: save all pages as files")
        return following_page
    reporter.notice(
        f"{public_form(page)} is one page of a search with more: scenes of the others are left out, save all of them"
    )
    return None


def _links(holder: Any, relation: str) -> list[dict[str, Any]]:
    """Links of a document or an Item with a given relation."""
    links = holder.get("links") if isinstance(holder, dict) else None
    return (
        [link for link in links if isinstance(link, dict) and link.get("rel") == relation]
        if isinstance(links, list)
        else []
    )


def _items(document: Any, source: str) -> Iterator[tuple[bool, Any]]:
    """The Items of a document, and whether it is a single Item.

    Raises:
        SceneError: if it is something else.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "Feature":
        yield True, document
        return
    features = document.get("features") if kind == "FeatureCollection" else document
    if not isinstance(features, list):
        what = f"is a STAC {kind}" if kind in ("Catalog", "Collection") else "holds no STAC Items"
        raise SceneError(f"{source} {what}: give an Item, an ItemCollection, or the saved result of a search")
    for feature in features:
        yield False, feature


def _scene(item: Any, asset: str | None, source: str, single: bool) -> SceneRef:
    """The scene of an Item; its `problem` is set if it has none."""
    fields = item if isinstance(item, dict) else {}
    identity = str(fields.get("id") or "without an id")[:_LONGEST_ID]
    name = fit_for_files(str(fields.get("id") or "scene"))
    try:
        assets = fields.get("assets")
        if not isinstance(assets, dict):
            raise SceneError("is no STAC Item, for it has no assets: give Items")
        chosen = assets[choose_asset(assets, asset)]
        path = resolve_given(chosen["href"], _base(fields, source, single), source)
        return SceneRef(path, name, bands=asset_bands(fields, chosen))
    except (SceneError, ValueError) as error:
        return SceneRef(f"{source}#{identity}", name, f"item {identity} of {source} {error}")


def _base(item: Mapping[str, Any], source: str, single: bool) -> str:
    """Base of an Item's relative paths: its file, or the Item's self link if it is one of several."""
    own = [link.get("href") for link in _links(item, "self")]
    return own[0] if own and not single and isinstance(own[0], str) and "://" in own[0] else source


def _is_raster(asset: Mapping[str, Any]) -> bool:
    media_type = str(asset.get("type") or "").lower()
    return (
        media_type.startswith(_MEDIA_TYPES) or is_raster(asset["href"].partition("?")[0])
    ) and not _NO_SCENE & _roles(asset)


def _roles(asset: Mapping[str, Any]) -> set[str]:
    roles = asset.get("roles")
    return {role for role in roles if isinstance(role, str)} if isinstance(roles, list) else set()


def _there_are(keys: list[str]) -> str:
    return f"({_listed(keys)}): choose one with --asset" if keys else "(it has none): leave it out"


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:_MOST_LISTED]) + (
        f" and {len(keys) - _MOST_LISTED} more" if len(keys) > _MOST_LISTED else ""
    )
