"""Executor that runs tasks one after the other in this thread, each when its outcome is requested."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from geoseg.core.executors.protocol import Executor, Outcome, Task, Value, Worker, Workplace


class Inline:
    """Runs tasks in this thread; see `Executor`."""

    worker_count = 1
    is_here = True

    def map(
        self,
        function: Callable[..., Value],
        tasks: Sequence[Task],
        shared: Sequence[Any] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Run tasks in their order; see `Executor`. An interruption is no outcome: it is raised."""
        with closing(Worker()) as worker:
            for task in tasks:
                try:
                    outcome = Outcome(task, worker.run(function, task, shared))
                except Exception as error:
                    outcome = Outcome[Task, Value](task, error=error)
                yield outcome
                watch()


@contextmanager
def open_inline(_place: Workplace) -> Iterator[Executor]:
    """Use this thread."""
    yield Inline()
