"""A scene before it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass

from geoseg.raster.bands.tags import BandTag
from geoseg.raster.scene import Scene


@dataclass(frozen=True)
class SceneRef:
    """Where a scene is, and what its results are called."""

    path: str
    """As GDAL opens it: a path, a VRT, /vsi..., a URL."""
    name: str
    """Name of the scene, with which the names of its results begin."""
    problem: str | None = None
    """Why it cannot be opened, where that is known already: one line."""
    bands: tuple[BandTag, ...] = ()
    """What is said of its bands, for where its file says nothing."""


def open_scene(scene: str | os.PathLike[str] | SceneRef, name: str | None = None) -> Scene:
    """Open a scene, with what is known of it already.

    Raises:
        SceneError: if it cannot be opened.
    """
    if isinstance(scene, SceneRef):
        return Scene.open(scene.path, name=name or scene.name, tags=scene.bands)
    return Scene.open(scene, name=name)
