"""Probabilities that a coarser view of a scene gave its classes, kept for the finer one.

In: probabilities, block by block. Out: those of any window. Kept as whole 255ths, in memory or in a file, of which only
the part that is read is in memory.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from uuid import uuid4
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import reserve, sync, write_errors
from geoseg.geo.grid import Window
from geoseg.raster.pyramid import HELD_BYTES, MAPPED_ROWS

Shares = NDArray[np.uint8]
"""Probabilities (K, h, w) in 255ths; all are 0 where nothing is known."""
SCRATCH_NAME = ".geoseg-coarse-"
"""How the names of files begin that go with their map."""


class ProbabilityMap:
    """Probabilities of a raster's classes, written block by block and read window by window."""

    def __init__(self, classes: int, height: int, width: int, folder: Path | None = None):
        """Make an empty map; one that is large lies in a file of the folder, if one is given, and goes with that."""
        self.shape = classes, height, width
        self.path: Path | None = None
        self._held: Shares | None = None
        if folder is None or math.prod(self.shape) <= HELD_BYTES:
            self._held = np.zeros(self.shape, np.uint8)
            return
        self.path = folder / f"{SCRATCH_NAME}{uuid4().hex}"
        finalize(self, self.path.unlink, missing_ok=True)
        with write_errors(folder):
            np.lib.format.open_memmap(self.path, "w+", np.uint8, self.shape)
            with self.path.open("r+b") as file:
                reserve(file.fileno(), self.path.stat().st_size)

    @classmethod
    def load(cls, path: Path) -> ProbabilityMap:
        """A map that lies in a file."""
        loaded = cls.__new__(cls)
        loaded.path, loaded._held = path, None
        loaded.shape = np.load(path, mmap_mode="r").shape
        return loaded

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Columns."""
        return self.shape[2]

    def write(self, window: Window, shares: Shares) -> None:
        """Write a window inside."""
        for band in window.bands(MAPPED_ROWS):
            self._open("r+")[:, *band.slices] = shares[:, *band.shift(-window.row, -window.col).slices]

    def read(self, window: Window) -> Shares:
        """Read a window inside."""
        found = np.empty((self.shape[0], window.height, window.width), np.uint8)
        for band in window.bands(MAPPED_ROWS):
            found[:, *band.shift(-window.row, -window.col).slices] = self._open("r")[:, *band.slices]
        return found

    def publish(self, path: Path) -> ProbabilityMap:
        """Give the map a name that other processes know; return the one that has it, which may be another's."""
        with write_errors(path.parent):
            own = self.path
            if own is None:
                own = path.with_name(f"{SCRATCH_NAME}{uuid4().hex}")
                with own.open("wb") as file:
                    np.save(file, self._open("r"))
            sync(own)  # others may read it on another machine
            try:
                os.link(own, path)  # fails where there is one: the first to publish wins
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                os.replace(own, path)
            own.unlink(missing_ok=True)
        return ProbabilityMap.load(path)

    def _open(self, mode: str) -> Shares:
        if self._held is not None:
            return self._held
        opened: Shares = np.load(self.path, mmap_mode=mode)  # type: ignore[arg-type]  # two of its modes
        return opened
