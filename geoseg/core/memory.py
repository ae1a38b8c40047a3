"""Memory that is free goes back to the system, where the C library would keep it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

GIVE_BACK_PX = 2**21
"""Pixels after which free memory is returned."""


class MemoryReturn:
    """Returns free memory to the system each time that enough pixels have passed."""

    def __init__(self) -> None:
        self._passed_px = 0

    def passed(self, pixels: int) -> None:
        """Count pixels that are done with."""
        self._passed_px += pixels
        if self._passed_px >= GIVE_BACK_PX:
            self._passed_px = 0
            give_back_memory()


def give_back_memory() -> None:
    """Return free memory to the system, where the C library (glibc) keeps it otherwise.

    Buffers of some megabytes that several threads pass to each other leave its heaps full of holes, several times as
    large as what is in use.
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
