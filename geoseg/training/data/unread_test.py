"""Images that are given as test while a model is trained: where they lie is known, what they show is not.

In: the rasters that are read, and the listing. Out: the same with the test rasters beside them, so that a guard band is
kept around these. Only the header of their images is opened, and they may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.core.errors import GeosegError
from geoseg.core.events import Reporter
from geoseg.core.wording import number_of
from geoseg.data.class_statistics import no_statistics
from geoseg.data.listing import TEST, ListedRaster
from geoseg.geo.georef import PixelGrid
from geoseg.scenes import open_scene
from geoseg.spec import TrainSpec
from geoseg.training.data.image_files import find_rasters
from geoseg.training.data.split_parts import KnownRasters


def add_unread(known: KnownRasters, listed: Sequence[ListedRaster], spec: TrainSpec) -> KnownRasters | None:
    """Add the rasters that are given as test and can be opened, without class statistics; None if there are no more.

    Args:
        known: the rasters that are read, and perhaps some that are not.
        listed: all rasters.
        spec: the settings.
    """
    found = [(one, grid) for one in _given_test(listed) if one not in known.listed and (grid := _grid_of(one))]
    if not found:
        return None
    entries, grids = zip(*found, strict=True)
    rasters, _ = find_rasters(entries, grids, spec, None)
    nothing = no_statistics(len(spec.classes), len(spec.data.bands))
    return KnownRasters(
        [*known.listed, *entries],
        [*known.grids, *grids],
        [*known.rasters, *rasters],
        [*known.statistics, *[nothing] * len(entries)],
        known.features,
    )


def report_unread(known: Sequence[ListedRaster], listed: Sequence[ListedRaster], reporter: Reporter) -> None:
    """Report images that are given as test and cannot be opened."""
    wanted = _given_test(listed)
    hidden = sum(one not in known for one in wanted)
    if hidden:
        reporter.notice(
            f"{hidden:,} of {number_of(len(wanted), 'test image')} cannot be opened: where they lie is not known, and "
            "no guard band is kept around them"
        )


def _given_test(listed: Sequence[ListedRaster]) -> list[ListedRaster]:
    return [one for one in listed if one.split == TEST]


def _grid_of(entry: ListedRaster) -> PixelGrid | None:
    """The grid of an image; None if it cannot be opened."""
    try:
        with open_scene(entry.image) as scene:
            return scene.grid
    except (GeosegError, OSError):
        return None
