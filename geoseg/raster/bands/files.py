"""Files with the bands of a scene. In: an address. Out: a BandFile for each of its parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from geoseg.core.composites import split_composite
from geoseg.core.safe_paths import whole_url
from geoseg.raster.bands.tags import BandTag


@dataclass(frozen=True)
class BandFile:
    """A file with one or more bands of a scene."""

    path: str
    """Name that GDAL opens."""
    tags: tuple[BandTag, ...] = ()
    """Band metadata, used where the file has none."""
    name: str = ""
    """Name of its only band, over that in the file; empty for the file's own."""
    taken: datetime | None = None
    """When it was acquired, if that is known."""
    shapes_grid: bool = True
    """Whether the scene's pixels are as small as those of this file, if no other's are smaller."""

    def absolute(self) -> BandFile:
        """The same with an absolute path, if it is that of a file of this machine."""
        return replace(self, path=os.path.abspath(self.path)) if os.path.exists(self.path) else self


def files_of(address: str | os.PathLike[str], tags: Sequence[BandTag] = ()) -> tuple[BandFile, ...]:
    """The files of a composite address, with a tag for each if there are as many; none for a single raster."""
    parts = split_composite(address)
    given = [(tag,) for tag in tags] if len(tags) == len(parts) else [()] * len(parts)
    return tuple(BandFile(whole_url(part.path), tag, part.name) for part, tag in zip(parts, given, strict=True))
