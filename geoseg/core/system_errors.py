"""Errors of the system: lack of memory, full disks, files that may not be opened.

In: an unexpected exception. Out: one line that says what happened and what to do, or None if it is a bug in geoseg.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from geoseg.core.errors import GeosegError

_OUT_OF_MEMORY = re.compile(
    r"out of memory|(can't|cannot|could not|unable to|failed to) (re)?allocate|not enough memory|bad_alloc"
    r"|failed to map segment|unable to mmap|ALLOC_FAILED|(malloc|realloc|alloc) of (size )?\d+ (bytes )?failed"
    r"|can't start new thread",
    re.IGNORECASE,
)
"""Messages of libraries: PyTorch, CUDA, GDAL, C++, the loader of shared libraries, Arrow."""
_LESS_MEMORY = (
    "out of memory: free some, raise the limit if there is one, or ask for less at once: a smaller --tile or "
    "--batch-size, or window and batch_size in a training config"
)
_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some space, or choose another place",
    errno.EROFS: "choose another place",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "it may have been moved meanwhile, check the path",
    errno.ESTALE: "the network drive has lost it, try again",
    errno.EIO: "check the disk",
}


def system_failure(error: BaseException) -> str | None:
    """What the system refused and what to do, on one line; None for an error of another cause."""
    if lacks_memory(error):
        return _LESS_MEMORY
    return _of_the_system(error) if isinstance(error, OSError) else None


def as_geoseg_error(error: Exception) -> GeosegError | None:
    """An exception as a GeosegError: itself if it is one, or the system's error in a line; None for a bug in geoseg."""
    if isinstance(error, GeosegError):
        return error
    line = system_failure(error)
    return None if line is None else GeosegError(line)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one of its causes, is a lack of memory."""
    return any(map(_is_lack_of_memory, _causes(error)))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause or context, the cause of that, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | ImportError | OSError) and _OUT_OF_MEMORY.search(str(error)) is not None


def _of_the_system(error: OSError) -> str:
    """The file, its problem, and a remedy if one is known."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    remedy = _REMEDIES.get(error.errno or 0)
    return ": ".join(part for part in (names, reason, remedy) if part)
