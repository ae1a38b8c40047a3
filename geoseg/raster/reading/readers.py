"""Reader threads, one for each processor, for the life of the process; a forked process starts its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import rasterio

MOST = 8
"""Most readers: more do not speed up a disk or a network."""


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
    options = _options()
    futures: list[Future[None]] = [_reader(n).submit(_run, task, options) for n, task in tasks.items()]
    try:
        wait(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        wait(futures)  # an interrupted caller closes the files, which no reader may be reading then
        raise
    for future in futures:
        future.result()


def _run(task: Callable[[], None], options: dict[str, Any]) -> None:
    with rasterio.Env():
        rasterio.env.setenv(**options)
        task()


def _options() -> dict[str, Any]:
    """This thread's GDAL options without the size of the cache, which is common to all threads."""
    options = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return {name: value for name, value in options.items() if name != "GDAL_CACHEMAX"}
