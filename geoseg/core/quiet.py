"""Libraries that remark on what geoseg means, silenced for a while."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Let the loggers of some libraries log nothing but errors, and nobody warn."""
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
    """Let library threads that cannot read or write end without a traceback: whoever waits for them gets the error."""
    before = threading.excepthook

    def pass_on(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, OSError):
            before(failure)

    threading.excepthook = pass_on
    try:
        yield
    finally:
        threading.excepthook = before
