"""Executor that runs tasks in processes of this machine, one for each device, which end with the tasks."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

from geoseg.core.errors import GeosegError
from geoseg.core.executors.protocol import POLL_S, Executor, Outcome, Task, Value, Worker, Workplace

_DIED = "a process died, perhaps for lack of memory: --resume goes on, with fewer devices"
_PATIENCE_S = 10
"""Seconds that an idle process gets to end by itself."""


class Processes:
    """Runs tasks in one process for each device; see `Executor`."""

    is_here = False

    def __init__(self, devices: Sequence[str], prepare: Callable[[], None] | None = None):
        """Set the devices, and a function that each process calls first."""
        self._devices, self._prepare = tuple(devices), prepare

    @property
    def worker_count(self) -> int:
        """The number of devices."""
        return len(self._devices)

    def map(
        self,
        function: Callable[..., Value],
        tasks: Sequence[Task],
        shared: Sequence[Any] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Run tasks; see `Executor`. If a process dies, its task fails and the others go on with the rest."""
        processes: list[_Process] = []
        try:
            for device in self._devices[: len(tasks)]:
                processes.append(_Process(device, (self._prepare, function, tuple(shared))))
            yield from _share_out(processes, tasks, watch)
        finally:
            for process in processes:
                process.end()
            for process in processes:
                process.join()


@contextmanager
def open_processes(place: Workplace) -> Iterator[Executor]:
    """Use one process for each device."""
    yield Processes(place.devices, place.prepare)


class _Process:
    """A process that runs one task after the other, as its parent sees it."""

    def __init__(self, device: str, work: tuple[Any, ...]):
        context = get_context("spawn")  # a fork would share threads and CUDA's state
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, device, *work))
        self._process.start()
        theirs.close()  # so that the end of the process is the end of what can be read
        self.is_busy = False

    def send(self, task: Any) -> None:
        """Send a task; whether the process is dead shows when its answer is received."""
        message = pickle.dumps(task)
        self.is_busy = True
        with suppress(OSError):
            self.connection.send_bytes(message)

    def receive(self) -> tuple[Any, BaseException | None]:
        """Receive the value and the error of the task, one of which is None.

        Raises:
            EOFError, OSError: if the process died.
        """
        answer: tuple[Any, BaseException | None] = pickle.loads(self.connection.recv_bytes())
        self.is_busy = False
        return answer

    def end(self) -> None:
        """End the process, at once if it is working: files that its task finished stay."""
        self.connection.close()
        if self.is_busy:
            self._process.terminate()

    def join(self) -> None:
        """Wait until the process has ended."""
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _share_out(
    processes: Sequence[_Process], tasks: Sequence[Task], watch: Callable[[], None]
) -> Generator[Outcome[Task, Any], None, None]:
    """Send each process a task, and the next one when it has finished."""
    waiting, idle = deque(tasks), list(processes)
    busy: dict[Any, tuple[_Process, Task]] = {}
    while waiting or busy:
        while waiting and idle:
            process, task = idle.pop(), waiting.popleft()
            process.send(task)
            busy[process.connection] = process, task
        if not busy:
            yield from (Outcome(task, error=GeosegError(_DIED)) for task in waiting)
            return
        for connection in wait(list(busy), POLL_S):
            process, task = busy.pop(connection)
            try:
                value, error = process.receive()
            except (EOFError, OSError):
                yield Outcome(task, error=GeosegError(_DIED))
                continue
            idle.append(process)
            yield Outcome(task, value, error)
        watch()


# ------------------------------------------------------------------------------------------------- in the other process


def _serve(
    connection: Connection,
    device: str,
    prepare: Callable[[], None] | None,
    function: Callable[..., Any],
    shared: tuple[Any, ...],
) -> None:
    """Run the tasks that arrive, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started this process ends it
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()
    worker = Worker(device)
    with suppress(EOFError, BrokenPipeError):
        while True:
            connection.send_bytes(_answer(worker, function, connection.recv_bytes(), shared))


def _answer(worker: Worker, function: Callable[..., Any], message: bytes, shared: tuple[Any, ...]) -> bytes:
    """Run a task and pickle its outcome: a value and None, or None and an error."""
    try:
        return pickle.dumps((worker.run(function, pickle.loads(message), shared), None))
    except BaseException as error:
        return pickle.dumps((None, _portable(error)))


def _portable(error: BaseException) -> BaseException:
    """An error that can be unpickled in another process, or its nearest equivalent, with the traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        same: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:  # unpickling an error of another package may raise anything
        same = RuntimeError(repr(error))
    same.add_note(trace)
    return same


def _end_with_parent() -> None:
    """End this process when its parent has ended, however that happened."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
