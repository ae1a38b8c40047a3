"""References to scenes that are not open."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from geoseg.core.composites import each_part
from geoseg.raster.bands.files import BandFile
from geoseg.raster.bands.tags import BandTag


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
    parts: tuple[BandFile, ...] = ()
    """The files of its bands, if it is a composite scene; the path only names it then."""

    def absolute(self) -> SceneRef:
        """The same with absolute paths, for other processes and machines with the same files."""
        path = each_part(self.path, lambda part: os.path.abspath(part) if os.path.exists(part) else part)
        return replace(self, path=path, parts=tuple(part.absolute() for part in self.parts))
