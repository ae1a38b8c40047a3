"""The contract of an executor: it runs tasks on workers, and yields the outcome of each as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

Task = TypeVar("Task")
Value = TypeVar("Value")

POLL_S = 0.5
"""Seconds between two looks at tasks that are at work."""


class Worker:
    """State of a worker, which runs one task at a time: its device, and the resource that the last task opened."""

    def __init__(self, device: str | None = None):
        """Create the state of a worker on a device; None leaves the device to the task."""
        self.device = device
        self._lock = Lock()
        self._key: Any = None
        self._kept: Any = None
        self._open = ExitStack()

    def run(self, function: Callable[..., Value], task: Any, shared: Sequence[Any] = ()) -> Value:
        """Run a task; tasks of other threads wait until it ends."""
        with self._lock:
            return function(self, task, *shared)

    def keep(self, key: Any, opener: Callable[[], AbstractContextManager[Value]]) -> Value:
        """Return the resource of a key: the open one if the last task used that key, else a new one in its place."""
        if self._key is None or self._key != key:
            self.close()
            self._kept = self._open.enter_context(opener())
            self._key = key
        return cast(Value, self._kept)

    def close(self) -> None:
        """Close the open resource."""
        self._key = self._kept = None
        self._open.close()


@dataclass(frozen=True)
class Outcome(Generic[Task, Value]):
    """Outcome of a task: its value, or the error that it raised."""

    task: Task
    """The task."""
    value: Value | None = None
    """What the function returned."""
    error: BaseException | None = None
    """The error that it raised, or a GeosegError if its worker died."""

    def result(self) -> Value:
        """Return what the function returned.

        Raises:
            BaseException: the error that it raised instead.
        """
        if self.error is not None:
            raise self.error
        return cast(Value, self.value)


@dataclass(frozen=True)
class Workplace:
    """Settings of where tasks run."""

    scheduler: Any = None
    """Text of --scheduler, a client of Dask, or an open executor; None for this machine."""
    devices: tuple[str, ...] = ()
    """Devices of this machine; several have a process each."""
    prepare: Callable[[], None] | None = None
    """Function that each such process calls first; importable."""


@runtime_checkable
class Executor(Protocol):
    """Runs tasks on workers, within the context that `open_executor` returns.

    What is registered under a name is a function that turns a `Workplace` into a context manager, which yields the
    executor and ends its workers. It is called with the whole text of --scheduler, NAME:..., and must take
    NAME:local:2, which means two workers on this machine, or as many as there are devices.
    """

    @property
    def worker_count(self) -> int:
        """Number of tasks that run at a time."""

    @property
    def is_here(self) -> bool:
        """Whether tasks run in this thread, so that functions and tasks may hold open files and the like.

        Elsewhere functions must be importable and tasks, shared values and results are pickled.
        """

    def map(
        self,
        function: Callable[..., Value],
        tasks: Sequence[Task],
        shared: Sequence[Any] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Run tasks, and yield the outcome of each in the order in which they end.

        A task that fails stops no other. Closing the iterator stops the tasks that are running.

        Args:
            function: called with a `Worker`, a task, and the shared values.
            tasks: one for each call.
            shared: values that all tasks need, sent to each worker once.
            watch: called in this thread about every `POLL_S` seconds while tasks run elsewhere, or after each task that
                runs here.
        """
