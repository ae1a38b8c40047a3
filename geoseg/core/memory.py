"""Freed memory: kept for the next arrays while networks run, and returned to the system in time (glibc).

A network's maps are made and freed for every window. Left to itself, glibc returns arrays of some megabytes at once,
and the system hands out pages filled with zeros for the next: up to a third of the time of a forward pass on a CPU.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
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
_KEPT, _USUAL = 2**29, 2**25
"""Largest array in bytes whose memory is kept, and what glibc comes to by itself in a process with large arrays."""


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


@contextmanager
def kept_memory() -> Iterator[None]:
    """Have glibc keep the memory of freed arrays for the next ones until the end, when it is returned."""
    _limit(_KEPT, 2**31 - 1)
    try:
        yield
    finally:
        _limit(_USUAL, 2 * _USUAL)
        give_back_memory()


def _limit(largest: int, trimmed: int) -> None:
    """Set the largest array in bytes whose memory is kept, and the free bytes from which a heap is trimmed."""
    libc = _libc()
    if libc is None or not hasattr(libc, "mallopt"):
        return
    # glibc before 2.35 refuses more than it comes to by itself; one limit without the other would be worse than none
    if libc.mallopt(_MMAP_THRESHOLD, largest) or libc.mallopt(_MMAP_THRESHOLD, _USUAL):
        libc.mallopt(_TRIM_THRESHOLD, trimmed)


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
