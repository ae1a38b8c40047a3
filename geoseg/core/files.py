"""Files written atomically: beside their place under a temporary name, and renamed when they are complete.

Knows nothing of their contents.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.core.errors import OutputError

WRITE_FAILURES = RasterioError, CPLE_BaseError, OSError
"""Exceptions of failing writes: GDAL's own errors are not converted where it copies."""
WORKSPACE_END, LOCK_END = ".geoseg-tmp", ".geoseg-lock"
"""Ends of the names of folders for unfinished files, and of locks."""
_MOST_AT_ONCE = 100
"""Living processes that make the same result, at most."""
_LONGEST_NAME = 200
"""Bytes of a name to which more is added; file systems end at 255."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextmanager
def workspace(output: Path) -> Iterator[Path]:
    """A folder for the unfinished files of a result, beside it and named after it; always removed at the end.

    Folders that killed runs left of the same result are removed first. A living run holds a lock and keeps its own.

    Raises:
        OutputError: if it cannot be written.
    """
    folder = output.parent
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: choose a folder")
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, lock = _own_place(output)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}: choose another folder") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        release_lock(lock)
        if is_new:
            remove_if_empty(folder)


def _own_place(output: Path) -> tuple[Path, FileLock | None]:
    """Make a folder that no living process has; empty those of killed ones."""
    own: tuple[Path, FileLock | None] | None = None
    for number in range(_MOST_AT_ONCE):
        ends = f".{number}{WORKSPACE_END}", f".{number}{LOCK_END}"
        path, lock_path = (output.with_name(hidden_name(output.name, end)) for end in ends)
        if own is not None and not lock_path.exists():
            return own
        try:
            lock = try_lock(lock_path)
        except NotImplementedError:
            return Path(tempfile.mkdtemp(WORKSPACE_END, path.name, output.parent)), None
        if lock is None:
            continue
        shutil.rmtree(path, ignore_errors=True)
        if own is None and not os.path.lexists(path):
            path.mkdir()
            own = path, lock
        else:
            release_lock(lock)
    if own is None:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    return own


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A path for the draft of a file, which is moved to its place at the end of the context.

    Raises:
        OutputError: if it cannot be written.
    """
    with workspace(path) as folder:
        try:
            yield folder / path.name
        except WRITE_FAILURES as error:
            reason = one_line(error.__cause__ or error)
            raise OutputError(f"cannot write {path}: {reason}: check the free space and the permissions") from None
        publish(folder / path.name, path)


def publish(finished: Path, path: Path) -> None:
    """Move a finished file to its final name atomically, with GDAL's sidecar if it has one.

    It is synced before it is renamed, so that also after a power cut either the old file or the new one is there.

    Raises:
        OutputError: if that name cannot be taken.
    """
    try:
        sync(finished)
        os.replace(finished, path)
        if sidecar(finished).exists():
            sync(sidecar(finished))
            os.replace(sidecar(finished), sidecar(path))
        else:
            sidecar(path).unlink(missing_ok=True)  # one that described what was here before
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}: choose another place") from None


def sync(path: Path) -> None:
    """Write a file's content through to the disk.

    Raises:
        OSError: if that fails: some disks report only here that they are full.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_names(folder: Path) -> None:
    """Write the names in a folder through to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def reserve(descriptor: int, size: int) -> None:
    """Allocate an open file that is to be memory-mapped: on a full disk, writing to the map would kill the process.

    Raises:
        OSError: if there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def hidden_name(name: str, end: str) -> str:
    """A hidden file name made from a file's name, or from its beginning and a digest if it is too long."""
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 8]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return f".{name}{end}"


def try_lock(path: Path) -> FileLock | None:
    """Acquire the lock file of a path, which is released when the process ends; None while another process holds it.

    Raises:
        NotImplementedError: on file systems without locks.
        OSError: if it cannot be made.
    """
    if path.is_symlink():  # a link's target is not a lock file
        return None
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        if isinstance(error, PermissionError) and path.exists():  # another user's
            return None
        if error.errno in _NO_LOCKS:
            raise NotImplementedError from None
        raise
    return lock


def release_lock(lock: FileLock | None) -> None:
    """Release a lock and remove its file."""
    if lock is not None:
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    with suppress(OSError):
        folder.rmdir()


def sidecar(path: Path) -> Path:
    """Path of GDAL's sidecar (PAM), which holds what the format cannot, such as a CRS that GeoTIFF cannot express."""
    return path.with_name(path.name + ".aux.xml")


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Convert errors of writing into an OutputError that names the folder of the results."""
    try:
        yield
    except WRITE_FAILURES as error:
        reason = one_line(error.__cause__ or error)
        raise OutputError(f"cannot write into {folder}: {reason}: check the free space and the permissions") from None


@contextmanager
def quiet_georeferencing() -> Iterator[None]:
    """Silence rasterio's warning about rasters without coordinates: geoseg gives its own notice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def one_line(error: BaseException) -> str:
    """Message of an error without line breaks and full stop; the error's class if it has none."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
