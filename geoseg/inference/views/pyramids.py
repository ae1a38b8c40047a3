"""Pyramids of the coarser levels over a scene, made from its overviews or from the scene itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.readable import Readable
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import ContextLevel


def scene_pyramid(
    scene: SceneBands,
    source: Readable,
    levels: Sequence[ContextLevel],
    *,
    folder: Path | None = None,
    shared: Path | None = None,
) -> ContextPyramid:
    """The pyramid of some levels over a scene, from its overviews if they are averages, else from the scene itself.

    Args:
        scene: the scene to average, at its own resolution.
        source: the scene as the network sees it, perhaps at another resolution: windows are given in its pixels.
        levels: the levels of the pyramid.
        folder: for a scratch file that is removed with the pyramid.
        shared: path of a scratch file that stays, for other processes that need the same levels.
    """
    size = source.height, source.width
    finest = min(_ratio(level, size) for level in levels)
    own = min(scene.height / size[0], scene.width / size[1])  # the scene's pixels in one of the source's
    base = scene.overview(finest * own)
    if base is None and finest * own < 1:
        return ContextPyramid(source, levels, folder=folder, shared=shared)  # a context pixel is finer than the scene's
    averaged = base or scene
    wide = averaged.has_wide_blocks
    return ContextPyramid(averaged, levels, size=size, folder=folder, shared=shared, has_wide_blocks=wide)


def _ratio(level: ContextLevel, size: tuple[int, int]) -> float:
    return max(size) / level.size if level.ratio == "scene" else float(level.ratio)
