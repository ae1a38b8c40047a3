"""Executors by name, and which of them a workplace means."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

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
"""What opens an executor for a workplace, by name. Each understands NAME:local:2 as a scheduler: two workers here."""


def open_executor(place: Workplace) -> AbstractContextManager[Executor]:
    """Open the executor that a workplace means; one that is open already stays open.

    Raises:
        GeosegError: if there is none, or it cannot be used; also on entering the context.
    """
    if isinstance(place.scheduler, Executor):
        return nullcontext(place.scheduler)
    return EXECUTORS.get(executor_name(place))(place)


def executor_name(place: Workplace) -> str:
    """Name of the executor that a workplace means.

    Without a scheduler it is this thread, or a process for each of several devices. The text of a scheduler may begin
    with an executor's name and a colon; whatever else it is, Dask knows it.
    """
    if place.scheduler is None:
        return "inline" if len(place.devices) < 2 else "processes"
    name = place.scheduler.partition(":")[0] if isinstance(place.scheduler, str) else ""
    return name if name in EXECUTORS else "dask"
