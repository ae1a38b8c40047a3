"""What a model's context branch has seen, kept for the windows to come.

In: windows of a scene. Out: the context that a network takes along with them. Each view is seen once as long as it is
among the last few, so that memory depends on how many views lie beside each other, never on the scene.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geoseg.context import ContextPyramid
from geoseg.grid import Grid, Window
from geoseg.models import Context, Runner
from geoseg.spec import ContextSpec

MOST_VIEWS = 40
"""Views of a level that are kept: some megabytes each, and at the default ratio enough for scenes 40,000 px wide."""


class ContextCache:
    """The context of any windows of one scene."""

    def __init__(self, runner: Runner, pyramid: ContextPyramid, keep: int):
        """Keep the `keep` views of each level that were used last; see `views_in_a_row`."""
        self._runner, self._pyramid, self._keep = runner, pyramid, keep
        self._seen: list[OrderedDict[Window, Tensor]] = [OrderedDict() for _ in pyramid.grids]
        self.encoded = 0
        """Views that were seen so far."""

    def context(self, windows: Sequence[Window]) -> Context:
        """What the levels have seen around some windows (B), on the device."""
        levels = [self._level(level, windows) for level in range(len(self._pyramid.grids))]
        maps, boxes = zip(*levels, strict=True)
        return Context(maps, boxes)

    def _level(self, level: int, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        views = [self._pyramid.view(level, window) for window in windows]
        boxes = [self._pyramid.box(level, *pair) for pair in zip(windows, views, strict=True)]
        maps = {view: self._map(level, view) for view in dict.fromkeys(views)}
        together = next(iter(maps.values())) if len(maps) == 1 else torch.cat([maps[view] for view in views])
        return together, torch.from_numpy(np.stack(boxes)).float().to(self._runner.device)

    def _map(self, level: int, view: Window) -> Tensor:
        seen = self._seen[level]
        if view not in seen:
            seen[view] = self._runner.encode(level, self._pyramid.read(level, view))
            self.encoded += 1
            while len(seen) > self._keep:
                seen.popitem(last=False)
        seen.move_to_end(view)
        return seen[view]


def views_in_a_row(spec: ContextSpec, grid: Grid) -> int:
    """Views that one row of windows meets at most, and two to spare: fewer would be seen again for the next row.

    Of very wide scenes some are: no more than `MOST_VIEWS` are kept.
    """
    sides = [level.core_px * level.ratio for level in spec.levels if level.ratio != "scene"]
    return min(MOST_VIEWS, 2 + max((-(-grid.cols.end // side) for side in sides), default=1))
