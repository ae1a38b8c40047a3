"""Arrays (C, H, W) that are written and read window by window, in memory or on disk, and shared by processes.

In: windows of values. Out: the same windows, also in other processes once the array is published. Small arrays are held
in memory; of others a few rows are memory-mapped at a time.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.files import reserve, sync, write_errors
from geoseg.geo.grid import Window

HELD_BYTES = 16 * 2**20
"""Largest array in bytes that stays in memory: training may have thousands of small rasters, but few open files."""
MAPPED_ROWS = 64
"""Rows of a file that are mapped at once: mapped pages count as memory, more of them than are accessed."""


class WindowStore:
    """An array (C, H, W), zero where nothing has been written; it is removed with the object unless it is published."""

    def __init__(
        self, channels: int, height: int, width: int, folder: Path | None = None, *, dtype: DTypeLike = np.uint8
    ):
        """Make an array of zeros.

        Args:
            channels: C.
            height: H.
            width: W.
            folder: folder of an unnamed file that holds a large array; None keeps any array in memory.
            dtype: type of the values.

        Raises:
            OutputError: if the file cannot be made, or the disk has no room for it.
        """
        self.shape, self.dtype = (channels, height, width), np.dtype(dtype)
        self._held: NDArray[Any] | None = None
        self._file: IO[bytes] | Path
        self._offset = 0
        if folder is None or self._bytes <= HELD_BYTES:
            self._held = np.zeros(self.shape, self.dtype)
            return
        with write_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is kept
            reserve(self._file.fileno(), self._bytes)

    @classmethod
    def load(cls, path: Path) -> WindowStore:
        """Open a published array.

        Raises:
            OSError, ValueError: if it cannot be read.
        """
        found = np.lib.format.open_memmap(path, mode="r")
        loaded = cls.__new__(cls)
        loaded.shape, loaded.dtype = (found.shape[0], found.shape[1], found.shape[2]), found.dtype
        loaded._held, loaded._file, loaded._offset = None, path, found.offset
        return loaded

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[0]

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Columns."""
        return self.shape[2]

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Write values (C, h, w) of a window inside; only before the array is published."""
        for band in window.bands(MAPPED_ROWS):
            self._mapped("r+")[:, *band.slices] = values[:, *band.shift(-window.row, -window.col).slices]

    def read(self, window: Window) -> NDArray[Any]:
        """Read a window inside (C, h, w), free to be changed."""
        found = np.empty((self.channels, window.height, window.width), self.dtype)
        for band in window.bands(MAPPED_ROWS):
            found[:, *band.shift(-window.row, -window.col).slices] = self._mapped("r")[:, *band.slices]
        return found

    def publish(self, path: Path) -> WindowStore:
        """Save the array as a .npy at a path that other processes read; return the array that is stored there.

        The file appears in one step, complete. If another process has published there before, its array is kept: both
        have written the same.

        Raises:
            OutputError: if it cannot be written.
        """
        draft = path.with_name(f".{path.name}.{uuid4().hex}")
        with write_errors(path.parent):
            try:
                self._copy_to(draft)
                sync(draft)  # others may read it on another machine
                _place(draft, path)
            finally:
                draft.unlink(missing_ok=True)
        return WindowStore.load(path)

    @property
    def _bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def _copy_to(self, path: Path) -> None:
        """Write the array as a .npy, a few rows at a time."""
        np.lib.format.open_memmap(path, "w+", self.dtype, self.shape)
        with path.open("r+b") as file:
            reserve(file.fileno(), path.stat().st_size)
        copy = WindowStore.load(path)
        for band in Window(0, 0, self.height, self.width).bands(MAPPED_ROWS):
            copy.write(band, self.read(band))

    def _mapped(self, mode: Any) -> NDArray[Any]:
        if self._held is not None:
            return self._held
        return np.memmap(self._file, self.dtype, mode, self._offset, self.shape)


def _place(draft: Path, path: Path) -> None:
    """Move a file to its path, unless another file is there."""
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        os.replace(draft, path)
