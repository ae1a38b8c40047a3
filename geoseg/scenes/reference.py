"""A scene before it is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneRef:
    """Where a scene is, and what its results are called."""

    path: str
    """As GDAL opens it: a path, a VRT, /vsi..., a URL."""
    name: str
    """Name of the scene, with which the names of its results begin."""
    problem: str | None = None
    """Why it cannot be opened, where that is known already: one line."""
