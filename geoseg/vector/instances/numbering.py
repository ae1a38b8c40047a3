"""Numbers of instances, pixel by pixel: two passes over the strips, then each region is split where that is wanted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.files import reserve, write_errors
from geoseg.raster.strips import Strip
from geoseg.vector.generalize.regions import number_runs
from geoseg.vector.instances.objects import find_objects
from geoseg.vector.trace.state import Ids

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


@dataclass(frozen=True)
class Instances:
    """N instances of a class raster."""

    ids: NDArray[np.uint32]
    """Number of the instance of each pixel from 1, 0 where there is none (H, W); mapped from a file."""
    code: Ids
    """Code of the class of each instance, that of nodata before the first (N + 1,)."""

    def __len__(self) -> int:
        return len(self.code) - 1

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
    objects = find_objects(_only(strips, rules), size[1], rules.nodata, rules.connectivity)
    with _scratch(folder, size, np.uint32) as ids:
        for strip in number_runs(_only(strips, rules), size[1], objects.of_label):
            ids[strip.row : strip.stop] = strip.ids
        yield Instances(ids, np.concatenate([np.array([rules.nodata], objects.code.dtype), objects.code]))


def _only(strips: Strips, rules: InstanceRules) -> Iterator[Strip]:
    """Yield the strips with the chosen classes only."""
    for strip in strips():
        chosen = np.isin(strip.ids, rules.codes)
        yield replace(strip, ids=np.where(chosen, strip.ids, strip.ids.dtype.type(rules.nodata)))


@contextmanager
def _scratch(folder: Path, size: tuple[int, int], dtype: DTypeLike) -> Iterator[NDArray[np.uint32]]:
    """An array of zeros in a file without a name."""
    with tempfile.TemporaryFile(dir=folder) as file:
        with write_errors(folder.parent):
            reserve(file.fileno(), size[0] * size[1] * np.dtype(dtype).itemsize)
        yield np.memmap(file, dtype, "r+", shape=size)
