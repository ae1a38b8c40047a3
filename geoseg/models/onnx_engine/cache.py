"""Files that are made again where they are missing, in a folder of the user's own cache.

In: a name. Out: bytes, if this user has written them and nobody has changed them. A cache that cannot be read or
written is no error.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from geoseg.core.errors import OutputError
from geoseg.core.files import draft_of
from geoseg.models.user_cache import KEPT_S, is_own, make_own, user_folder

_DIGITS = 64


def cache_folder() -> Path:
    """The folder, beside that of downloaded models."""
    return user_folder("engines")


def read_cached(name: str) -> bytes | None:
    """The content of a file; None if it is missing, damaged, or another user could have written it."""
    path = cache_folder() / name
    try:
        if not is_own(os.lstat(path.parent)):
            return None
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not is_own(os.fstat(descriptor)):
                return None
            digest, content = file.read(_DIGITS), file.read()
        if digest.decode("latin-1") != hashlib.sha256(content).hexdigest():
            return None
        with suppress(OSError):
            os.utime(path)
        return content
    except OSError:
        return None


def is_cached(name: str) -> bool:
    """Whether there is a file of a name, which may be damaged."""
    return os.path.isfile(cache_folder() / name)


def has_cached(end: str) -> bool:
    """Whether there is any file whose name ends so."""
    try:
        return any(cache_folder().glob(f"*{end}"))
    except OSError:
        return False


def write_cached(name: str, content: bytes) -> bool:
    """Write a file; whether it can be read again."""
    path = cache_folder() / name
    try:
        if not make_own(path.parent):
            return False
        _remove_unused(path.parent)
        with draft_of(path) as draft:
            draft.write_bytes(hashlib.sha256(content).hexdigest().encode() + content)
            draft.chmod(0o600)
    except (OSError, OutputError):
        return False
    return read_cached(name) == content


def _remove_unused(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if path.is_file() and time.time() - path.lstat().st_mtime > KEPT_S:
                path.unlink()
