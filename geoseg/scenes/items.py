"""STAC Items as scenes: one Item, an ItemCollection, a saved list of Items, or the pages of a search.

In: JSON. Out: a scene for each Item, named by its id. An Item without a scene becomes a SceneRef with a problem, so
that one of thousands does not stop the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from geoseg.core.composites import join_composite
from geoseg.core.errors import SceneError, did_you_mean
from geoseg.core.events import Reporter
from geoseg.core.naming import fit_for_files
from geoseg.core.raster_names import is_raster
from geoseg.core.redaction import public_form
from geoseg.raster.bands.files import BandFile
from geoseg.raster.bands.names import ALPHA, NO_BAND, agreed_roles, band_code, word_role
from geoseg.raster.bands.tags import BandTag
from geoseg.scenes.asset_bands import asset_bands
from geoseg.scenes.files import read_json
from geoseg.scenes.paths import is_web, resolve, resolve_given
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
        asset: key of the asset that is the scene, or with commas of one for each band; None leaves the choice to
            `choose_assets`.
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


def choose_assets(item: Mapping[str, Any], wanted: str | None) -> list[str]:
    """Keys of the assets of an Item that are the scene, several if each is a band or some bands.

    Those are the wanted keys (one, or several with commas), else the only raster, else the only raster with the role
    data, else the first of the usual keys for all bands in one file, else all rasters of one band that are known to be
    different parts of the spectrum.

    Raises:
        SceneError: if there is none, with the keys of all assets.
    """
    assets: Mapping[str, Any] = item["assets"]
    known = [key for key, asset in assets.items() if isinstance(asset, dict) and isinstance(asset.get("href"), str)]
    if wanted is not None:
        keys = [wanted] if wanted in known else [key.strip() for key in wanted.split(",")]
        if (missing := next((key for key in keys if key not in known), None)) is not None:
            raise SceneError(f"has no asset {missing}{did_you_mean(missing, known)} {_there_are(known)}")
        return list(dict.fromkeys(keys))
    rasters = [key for key in known if _is_raster(assets[key])]
    for keys in (rasters, [key for key in rasters if "data" in _roles(assets[key])]):
        if len(keys) == 1:
            return keys
    usual = [key for key in _USUAL_KEYS if key in rasters]
    if usual:
        return usual[:1]
    if len(spectral := _spectral(item, rasters)) > 1:
        return spectral
    if rasters:
        raise SceneError(
            f"has several rasters ({_listed(rasters)}): choose one with --asset, or one for each band, as in --asset "
            "red,green,blue"
        )
    raise SceneError(f"has no raster among its assets {_there_are(known)}")


def _spectral(item: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Keys of the assets with one band each that are different parts of the spectrum, the first of each."""
    names = {key: tags[0].name for key in keys if len(tags := _tags(item, item["assets"][key], key)) == 1}
    found: dict[str, str] = {}
    for key, role in zip(names, agreed_roles(list(names.values())), strict=True):
        if role not in (None, NO_BAND, ALPHA, "pan"):
            found.setdefault(str(role), key)
    return list(found.values())


def _tags(item: Mapping[str, Any], asset: Mapping[str, Any], key: str) -> tuple[BandTag, ...]:
    """Tags of the bands of an asset; one that has no name is named by the asset's key, if that denotes a band."""
    tags = asset_bands(item, asset)
    is_role = word_role(key) is not None or band_code(key) is not None
    if len(tags) > 1 or not is_role:
        return tags
    return tuple(replace(tag, name=tag.name or key) for tag in tags or (BandTag(),))


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
        base = _base(fields, source, single)
        keys = choose_assets(fields, asset)
        files = [
            BandFile(resolve_given(assets[key]["href"], base, source), _tags(fields, assets[key], key)) for key in keys
        ]
        if len(files) == 1:  # the key of the only asset is no name of a band: the file may hold several
            return SceneRef(files[0].path, name, bands=asset_bands(fields, assets[keys[0]]))
        return SceneRef(join_composite([("", file.path) for file in files]), name, parts=tuple(files))
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
