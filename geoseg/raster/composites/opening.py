"""Opening of rasters, single ones and composite scenes.

In: an address, or the files of the bands. Out: a Scene on the grid of the file with the smallest pixels. Files whose
bands lie on other grids of the same CRS are resampled when they are read; those of another CRS are refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from geoseg.core.errors import SceneError
from geoseg.core.naming import scene_name
from geoseg.core.redaction import public_form
from geoseg.geo.crs import crs_name, same_horizontal_crs
from geoseg.raster.bands.file_names import names_of_files
from geoseg.raster.bands.files import BandFile, files_of
from geoseg.raster.bands.names import band_code, only_counts, word_role
from geoseg.raster.bands.tags import BandTag
from geoseg.raster.composites.alignment import Alignment
from geoseg.raster.composites.stack import AlignedFile, BandStack
from geoseg.raster.scene import Scene
from geoseg.raster.scene_info import SceneInfo

T = TypeVar("T")

_FINEST = 1 - 1e-6
"""Ratio of pixel areas below which a pixel is the smaller one."""


def open_raster(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    tags: Sequence[BandTag] = (),
    parts: Sequence[BandFile] = (),
) -> Scene:
    """Open a raster or a composite scene.

    Args:
        path: what GDAL opens, or an address such as RED.tif+GREEN.tif+BLUE.tif.
        name: of the scene; default: that of its file.
        tags: band metadata from elsewhere; the files' own has precedence.
        parts: the files of a composite scene, of which the path is only the name.

    Raises:
        SceneError: if a file is missing, no raster, or does not go with the others.
    """
    files = tuple(parts) or files_of(path, tags)
    if not files:
        return Scene.open(path, name=name, tags=tags)
    with ExitStack() as stack:
        scenes = [stack.enter_context(_open(file)) for file in files]
        composite = _compose(os.fspath(path), name, files, scenes)
        stack.pop_all()
    return composite


def _open(file: BandFile) -> Scene:
    scene = Scene.open(file.path, tags=file.tags)
    if not file.name:
        return scene
    bands = [i for i, color in enumerate(scene.info.colors) if i + 1 != scene.alpha]
    if len(bands) != 1:
        scene.dataset.close()
        raise SceneError(
            f"{public_form(file.path)} has {len(bands)} bands, and {file.name}= names one: leave the name out, or give "
            "a file of one band"
        )
    return scene


def _compose(path: str, name: str | None, files: Sequence[BandFile], scenes: Sequence[Scene]) -> Scene:
    """The scene of some open files."""
    grid = _grid_of(files, scenes)
    aligned = [AlignedFile(scene, _alignment(scene, grid)) for scene in scenes]
    stack = BandStack(aligned, grid.grid)
    infos = [_described(one, file.bands) for one, file in zip(_names(files, scenes), aligned, strict=True)]
    has_marks = any(i.mask != "none" for i in infos) or not all(f.alignment.covers(*_size(grid)) for f in aligned)
    info = SceneInfo(
        path=path,
        name=name or scene_name(path),
        height=grid.height,
        width=grid.width,
        dtypes=tuple(dtype for one in infos for dtype in one.dtypes),
        colors=tuple(color for one in infos for color in one.colors),
        descriptions=tuple(text for one in infos for text in one.descriptions),
        nodata=tuple(value for one in infos for value in one.nodata),
        scales=tuple(scale for one in infos for scale in one.scales),
        offsets=tuple(offset for one in infos for offset in one.offsets),
        mask="bands" if has_marks else "none",
        crs=grid.info.crs,
        transform=grid.info.transform,
        gcps=grid.info.gcps,
        rpcs=grid.info.rpcs,
    )
    return Scene(stack, info, None, parts=tuple(files))


def _size(scene: Scene) -> tuple[int, int]:
    return scene.height, scene.width


def _described(info: SceneInfo, bands: Sequence[int]) -> SceneInfo:
    """The description of some of a file's bands."""

    def chosen(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(values[i - 1] for i in bands)

    return replace(
        info,
        dtypes=chosen(info.dtypes),
        colors=chosen(info.colors),
        descriptions=chosen(info.descriptions),
        nodata=chosen(info.nodata),
        scales=chosen(info.scales),
        offsets=chosen(info.offsets),
    )


# ---------------------------------------------------------------------------------------------------------------- grids


def _grid_of(files: Sequence[BandFile], scenes: Sequence[Scene]) -> Scene:
    """The file with the smallest pixels, the first of several, among those that may shape the grid if there are any."""
    shaping = [scene for file, scene in zip(files, scenes, strict=True) if file.shapes_grid] or list(scenes)
    finest = shaping[0]
    for scene in shaping[1:]:
        if abs(scene.info.transform.determinant) < _FINEST * abs(finest.info.transform.determinant):
            finest = scene
    return finest


def _alignment(scene: Scene, grid: Scene) -> Alignment:
    """How the grid's pixels lie in a file.

    Raises:
        SceneError: if the file has another CRS, turned pixels, no pixel in common, or no coordinates while others have.
    """
    one, other = scene.grid, grid.grid
    shown, wanted = public_form(scene.info.path), public_form(grid.info.path)
    if not same_horizontal_crs(one.crs, other.crs):
        raise SceneError(
            f"{shown} is in {crs_name(one.crs)}, {wanted} in {crs_name(other.crs)}: bring the bands of a scene to one "
            "CRS, with gdalwarp"
        )
    if not (one.is_georeferenced and other.is_georeferenced) and (
        one.is_georeferenced != other.is_georeferenced or (one.height, one.width) != (other.height, other.width)
    ):
        raise SceneError(
            f"{shown} ({one.width} x {one.height} pixels) and {wanted} ({other.width} x {other.height} pixels) cannot "
            "be laid on each other, as not both have coordinates: give bands with coordinates, or all without and of "
            "one size"
        )
    found = Alignment.between(other, one)
    if found is None:
        raise SceneError(
            f"the pixels of {shown} are turned against those of {wanted}: bring both to one grid, with gdalwarp"
        )
    if not found.overlaps(other.height, other.width):
        raise SceneError(
            f"{shown} ({one.extent}) and {wanted} ({other.extent}) do not overlap: give bands of the same place"
        )
    return found


# ---------------------------------------------------------------------------------------------------------------- names


def _names(files: Sequence[BandFile], scenes: Sequence[Scene]) -> list[SceneInfo]:
    """Descriptions of the files, in which each band has the best known name."""
    by_file = names_of_files([file.path for file in files])
    return [
        replace(scene.info, descriptions=_best_names(file, scene.info, name))
        for file, scene, name in zip(files, scenes, by_file, strict=True)
    ]


def _best_names(file: BandFile, info: SceneInfo, from_file: str) -> tuple[str, ...]:
    """Names of a file's bands: as given, else the first of its own, its tag's and its path's that denotes a band."""
    if file.name:
        return (file.name,) * len(info.colors)
    own = info.descriptions
    if sum(color != "alpha" for color in info.colors) > 1:
        return own
    tagged = file.tags[0].name if len(file.tags) == 1 else ""
    known = [*(text for text in own if not only_counts(text)), tagged, from_file]
    best = next((name for name in known if word_role(name) or band_code(name)), own[0] or tagged or from_file)
    return (best,) * len(own)
