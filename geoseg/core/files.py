"""How files come to be: beside their place, under a name of their own, and moved there when they are complete.

Knows nothing of what is in them.
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
"""What a failing write raises: GDAL's own errors come through where it copies."""
WORKSPACE_END, LOCK_END = ".geoseg-tmp", ".geoseg-lock"
"""Ends of the names of folders for unfinished files, and of locks."""
_MOST_AT_ONCE = 100
"""Living processes that make the same result, at most."""
_LONGEST_NAME = 200
"""Bytes of a name to which more is added; file systems end at 255."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextmanager
def workspace(output: Path) -> Iterator[Path]:
    """A folder for the unfinished files of a result, beside its place and named after it; it goes whatever happens.

    What killed runs left of the same result goes first. One that is alive keeps its own: it holds a lock.

    Raises:
        OutputError: if nothing can be written there.
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
        let_go(lock)
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
            let_go(lock)
    if own is None:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    return own


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A draft of a file, which takes its place when it is complete.

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
    """Give a finished file its final name, with GDAL's sidecar if it has one; nobody ever sees half of it.

    It is on the disk before it has its name: after a power cut, too, there is the old file or the new one.

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
    """Make sure that a file's content is on the disk.

    Raises:
        OSError: if it does not get there: some disks report only here that they are full.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_names(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def reserve(descriptor: int, size: int) -> None:
    """Make an open file of a size that is to be mapped: on a full disk, writing through a map would kill the process.

    Raises:
        OSError: if there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def hidden_name(name: str, end: str) -> str:
    """A hidden name after a file's name; of one that is too long, after its beginning and a digest of it."""
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 8]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return f".{name}{end}"


def try_lock(path: Path) -> FileLock | None:
    """The lock of a name, which ends with the process that has it; None while another one has it.

    Raises:
        NotImplementedError: on file systems without locks.
        OSError: if it cannot be made.
    """
    if path.is_symlink():  # what it leads to is nobody's lock
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


def let_go(lock: FileLock | None) -> None:
    """Release a lock; its file goes."""
    if lock is not None:
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    with suppress(OSError):
        folder.rmdir()


def sidecar(path: Path) -> Path:
    """Where GDAL keeps what the format has no room for, such as a CRS that GeoTIFF cannot express."""
    return path.with_name(path.name + ".aux.xml")


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn a failing write into an OutputError that names the folder of the results."""
    try:
        yield
    except WRITE_FAILURES as error:
        reason = one_line(error.__cause__ or error)
        raise OutputError(f"cannot write into {folder}: {reason}: check the free space and the permissions") from None


@contextmanager
def quiet_georeferencing() -> Iterator[None]:
    """Silence rasterio about rasters without coordinates: geoseg gives its own notice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
