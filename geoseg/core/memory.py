"""Freed memory: kept for the next arrays while networks run, and returned to the system in time (glibc).

A network's maps are made and freed for every window. Left to itself, glibc returns arrays of some megabytes at once,
and the system hands out pages filled with zeros for the next: up to a third of the time of a forward pass on a CPU.
"""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from pathlib import Path

LOOK_PX = 2**21
"""Pixels after which the size of the process is looked at."""
FIRST_LOOKS = 6
"""Looks after which a process has what it needs."""
GROWTH = 0.1
"""Share by which it may grow from then on before free memory is returned."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`: free bytes at the end of a heap that are returned, bytes of arrays apart from it."""
_KEPT = 2**29
"""Largest array in bytes whose memory is kept."""


class MemoryReturn:
    """Returns freed memory to the system where the process grows without end.

    Buffers of some megabytes that threads pass to each other fragment the heaps of glibc, which would grow to several
    times the memory in use.
    """

    def __init__(self) -> None:
        self._passed_px, self._looks, self._usual = 0, 0, 0

    def passed(self, pixels: int) -> None:
        """Count pixels that have been processed."""
        self._passed_px += pixels
        if self._passed_px < LOOK_PX:
            return
        self._passed_px = 0
        self._looks += 1
        size = resident_bytes()
        if self._looks <= FIRST_LOOKS:
            self._usual = max(self._usual, size)
        elif size > (1 + GROWTH) * self._usual:
            self._looks = self._usual = 0
            give_back_memory()


def keep_freed_memory() -> None:
    """Have glibc keep the memory of freed arrays for the next ones, from now on."""
    libc = _libc()
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _KEPT)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library is glibc."""
    libc = _libc()
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def resident_bytes() -> int:
    """Memory that the process holds; 0 where Linux does not say it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
