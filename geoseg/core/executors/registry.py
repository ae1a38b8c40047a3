"""Executors by name, and the choice of one by a workplace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from geoseg.core.errors import SpecError
from geoseg.core.executors.protocol import Executor, Workplace
from geoseg.core.registry import Registry

EXECUTORS: Registry[Callable[[Workplace], AbstractContextManager[Executor]]] = Registry(
    "executor",
    "geoseg.executors",
    {
        "inline": "geoseg.core.executors.inline:open_inline",
        "processes": "geoseg.core.executors.processes:open_processes",
        "dask": "geoseg.core.executors.dask:open_dask",
    },
)
"""Functions that open an executor for a workplace, by name; see `Executor`."""


def open_executor(place: Workplace) -> AbstractContextManager[Executor]:
    """Open the executor of a workplace; one that is already open is used and left open.

    Raises:
        GeosegError: if it is unknown or cannot be used; also on entering the context.
    """
    if isinstance(place.scheduler, Executor):
        return nullcontext(place.scheduler)
    return EXECUTORS.get(executor_name(place))(place)


def executor_name(place: Workplace) -> str:
    """Name of the executor of a workplace.

    Without a scheduler it is `inline`, or `processes` for several devices. A scheduler may begin with an executor's
    name and a colon; any other is an address for Dask.

    Raises:
        SpecError: if it is no address, and nearly an executor's name.
    """
    if place.scheduler is None:
        return "inline" if len(place.devices) < 2 else "processes"
    name = place.scheduler.partition(":")[0] if isinstance(place.scheduler, str) else ""
    if name in EXECUTORS:
        return name
    if name != "local" and "://" not in str(place.scheduler) and EXECUTORS.nearest(name) is not None:
        raise SpecError(
            f"scheduler {place.scheduler} is no address like tcp://host:8786, and {EXECUTORS.unknown(name)}"
        )
    return "dask"
