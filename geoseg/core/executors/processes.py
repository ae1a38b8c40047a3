"""Tasks in processes of this machine, one process for each device; they live as long as the tasks."""

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
    """A process for each of some devices."""

    is_here = False

    def __init__(self, devices: Sequence[str], prepare: Callable[[], None] | None = None):
        """Name the devices, and what each process does first."""
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
        """Have tasks done; see `Executor`. The task of a process that dies fails, the others go on with the rest."""
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
    """A process that does one task after the other, as seen by the one that started it."""

    def __init__(self, device: str, work: tuple[Any, ...]):
        context = get_context("spawn")  # a fork would share threads and CUDA's state
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, device, *work))
        self._process.start()
        theirs.close()  # so that the end of the process is the end of what can be read
        self.is_busy = False

    def send(self, task: Any) -> None:
        """Hand a task over; that the process is dead shows when its answer is read."""
        message = pickle.dumps(task)
        self.is_busy = True
        with suppress(OSError):
            self.connection.send_bytes(message)

    def receive(self) -> tuple[Any, BaseException | None]:
        """What came of the task.

        Raises:
            EOFError, OSError: if the process died.
        """
        answer: tuple[Any, BaseException | None] = pickle.loads(self.connection.recv_bytes())
        self.is_busy = False
        return answer

    def end(self) -> None:
        """Let the process end, at once if it is at work: what its task finished stays."""
        self.connection.close()
        if self.is_busy:
            self._process.terminate()

    def join(self) -> None:
        """Wait until the process is gone."""
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _share_out(
    processes: Sequence[_Process], tasks: Sequence[Task], watch: Callable[[], None]
) -> Generator[Outcome[Task, Any], None, None]:
    """Give each process a task, and the next one when it is done."""
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
    """Do the tasks that come, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started this process ends it
    Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()
    worker = Worker(device)
    with suppress(EOFError, BrokenPipeError):
        while True:
            connection.send_bytes(_answer(worker, function, connection.recv_bytes(), shared))


def _answer(worker: Worker, function: Callable[..., Any], message: bytes, shared: tuple[Any, ...]) -> bytes:
    """What comes of a task, pickled: a value and None, or None and an error."""
    try:
        return pickle.dumps((worker.run(function, pickle.loads(message), shared), None))
    except BaseException as error:
        return pickle.dumps((None, _portable(error)))


def _portable(error: BaseException) -> BaseException:
    """An error with its traceback as a note, as the other process can make it again, or what comes nearest."""
    trace = "".join(traceback.format_exception(error))
    try:
        same: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the class of a stranger's error does
        same = RuntimeError(repr(error))
    same.add_note(trace)
    return same


def _end_with_parent() -> None:
    """End this process once the one that started it is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
