"""Silences log messages and warnings of libraries about what geoseg does on purpose."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Limit the loggers of some libraries to errors, and ignore all warnings, within a context."""
    loggers = [logging.getLogger(name) for name in libraries]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.level, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Suppress tracebacks of library threads that end with an OSError: the thread that joins them gets the error."""
    before = threading.excepthook

    def pass_on(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, OSError):
            before(failure)

    threading.excepthook = pass_on
    try:
        yield
    finally:
        threading.excepthook = before
