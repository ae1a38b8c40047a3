"""Bands, type and size of images that nobody has described yet.

In: images. Out: band names in the images' order, and what all images have in common. Reads headers, and the frames of
a few images.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from geoseg.core.errors import LabelError, ModelError
from geoseg.core.wording import number_of
from geoseg.raster.bands.embeddings import are_axes, may_be_axes
from geoseg.raster.bands.matching import choose_bands, fits_dtype
from geoseg.raster.bands.names import NO_BAND, agreed_roles
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.scene_info import SceneInfo
from geoseg.scenes import open_scene
from geoseg.spec.base import MOST_BANDS, DataType

USUAL = {1: ("gray",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "nir")}
"""Names of bands that nothing names, by their number."""
_BAND_NUMBER = re.compile(r"(?:^|[^A-Za-z0-9])(B(?:\d{1,2}|8A))(?![A-Za-z0-9])", re.IGNORECASE)
"""A band's number in the name of a file."""
MOST_FRAMES = 4
"""Images whose frames are searched for fill, and whose values are sampled."""


@dataclass(frozen=True)
class FoundImages:
    """What images have in common."""

    bands: tuple[str, ...]
    """Names of the bands."""
    band_indexes: tuple[int, ...] | None
    """Where they stand; None where their names or colours say so."""
    dtype: str
    """Type of the values, as a config has it."""
    nodata: float | None
    """Fill that no file declares; None if there is none."""
    resolution_m: float | None
    """Pixel size of the first image in metres; None if it is unknown."""
    sides: tuple[int, int]
    """Shortest and longest side of an image, in pixels."""
    pixels: int
    """Pixels of all images."""
    are_placed: bool
    """Whether all have coordinates."""
    are_axes: bool
    """Whether the bands are the axes of an embedding."""
    notices: tuple[str, ...]
    """What was guessed: a sentence each."""


def find_bands(images: Sequence[Path]) -> FoundImages:
    """Describe images, which must have equal bands.

    Raises:
        SceneError: if one cannot be opened.
        LabelError: if they differ in bands or hold values of an unknown type.
    """
    infos, fills, lowest = [], [], 0.0
    for path in images:
        with open_scene(path) as scene:
            infos.append(scene.info)
            lowest = min(lowest, _lowest(scene)) if len(infos) <= MOST_FRAMES else lowest
            if len(images) <= MOST_FRAMES:
                indexes = _indexes(scene.info)
                fill = SceneBands.select(scene, indexes).find_fill()
                fills += [fill.value] if fill is not None and fill.is_exact else []
    first, indexes = infos[0], _indexes(infos[0])
    for info in infos[1:]:
        if _indexes(info) != indexes:
            raise LabelError(
                f"{info.path} has {number_of(len(_indexes(info)), 'band')}, {first.path} has {len(indexes)}: write a "
                "config for each kind"
            )
    names, is_guess = _names(first, indexes)
    dtype = _type(Counter(info.dtype_of(indexes) for info in infos))
    nodata = fills[0] if len({*fills}) == 1 and len(fills) == len(infos) else None
    sides = [side for info in infos for side in (info.height, info.width)]
    notices = []
    if is_guess:
        notices.append(f"nothing names the bands: {', '.join(names)} are a guess by their number and order")
    if nodata is not None:
        notices.append(f"a constant of {nodata:g} fills the images from their frame inwards, and is taken for nodata")
    return FoundImages(
        bands=names,
        band_indexes=_written_indexes(names, indexes, infos),
        dtype=dtype,
        nodata=nodata,
        resolution_m=first.resolution_m,
        sides=(min(sides), max(sides)),
        pixels=sum(info.height * info.width for info in infos),
        are_axes=are_axes(names, dtype, lowest),
        are_placed=all(info.crs is not None and not info.transform.is_identity for info in infos),
        notices=tuple(notices),
    )


def _lowest(scene: Scene) -> float:
    """Lowest value below 0 with data in a sample of a scene that may be an embedding; 0 if none, and for any other."""
    indexes = _indexes(scene.info)
    if not may_be_axes(_names(scene.info, indexes)[0], scene.info.dtype_of(indexes)):
        return 0.0
    return float(SceneBands.select(scene, indexes).sampled().min(initial=0))


def bands_in_files(images: Sequence[Path]) -> dict[str, Path] | None:
    """Images that are the bands of one scene, a file each, by their names; None if they are not.

    They have one band each, cover the same area, and one part of their names differs in all: B02, red, nir, ...
    """
    if len(images) < 2:
        return None
    extents = []
    for path in images:
        with open_scene(path) as scene:
            if len(_indexes(scene.info)) != 1:
                return None
            extents.append((*scene.grid.bounds, str(scene.info.crs)))
    step = max(abs(extents[0][2] - extents[0][0]), abs(extents[0][3] - extents[0][1])) / 100
    if any(one[4] != extents[0][4] or max(map(abs, _differences(one, extents[0]))) > step for one in extents):
        return None
    names = _telling(images)
    roles = agreed_roles(names) if names else ()
    if not any(role and role != NO_BAND for role in roles):
        return None
    named = [role if role and roles.count(role) == 1 else name for role, name in zip(roles, names, strict=True)]
    return dict(zip(named, images, strict=True)) if len({*named}) == len(named) else None


def one_band_twice(images: Sequence[Path]) -> tuple[Path, Path] | None:
    """Two files of one band each whose names number the same band (B04), and which cover the same area; None if none.

    These are files of a product without its metadata, of two resolutions or dates.
    """
    found: dict[tuple[str, float, float], Path] = {}
    for path in images:
        number = _BAND_NUMBER.search(path.stem)
        if number is None:
            continue
        with open_scene(path) as scene:
            if len(_indexes(scene.info)) != 1:
                continue
            left, _, _, top = scene.grid.bounds
        first = found.setdefault((number[1].upper().lstrip("B0"), left, top), path)
        if first != path:
            return first, path
    return None


def _differences(one: Sequence[Any], other: Sequence[Any]) -> list[float]:
    return [a - b for a, b in zip(one[:4], other[:4], strict=True)]


def _telling(images: Sequence[Path]) -> list[str]:
    """The part of each file's name that differs in all of them; none if there is no such part."""
    columns = list(zip(*(re.findall(r"[A-Za-z0-9]+", path.stem) for path in images), strict=False))
    return next((list(column) for column in columns if len({*column}) == len(images)), [])


def _indexes(info: SceneInfo) -> tuple[int, ...]:
    """Numbers of the bands that are imagery."""
    return tuple(i for i, color in enumerate(info.colors, 1) if color != "alpha")[:MOST_BANDS]


def _names(info: SceneInfo, indexes: Sequence[int]) -> tuple[tuple[str, ...], bool]:
    """Names of bands, and whether they are guessed: roles, else descriptions, else colours, else the usual ones."""
    described = [info.descriptions[i - 1].strip() for i in indexes]
    roles = agreed_roles(described)
    named = [
        role if role and role != NO_BAND and roles.count(role) == 1 else text
        for role, text in zip(roles, described, strict=True)
    ]
    if all(named) and len({*named}) == len(named):
        return tuple(name[:200] for name in named), False
    colors = [info.colors[i - 1] for i in indexes]
    if {*colors} == {"red", "green", "blue"} and len(colors) == 3:
        return tuple(colors), False
    return USUAL.get(len(indexes), tuple(f"band {i}" for i in indexes)), len(indexes) > 1


def _written_indexes(
    names: Sequence[str], indexes: tuple[int, ...], infos: Sequence[SceneInfo]
) -> tuple[int, ...] | None:
    """None if the names find the bands in every image, else where they stand."""
    for info in infos:
        try:
            found = choose_bands(names, info.colors, info.descriptions, None).indexes
        except ModelError:
            return indexes
        if tuple(found) != indexes:
            return indexes
    return None


def _type(types: Counter[str]) -> str:
    """The type for a config that fits all images.

    Raises:
        LabelError: if there is none.
    """
    for name in get_args(DataType):
        if all(fits_dtype(own, name) for own in types):
            return str(name)
    raise LabelError(f"the images hold {' and '.join(types)}: convert them to one type (gdal_translate -ot)")
