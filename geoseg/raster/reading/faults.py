"""Errors and warnings that GDAL logs in the thread that reads, including those that it does not return."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioIOError

from geoseg.core.files import one_line
from geoseg.core.system_errors import lacks_memory, system_failure
from geoseg.raster.reading.remote import is_remote

_LOGGERS = "rasterio._err", "rasterio._env"
_FAILURE = "GDAL signalled an error"
_UNREAD = re.compile("read error|io error|error during reading|cannot read|failed to read|unable to read", re.I)


@dataclass
class Faults:
    """Messages that GDAL logged."""

    failures: list[str] = field(default_factory=list)
    """Messages of errors, in their order: causes first."""
    warnings: list[str] = field(default_factory=list)
    """Messages of warnings."""

    @property
    def unread(self) -> list[str]:
        """Warnings that a part of a file was not read, as opposed to not understood."""
        return [text for text in (*self.failures, *self.warnings) if _UNREAD.search(text)]


class _Watch(logging.Filter):
    """Collects what rasterio logs of GDAL, and passes on only what would be logged without this filter."""

    def __init__(self) -> None:
        super().__init__()
        self._local = local()

    def filter(self, record: logging.LogRecord) -> bool:
        faults: Faults | None = getattr(self._local, "faults", None)
        if faults is not None and isinstance(record.args, tuple) and record.args:
            kept = faults.failures if record.msg.startswith(_FAILURE) else faults.warnings
            kept.append(" ".join(str(record.args[-1]).split()))
        return record.levelno >= logging.getLogger("rasterio").getEffectiveLevel()

    @contextmanager
    def watch(self) -> Iterator[Faults]:
        outer, self._local.faults = getattr(self._local, "faults", None), Faults()
        try:
            yield self._local.faults
        finally:
            self._local.faults = outer


_watch = _Watch()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_watch)
    logging.getLogger(_name).setLevel(logging.INFO)  # the level at which rasterio logs errors


@contextmanager
def watched() -> Iterator[Faults]:
    """Collect what GDAL logs in this thread, within a context."""
    with _watch.watch() as faults:
        yield faults


@contextmanager
def gdal_errors() -> Iterator[None]:
    """Convert errors of GDAL's that rasterio does not convert into rasterio's."""
    try:
        yield
    except CPLE_BaseError as error:
        raise RasterioIOError(one_line(error)) from None


def unreadable(error: BaseException, path: str) -> str:
    """A failed read on one line: the file, GDAL's message, and the likely cause."""
    said = one_line(error.__cause__ or error)
    if lacks_memory(error):
        why = system_failure(error)
    elif is_remote(path) or is_remote(said):  # a file here may show what is on a server
        why = "the server did not deliver it, try again"
    else:
        why = "the file is damaged or incomplete"
    return f"{path} cannot be read: {said}: {why}"


def reason(messages: Sequence[str], error: BaseException | None, files: Sequence[str]) -> str:
    """The cause of a failed read, with the file: GDAL gives the base name of a source, or another message names it."""
    causes = list(messages) or [one_line(error.__cause__ or error) if error else "unknown error"]
    for text in causes:
        if "No such file" in text or any(file in text for file in files[1:]):
            return text
    for text in reversed(causes):
        named = [file for file in files if text.startswith(f"{os.path.basename(file)}, band")]
        if named:
            return text.replace(os.path.basename(named[0]), named[0], 1) if len(named) == 1 else text
    return causes[-1]
