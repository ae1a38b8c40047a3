"""What libraries find around them: a home, and orders to keep their remarks to themselves."""

from __future__ import annotations

import getpass
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET = {
    "PYTHONWARNINGS": "ignore",  # of processes that are started from here
    "CPL_LOG": os.devnull,  # GDAL, where no error handler is set: in threads of its own
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "KMP_WARNINGS": "0",  # OpenMP
    "HF_HUB_VERBOSITY": "critical",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""What libraries and child processes find in the environment, unless a person has set it otherwise."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep warnings and logs of libraries from the user; what matters to him comes as a notice.

    Who asks for warnings, with PYTHONWARNINGS or -W, gets them all.
    """
    given = dict(os.environ)
    _settle_in()
    if sys.warnoptions:
        yield
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings(), _unheard_logs():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.clear()
        os.environ.update(given)


@contextmanager
def _unheard_logs() -> Iterator[None]:
    """Keep what libraries log from standard error; filters of loggers still see all of it."""
    kind, root, nothing = logging.getLoggerClass(), logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)  # without any, Python prints what no library takes care of
    logging.setLoggerClass(_Unheard)
    _Unheard.is_active = True
    try:
        yield
    finally:
        _Unheard.is_active = False
        logging.setLoggerClass(kind)
        root.removeHandler(nothing)


class _Unheard(logging.Logger):
    """A logger of a library that prints by itself, such as PyTorch."""

    is_active = False

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Hand a record on, unless a command is at work."""
        if not self.is_active:
            super().callHandlers(record)


def _settle_in() -> None:
    """Give a user whom the system does not know a name, and a home that nothing can be written to.

    Containers run as any number. Without a name PyTorch does not compile, and without a home libraries would take a
    folder named ~ in the current one for it.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = os.devnull
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = f"user{os.getuid()}"
