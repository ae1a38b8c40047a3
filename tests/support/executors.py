"""Workers of a test's own, which share work as processes do without the seconds that a process takes to start."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, chdir, closing
from itertools import cycle
from typing import Any

from geoseg.core.executors.protocol import Outcome, Task, Value, Worker


class Apart:
    """Two workers that take turns in this thread; see `Executor`.

    As with processes, all that reaches a worker, and all that it returns, is pickled, and each worker opens its files
    itself; as on other machines, its working folder is another one. Tasks run from the last to the first, so that
    seams stay open.
    """

    worker_count = 2
    is_here = False

    def map(
        self,
        function: Callable[..., Value],
        tasks: Sequence[Task],
        shared: Sequence[Any] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> Generator[Outcome[Task, Value], None, None]:
        """Run tasks; see `Executor`."""
        with ExitStack() as stack:
            workers = [stack.enter_context(closing(Worker())) for _ in range(self.worker_count)]
            for worker, task in zip(cycle(workers), tasks[::-1], strict=False):
                message = pickle.dumps((function, task, tuple(shared)))
                try:
                    with chdir("/"):
                        answer = Outcome(task, pickle.loads(pickle.dumps(worker.run(*pickle.loads(message)))))
                except Exception as error:
                    answer = Outcome[Task, Value](task, error=error)
                yield answer
                watch()
