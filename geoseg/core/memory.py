"""Return of freed memory to the system, where the C library (glibc) would keep it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

GIVE_BACK_PX = 2**21
"""Pixels after which free memory is returned."""


class MemoryReturn:
    """Returns freed memory to the system each time that `GIVE_BACK_PX` pixels have been processed."""

    def __init__(self) -> None:
        self._passed_px = 0

    def passed(self, pixels: int) -> None:
        """Count pixels that have been processed."""
        self._passed_px += pixels
        if self._passed_px >= GIVE_BACK_PX:
            self._passed_px = 0
            give_back_memory()


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library is glibc.

    Buffers of some megabytes that threads pass to each other fragment its heaps, which grow to several times the
    memory in use.
    """
    if _TRIM is not None:
        _TRIM(0)


def _find_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
    return trim


_TRIM = _find_trim()
