"""Reader threads, one for each processor, for the life of the process; a forked process starts its own.

Also: GDAL's options of one thread in another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from threading import local
from typing import Any, TypeVar

import rasterio

from geoseg.core.gdal_options import SAFE

T = TypeVar("T")

MOST = 8
"""Most readers: more do not speed up a disk or a network."""
_kept = local()
"""GDAL's environment of each thread that reads, and the options that it was given."""


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _reader(_number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "geoseg-reader")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reader.cache_clear)


def run(tasks: Mapping[int, Callable[[], None]]) -> None:
    """Run each task in the reader of its number, with this thread's GDAL options; raise the first error."""
    given = options()
    futures: list[Future[None]] = [_reader(n).submit(call, task, given) for n, task in tasks.items()]
    try:
        wait(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        wait(futures)  # an interrupted caller closes the files, which no reader may be reading then
        raise
    for future in futures:
        future.result()


def call(task: Callable[[], T], given: dict[str, Any]) -> T:
    """Call a function in a thread that reads, with the GDAL options of another and those that make reading safe.

    The options stay set: setting them takes as long as reading a small window.
    """
    if getattr(_kept, "options", None) != given:
        if hasattr(_kept, "env"):
            _kept.env.__exit__()
        _kept.env = rasterio.Env()
        _kept.env.__enter__()
        rasterio.env.setenv(**given | SAFE)
        _kept.options = given
    return task()


def options() -> dict[str, Any]:
    """This thread's GDAL options without the size of the cache, which is common to all threads."""
    found = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return {name: value for name, value in found.items() if name != "GDAL_CACHEMAX"}
