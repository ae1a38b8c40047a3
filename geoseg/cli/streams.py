"""Standard streams that nothing is lost by: closed, full, cut off, or in an encoding that lacks a letter."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from click.exceptions import Exit

from geoseg.core.errors import OutputError
from geoseg.core.system_errors import system_failure

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


def mend_streams() -> None:
    """Open what was closed (`2>&-`), and let standard streams write whatever letters they can.

    A file that is opened while standard error is closed would get its number, and with it what C libraries say. What
    cannot be said on standard error is left out, for results are worth more; what cannot be written to standard output
    is an error, for it is a result.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if not _is_open(number):
            _open_nothing(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.stdout = _mended(sys.stdout, _Results)
    sys.stderr = _mended(sys.stderr, _Remarks)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open_nothing(number: int) -> None:
    """Make a standard stream's number that of the null device."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _mended(stream: TextIO, kind: type[_Results | _Remarks]) -> TextIO:
    """A standard stream by way of `kind`; one that is no file, as in tests, stays as it is."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return stream
    if number not in (1, 2):
        return stream
    with suppress(OSError):
        stream.flush()
        os.set_blocking(number, True)  # whoever shares it may have made it give up where it is slow
    writer = io.BufferedWriter(kind(number, "w", closefd=False))
    return io.TextIOWrapper(
        writer, encoding=stream.encoding, errors="backslashreplace", line_buffering=number == 2 or stream.isatty()
    )


class _Remarks(io.FileIO):
    """Standard error, which takes everything, whether it can be written or not."""

    def write(self, data: Buffer, /) -> int:
        """Write, or do nothing."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


class _Results(io.FileIO):
    """Standard output, which says once that it cannot be written."""

    _failed = False

    def write(self, data: Buffer, /) -> int:
        """Write.

        Raises:
            Exit: with code 1, if nobody listens any more, as in `geoseg info scene.tif | head -1`.
            OutputError: if it cannot be written for another reason.
        """
        if self._failed:
            return len(memoryview(data))
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            if isinstance(error, BrokenPipeError):
                raise Exit(1) from None
            raise OutputError(f"cannot write to standard output: {system_failure(error)}") from None
