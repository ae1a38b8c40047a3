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
"""What libraries and child processes are told by the environment, unless a person tells them otherwise."""


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
    disabled, root, nothing = logging.root.manager.disable, logging.getLogger(), logging.NullHandler()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.disable(logging.WARNING)  # errors are left, for rasterio learns from its log that GDAL failed
    root.addHandler(nothing)  # without any, Python prints them
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(nothing)
        logging.disable(disabled)
        os.environ.clear()
        os.environ.update(given)


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
