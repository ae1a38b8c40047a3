"""The process environment of a command: no warnings and logs of libraries, a home folder, a user name."""

from __future__ import annotations

import getpass
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

_QUIET = {
    "PYTHONWARNINGS": "ignore",  # of processes that are started from here
    "CPL_LOG": os.devnull,  # GDAL, where no error handler is set: in threads of its own
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "KMP_WARNINGS": "0",  # OpenMP
    "PYDANTIC_DISABLE_PLUGINS": "__all__",  # it looks for some in every installed package, and settings need none
    "HF_HUB_VERBOSITY": "critical",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment variables of libraries and child processes, unless the user has set them."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppress warnings and logs of libraries; what matters to the user is a notice.

    With PYTHONWARNINGS or -W, all warnings are shown.
    """
    given = dict(os.environ)
    _complete_user()
    if sys.warnoptions:
        yield
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings(), _suppressed_logs():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.clear()
        os.environ.update(given)


@contextmanager
def _suppressed_logs() -> Iterator[None]:
    """Keep the logs of libraries off standard error; filters of loggers still get all records."""
    kind, root, nothing = logging.getLoggerClass(), logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)  # without any handler, Python prints records
    logging.setLoggerClass(_SuppressedLogger)
    _SuppressedLogger.is_active = True
    try:
        yield
    finally:
        _SuppressedLogger.is_active = False
        logging.setLoggerClass(kind)
        root.removeHandler(nothing)


class _SuppressedLogger(logging.Logger):
    """A logger for libraries with handlers of their own, such as PyTorch."""

    is_active = False

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless a command is running."""
        if not self.is_active:
            super().callHandlers(record)


def _complete_user() -> None:
    """Give a user without an account a name, and a home that nothing can be written to.

    Containers run under any user id. Without a name PyTorch does not compile, and without a home libraries would create
    a folder named ~ in the current one.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = os.devnull
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = f"user{os.getuid()}"


VERSIONS_ASKED = ("geopandas", "pandas")
"""Packages of which pyogrio wants to know the versions."""


def import_pyogrio() -> None:
    """Import pyogrio without the packages that it imports for their versions, half a second's work: modules that have
    nothing but a version stand in for them meanwhile.

    For a process of one thread, as another one may want the packages themselves. Whoever imports them later gets them.
    """
    given = [_version_alone(name) for name in VERSIONS_ASKED if name not in sys.modules]
    stand_ins = {module.__name__: module for module in given if module is not None}
    sys.modules.update(stand_ins)
    try:
        with suppress(AttributeError, ImportError):  # pyogrio wants more of them: it is imported where it is needed
            import pyogrio  # noqa: F401
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _version_alone(name: str) -> ModuleType | None:
    """A module with the version of an installed package; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    module = ModuleType(name)
    try:
        module.__dict__["__version__"] = version(name)
    except PackageNotFoundError:
        return None
    return module
