"""References to scenes that are not open."""

from __future__ import annotations

import os
from dataclasses import dataclass

from geoseg.raster.bands.tags import BandTag
from geoseg.raster.scene import Scene


@dataclass(frozen=True)
class SceneRef:
    """A scene's path, and the name of its results."""

    path: str
    """Name that GDAL opens: a path, a VRT, /vsi..., a URL."""
    name: str
    """Name of the scene, with which the names of its results begin."""
    problem: str | None = None
    """Reason why it cannot be opened, if that is known: one line."""
    bands: tuple[BandTag, ...] = ()
    """Band metadata, used where its file has none."""


def open_scene(scene: str | os.PathLike[str] | SceneRef, name: str | None = None) -> Scene:
    """Open a scene, with the name and band metadata of its reference.

    Raises:
        SceneError: if it cannot be opened.
    """
    if isinstance(scene, SceneRef):
        return Scene.open(scene.path, name=name or scene.name, tags=scene.bands)
    return Scene.open(scene, name=name)
