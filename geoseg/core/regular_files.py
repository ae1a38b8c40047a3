"""Bounded reading of files that a user or another file names.

Only regular files are read: a pipe would block, and a device such as /dev/zero never ends. Errors are OSErrors whose
`strerror` says what to do, so that callers handle them with those of the file system.
"""

from __future__ import annotations

import errno
import os
import stat

MOST_BYTES = 64 * 2**20
"""Largest text that is read: settings, lists and Items are orders of magnitude smaller."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
"""Kinds of files that are neither regular files nor folders."""


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a path that leads to a pipe, a device or a socket; a missing file passes.

    Raises:
        OSError: naming the kind of file.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # a null character: opening the path raises it
        return
    _check_mode(mode, path)


def read_bounded(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises:
        OSError: if it cannot be read, is a pipe, a device or a socket, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        _check_mode(os.fstat(descriptor).st_mode, path)
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most / 2**20:,.0f} MiB, which is no such file", os.fspath(path))
    return content


def _check_mode(mode: int, path: str | os.PathLike[str]) -> None:
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}: save what it gives as a file first", os.fspath(path))
