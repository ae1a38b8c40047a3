"""Shards on a Dask cluster: processes of this machine, or any machines that see the same files.

Dask hands shards out, gives those of a worker that died to another, and gathers what failed. It is an extra:
`pip install "geoseg[dask]"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import GeosegError, SpecError
from geoseg.inference.shards import POLL_S, Shard, run_shard

if TYPE_CHECKING:
    from distributed import Client

_LOCAL = re.compile(r"local:(\d{1,3})")
_LOST = "the Dask scheduler was lost: start it again; what is finished is kept, --resume goes on"
_RETRIES = 2
"""How often a shard that failed is tried again: servers stumble, workers run out of memory."""


@contextmanager
def open_client(scheduler: str | Client) -> Iterator[Client]:
    """A client of the cluster at an address, or of one that lives as long as this context: local:N.

    Raises:
        SpecError: if Dask is not installed, the address makes no sense, or nobody is there to work.
        GeosegError: if the scheduler is lost.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise SpecError('--scheduler needs Dask: pip install "geoseg[dask]"') from None
    if isinstance(scheduler, Client):
        with _told_when_lost():
            yield scheduler
        return
    local = _LOCAL.fullmatch(scheduler)
    if local and not int(local[1]):
        raise SpecError(f"scheduler {scheduler}: give at least one process, e.g. local:2")
    if not local and "://" not in scheduler:
        raise SpecError(f"scheduler {scheduler}: give its address, e.g. tcp://host:8786, or local:N for N processes")
    if local:
        with (
            LocalCluster(int(local[1]), threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
            _told_when_lost(),
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=30)
    except (OSError, ValueError, TimeoutError) as error:
        raise SpecError(f"scheduler {scheduler} does not answer: {error}: check the address") from None
    with client, _told_when_lost():
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise SpecError(f"scheduler {scheduler} has no workers: start some with dask worker {scheduler}")
        yield client


@contextmanager
def _told_when_lost() -> Iterator[None]:
    """Turn what comes up once a scheduler is gone into one line."""
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CancelledError, CommClosedError):
        raise GeosegError(_LOST) from None


def run_on_cluster(
    scheduler: str | Client, make_shards: Callable[[int], Sequence[Shard]], watch: Callable[[], None]
) -> None:
    """Run shards, made for as many workers as a cluster has, on these.

    Raises:
        GeosegError: if a shard fails again and again.
    """
    with open_client(scheduler) as client:
        shards = make_shards(len(client.scheduler_info(n_workers=-1)["workers"]))
        futures = client.map(run_shard, shards, pure=False, retries=_RETRIES)
        try:
            wait_for_all(futures, watch)
        finally:
            client.cancel(futures)


def wait_for_all(futures: Sequence[Any], watch: Callable[[], None]) -> None:
    """Wait for futures; the first that fails for good raises what it failed with."""
    from distributed import wait

    waiting = list(futures)
    while waiting:
        with suppress(TimeoutError):
            wait(waiting, timeout=POLL_S, return_when="FIRST_COMPLETED")
        for future in [future for future in waiting if future.done()]:
            result_of(future)
            waiting.remove(future)
        watch()


def result_of(future: Any) -> Any:
    """What a finished future gives, or raises.

    Raises:
        GeosegError: if the workers that had it died, or the scheduler did.
    """
    from distributed import KilledWorker

    try:
        return future.result()
    except CancelledError:
        raise GeosegError(_LOST) from None
    except KilledWorker:
        raise GeosegError("several workers died of it, perhaps for lack of memory: --resume goes on") from None
