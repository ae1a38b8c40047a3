"""Executor that runs tasks on a Dask cluster: processes of this machine, or machines with a common file system.

Dask distributes the tasks, gives those of a dead worker to another one, and collects errors. It is an extra:
`pip install "geoseg[dask]"`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import GeosegError, SpecError
from geoseg.core.executors.protocol import POLL_S, Executor, Outcome, Task, Value, Worker, Workplace

if TYPE_CHECKING:
    from distributed import Client

_LOCAL = re.compile(r"local:(\d{1,3})")
_LOST = "the Dask scheduler was lost: start it again; what is finished is kept, --resume goes on"
_KILLED = "several workers died of it, perhaps for lack of memory: --resume goes on"
_RETRIES = 2
"""Retries of a failed task: servers fail for a while, workers run out of memory."""
_PAUSE_S = 0.05
"""Seconds between two questions whether a task has ended."""
_ATTRIBUTE = "_geoseg_worker"
"""Attribute of Dask's worker object that holds geoseg's: one for all threads, for the life of the worker."""


class DaskWorkers:
    """Runs tasks on the workers of a cluster; see `Executor`."""

    is_here = False

    def __init__(self, client: Client):
        """Use the cluster of a client."""
        self._client = client

    @property
    def worker_count(self) -> int:
        """Number of workers at this moment."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def map(
        self,
        function: Callable[..., Value],
        tasks: Sequence[Task],
        shared: Sequence[Any] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Run tasks; see `Executor`. A worker runs one at a time, whatever the number of its threads.

        Raises:
            GeosegError: if the scheduler is lost.
        """
        with _lost_in_one_line():
            sent = [self._client.scatter(value, broadcast=True) for value in shared]
            same: list[list[Any]] = [[value] * len(tasks) for value in (function, *sent)]
            futures = self._client.map(_run, list(tasks), *same, pure=False, retries=_RETRIES)
            yield from _as_they_end(self._client, dict(zip(futures, tasks, strict=True)), watch)


@contextmanager
def open_dask(place: Workplace) -> Iterator[Executor]:
    """Open the cluster at an address, that of a client, or for local:N one of N processes that ends with the context.

    Raises:
        SpecError: if Dask is not installed, the address is invalid, or the cluster has no workers.
        GeosegError: if the scheduler is lost.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise SpecError('--scheduler needs Dask: pip install "geoseg[dask]"') from None
    if isinstance(place.scheduler, Client):
        with _lost_in_one_line():
            yield DaskWorkers(place.scheduler)
        return
    address = str(place.scheduler).removeprefix("dask:")
    local = _LOCAL.fullmatch(address)
    if local and not int(local[1]):
        raise SpecError(f"scheduler {address}: give at least one process, e.g. local:2")
    if not local and "://" not in address:
        raise SpecError(f"scheduler {address}: give its address, e.g. tcp://host:8786, or local:N for N processes")
    if local:
        with (
            LocalCluster(int(local[1]), threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
            _lost_in_one_line(),
        ):
            yield DaskWorkers(client)
        return
    try:
        client = Client(address, timeout=30)
    except (OSError, ValueError, TimeoutError) as error:
        raise SpecError(f"scheduler {address} does not answer: {error}: check the address") from None
    with client, _lost_in_one_line():
        workers = DaskWorkers(client)
        if not workers.worker_count:
            raise SpecError(f"scheduler {address} has no workers: start some with dask worker {address}")
        yield workers


def _as_they_end(
    client: Client, tasks: dict[Any, Task], watch: Callable[[], None]
) -> Generator[Outcome[Task, Any], None, None]:
    """Yield the outcomes of tasks, given their futures, as they end; cancel the rest if the iterator is closed."""
    from distributed import as_completed

    ended, due = as_completed(list(tasks)), 0.0
    try:
        while not ended.is_empty():
            for future in ended.next_batch(block=False):
                yield outcome_of(future, tasks.pop(future))
            if time.monotonic() >= due:
                watch()
                due = time.monotonic() + POLL_S
            time.sleep(_PAUSE_S)
    finally:
        client.cancel(list(tasks))


def outcome_of(future: Any, task: Task) -> Outcome[Task, Any]:
    """Outcome of a task, given its future."""
    from distributed import KilledWorker

    try:
        return Outcome(task, future.result())
    except CancelledError:
        return Outcome(task, error=GeosegError(_LOST))
    except KilledWorker:
        return Outcome(task, error=GeosegError(_KILLED))
    except Exception as error:  # of the task: as it is
        return Outcome(task, error=error)


@contextmanager
def _lost_in_one_line() -> Iterator[None]:
    """Convert the errors that follow the loss of a scheduler into one line."""
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CancelledError, CommClosedError):
        raise GeosegError(_LOST) from None


# ------------------------------------------------------------------------------------------------------- on the worker


def _run(task: Any, function: Callable[..., Any], *shared: Any) -> Any:
    """Run a task on this worker."""
    from distributed import get_worker

    worker: Worker = vars(get_worker()).setdefault(_ATTRIBUTE, Worker())
    return worker.run(function, task, shared)
