"""Numbers of instances, pixel by pixel: two passes over the strips, then each region is split where that is wanted."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.files import reserve, write_errors
from geoseg.core.wording import number_of
from geoseg.raster.strips import Strip
from geoseg.spec.vector import Split
from geoseg.vector.generalize.regions import number_runs
from geoseg.vector.instances.objects import find_objects
from geoseg.vector.instances.split import MOST_SPLIT_PX, split_regions
from geoseg.vector.trace.state import Ids

USUAL_DEPTH: Mapping[Split, float] = MappingProxyType({"distance": 1.0, "confidence": 10.0})
"""How far a piece must rise above its passes: a pixel, and 10 percent."""
ROWS = 512
"""Rows that are renumbered at once."""
Strips = Callable[[], Iterator[Strip]]
"""Reads a class raster from top to bottom, at each call anew."""


@dataclass(frozen=True)
class InstanceRules:
    """Which regions are instances."""

    codes: tuple[int, ...]
    """Codes of the classes whose regions are instances."""
    nodata: int
    """Code of pixels without data."""
    connectivity: int = 4
    """4, or 8: pixels that touch at a corner are connected."""
    split: Split | None = None
    """The landscape by which a watershed splits regions: distance to the border, or confidence; None for no split."""
    depth: float | None = None
    """How far a piece must rise above its passes, in pixels or in percent; None for what is usual."""


@dataclass(frozen=True)
class Instances:
    """N instances of a class raster."""

    ids: NDArray[np.uint32]
    """Number of the instance of each pixel from 1, 0 where there is none (H, W); mapped from a file."""
    code: Ids
    """Code of the class of each instance, that of nodata before the first (N + 1,)."""
    whole: int = 0
    """Number of regions that were too large to be split."""

    def __len__(self) -> int:
        return len(self.code) - 1

    @property
    def notice(self) -> str | None:
        """A sentence for the user if regions were too large to be split."""
        if not self.whole:
            return None
        side = math.isqrt(MOST_SPLIT_PX)
        return f"{number_of(self.whole, 'region')} larger than {side:,} x {side:,} px stayed whole: they were not split"

    def strips(self, rows: int) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """Yield the first row and the numbers of some rows at a time."""
        for row in range(0, len(self.ids), rows):
            yield row, self.ids[row : row + rows]


@contextmanager
def numbered(strips: Strips, size: tuple[int, int], rules: InstanceRules, folder: Path) -> Iterator[Instances]:
    """Number the instances of a class raster, in the order of their first pixels.

    Args:
        strips: the raster.
        size: its rows and columns.
        rules: which regions are instances.
        folder: where the numbers are kept, 4 bytes a pixel, until the context ends.

    Raises:
        SceneError: The raster has more regions than can be numbered.
        OutputError: There is no room for the numbers.
    """
    width, is_sure = size[1], rules.split == "confidence"
    objects = find_objects(_only(strips, rules), width, rules.nodata, rules.connectivity)
    code = np.concatenate([np.array([rules.nodata], objects.code.dtype), objects.code])
    with _scratch(folder, size, np.uint32) as ids, _scratch(folder, size if is_sure else (0, 0), np.uint8) as percent:
        for strip in number_runs(_only(strips, rules), width, objects.of_label):
            ids[strip.row : strip.stop] = strip.ids
            if is_sure and strip.confidence is not None:
                percent[strip.row : strip.stop] = strip.confidence
        if rules.split is None:
            yield Instances(ids, code)
            return
        depth = USUAL_DEPTH[rules.split] if rules.depth is None else rules.depth
        count = split_regions(ids, percent, objects.boxes, depth, rules.connectivity, MOST_SPLIT_PX)
        _renumber(ids, count)
        yield Instances(ids, np.append(code[:1], np.repeat(code[1:], np.maximum(count, 1))), int((count == 0).sum()))


def _renumber(ids: NDArray[np.uint32], count: NDArray[np.int64]) -> None:
    """Number the pieces of N regions, of which there are `count` (N,), region by region."""
    regions = np.arange(len(count))
    owner = np.concatenate([regions, np.repeat(regions, np.maximum(count - 1, 0))])
    number = np.zeros(len(owner) + 1, np.uint32)
    number[1 + np.argsort(owner, kind="stable")] = np.arange(1, len(number))
    for row in range(0, len(ids), ROWS):
        ids[row : row + ROWS] = number[ids[row : row + ROWS]]


def _only(strips: Strips, rules: InstanceRules) -> Iterator[Strip]:
    """Yield the strips with the chosen classes only."""
    for strip in strips():
        chosen = np.isin(strip.ids, rules.codes)
        yield replace(strip, ids=np.where(chosen, strip.ids, strip.ids.dtype.type(rules.nodata)))


@contextmanager
def _scratch(folder: Path, size: tuple[int, int], dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """An array of zeros in a file without a name."""
    with tempfile.TemporaryFile(dir=folder) as file:
        if size[0]:
            with write_errors(folder.parent):
                reserve(file.fileno(), size[0] * size[1] * np.dtype(dtype).itemsize)
        yield np.memmap(file, dtype, "r+", shape=size) if size[0] else np.zeros(size, dtype)
