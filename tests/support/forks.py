"""Work done in a process of its own that has imported all that the test has: no fresh interpreter is started."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

PATIENCE_S = 120

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def exit_code_of(work: Callable[[], object], stderr: Path | None = None) -> int:
    """Do something in a process of its own; what goes to its standard error, by any library, goes into a file if given.

    Returns:
        the exit code; that of a process which a signal ended is the signal's number, negative.
    """
    child = os.fork()
    if not child:
        _do(work, stderr)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_itself(when: Callable[[], bool], how: int = signal.SIGKILL, after_s: float = 0) -> None:
    """Let this process get a signal as soon as a condition holds, or so many seconds later."""

    def wait_and_kill() -> None:
        while not when():
            time.sleep(0.01)
        time.sleep(after_s)
        os.kill(os.getpid(), how)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # not the test runner's
    Thread(target=wait_and_kill, daemon=True).start()


def _do(work: Callable[[], object], stderr: Path | None) -> None:
    signal.alarm(PATIENCE_S)
    code = 1
    try:
        if stderr:
            os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
