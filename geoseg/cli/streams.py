"""Standard streams that may be closed, full, a closed pipe, or of an encoding that lacks characters."""

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


def repair_streams() -> None:
    """Open closed streams (`2>&-`) on the null device, and escape characters that a stream's encoding lacks.

    A file that is opened while standard error is closed would get its descriptor, and with it the messages of C
    libraries. What cannot be written to standard error is dropped, as results matter more; what cannot be written to
    standard output is an error, as it is a result.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if not _is_open(number):
            _open_nothing(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.stdout = _repaired(sys.stdout, _StandardOutput)
    sys.stderr = _repaired(sys.stderr, _StandardError)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open_nothing(number: int) -> None:
    """Open the null device under a standard stream's descriptor."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _repaired(stream: TextIO, kind: type[_StandardOutput | _StandardError]) -> TextIO:
    """A standard stream wrapped in `kind`; one without a descriptor, as in tests, stays as it is."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return stream
    if number not in (1, 2):
        return stream
    with suppress(OSError):
        stream.flush()
        os.set_blocking(number, True)  # another process may have made it non-blocking
    writer = io.BufferedWriter(kind(number, "w", closefd=False))
    return io.TextIOWrapper(
        writer, encoding=stream.encoding, errors="backslashreplace", line_buffering=number == 2 or stream.isatty()
    )


class _StandardError(io.FileIO):
    """Standard error; what cannot be written is dropped."""

    def write(self, data: Buffer, /) -> int:
        """Write, or do nothing."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


class _StandardOutput(io.FileIO):
    """Standard output; a failure to write is raised once."""

    _failed = False

    def write(self, data: Buffer, /) -> int:
        """Write.

        Raises:
            Exit: with code 1, if the pipe is closed, as in `geoseg info scene.tif | head -1`.
            OutputError: if it fails for another reason.
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
