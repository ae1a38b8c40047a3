"""Training images with tags in place of labels: what is to be said of them.

In: the listing, and the grids of its images. Out: notices.
"""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.core.wording import number_of
from geoseg.data.labels.tags import tag_sets
from geoseg.data.listing import ListedRaster
from geoseg.geo.georef import PixelGrid
from geoseg.spec import TrainSpec

LARGE = 2
"""Images so many times wider than a window are reported."""


def notices_of_tags(listed: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec) -> list[str]:
    """Notices of the images with tags alone, and that some are much larger than windows, which show a part of them."""
    found = [(entry.tags, grid) for entry, grid in zip(listed, grids, strict=True) if entry.tags is not None]
    if not found:
        return []
    single = sum(len(tag_sets(spec.classes, [tags])[0]) == 1 for tags, _ in found)
    longest = max(max(grid.height, grid.width) for _, grid in found)
    exact = f"; {single:,} with one tag, which is the label of all of their pixels" if single else ""
    lines = [f"tags: {number_of(len(found), 'image')} without labels{exact}"]
    if longest > LARGE * spec.window:
        lines.append(
            f"tags: images are up to {longest:,} px wide, windows show {spec.window} px of them, and may lack classes "
            "that the tags name: cut them into tiles, each with its own tags"
        )
    return lines
