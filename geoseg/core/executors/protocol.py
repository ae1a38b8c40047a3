"""What an executor is: it has tasks done by workers, and gives what came of each as soon as it is known."""

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
    """What a worker has for its tasks, one after the other: its device, and what the last task opened."""

    def __init__(self, device: str | None = None):
        """Name the device of a worker; None leaves it to the task."""
        self.device = device
        self._lock = Lock()
        self._key: Any = None
        self._kept: Any = None
        self._open = ExitStack()

    def run(self, function: Callable[..., Value], task: Any, shared: Sequence[Any] = ()) -> Value:
        """Do a task; others wait meanwhile, whatever thread they come in."""
        with self._lock:
            return function(self, task, *shared)

    def keep(self, key: Any, opener: Callable[[], AbstractContextManager[Value]]) -> Value:
        """What goes by a key: opened unless it is what the last task had, which is closed otherwise."""
        if self._key is None or self._key != key:
            self.close()
            self._kept = self._open.enter_context(opener())
            self._key = key
        return cast(Value, self._kept)

    def close(self) -> None:
        """Let go of what is open."""
        self._key = self._kept = None
        self._open.close()


@dataclass(frozen=True)
class Outcome(Generic[Task, Value]):
    """What came of a task."""

    task: Task
    """The task."""
    value: Value | None = None
    """What the function returned."""
    error: BaseException | None = None
    """What it raised instead, or a GeosegError if its worker died."""

    def result(self) -> Value:
        """What the function returned.

        Raises:
            BaseException: what it raised instead.
        """
        if self.error is not None:
            raise self.error
        return cast(Value, self.value)


@dataclass(frozen=True)
class Workplace:
    """Where tasks are to be done."""

    scheduler: Any = None
    """Text of --scheduler, a library's client, or an executor that is open already; None for this machine."""
    devices: tuple[str, ...] = ()
    """Devices of this machine; several have a process each."""
    prepare: Callable[[], None] | None = None
    """What each such process does first; importable, as it is called elsewhere."""


@runtime_checkable
class Executor(Protocol):
    """Has tasks done by workers. It is open as long as the context lasts that `open_executor` gives."""

    @property
    def worker_count(self) -> int:
        """How many tasks are done at a time."""

    @property
    def is_here(self) -> bool:
        """Whether tasks are done in this thread, so that functions and tasks may hold what is open here.

        Elsewhere functions must be importable and tasks, shared values and results are pickled.
        """

    def map(
        self,
        function: Callable[..., Value],
        tasks: Sequence[Task],
        shared: Sequence[Any] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Have tasks done, and give what came of each, in the order in which they end.

        An error of a task is its outcome and stops no other. Closing the iterator ends the tasks that are at work.

        Args:
            function: called with a `Worker`, a task, and the shared values.
            tasks: what is to be done.
            shared: values that all tasks need, sent to each worker once.
            watch: called here every `POLL_S` or so while tasks are at work elsewhere, and after each task here.
        """
