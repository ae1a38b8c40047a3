"""The files of a folder or an archive, without opening any of them as a raster."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from geoseg.core.errors import SceneError
from geoseg.core.files import one_line
from geoseg.core.regular_files import MOST_BYTES, read_bounded

ZIPS, TARS = (".zip",), (".tar", ".tar.gz", ".tgz")
"""Endings of archives."""


@dataclass(frozen=True)
class Listing:
    """The files in a folder and below, or in an archive."""

    path: str
    """The folder or the archive."""
    names: tuple[str, ...]
    """Names of its files, relative to it, with slashes; sorted."""

    def address(self, name: str) -> str:
        """Name by which GDAL opens a file."""
        path = self.path.replace(os.sep, "/")
        if _ends(path, ZIPS):
            return f"/vsizip/{path}/{name}"
        return f"/vsitar/{path}/{name}" if _ends(path, TARS) else os.path.join(self.path, name)

    def matching(self, pattern: str) -> list[str]:
        """The names that match a pattern with *, whatever their case."""
        return [name for name in self.names if fnmatchcase(name.lower(), pattern.lower())]

    def read(self, name: str) -> str:
        """Read a text file of at most 64 MiB.

        Raises:
            SceneError: if it cannot be read, or is larger.
        """
        try:
            return _read(self.path, name).decode("utf-8", "replace")
        except (OSError, zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError, KeyError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
            raise SceneError(f"cannot read {name} of {self.path}: {reason}: download it again") from None


def list_folder(folder: str) -> Listing:
    """The files in a folder and below, without hidden ones.

    Raises:
        SceneError: if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise SceneError(f"cannot list {error.filename}: {error.strerror}: mend it, or give its scenes one by one")

    names = []
    for parent, below, files in os.walk(folder, onerror=refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        inside = os.path.relpath(parent, folder).replace(os.sep, "/")
        names += [name if inside == "." else f"{inside}/{name}" for name in files if not name.startswith(".")]
    return Listing(folder, tuple(sorted(names)))


def list_archive(path: str) -> Listing:
    """The files in an archive.

    Raises:
        SceneError: if it cannot be read.
    """
    try:
        return Listing(path, tuple(sorted(_members(path))))
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise SceneError(f"cannot read the archive {path}: {reason}: check the path, or download it again") from None


def is_archive(path: str) -> bool:
    """Whether a path is that of an archive by its ending."""
    return _ends(path, ZIPS + TARS) and os.path.isfile(path)


def _members(path: str) -> list[str]:
    if _ends(path, ZIPS):
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if not name.endswith("/")]
    with tarfile.open(path) as archive:
        return [member.name for member in archive if member.isfile()]


def _read(path: str, name: str) -> bytes:
    if _ends(path, ZIPS):
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            return _bounded(file.read(MOST_BYTES + 1))
    if _ends(path, TARS):
        with tarfile.open(path) as tar:
            member = tar.extractfile(name)
            return _bounded(b"" if member is None else member.read(MOST_BYTES + 1))
    return read_bounded(os.path.join(path, name))


def _bounded(content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise OSError(f"larger than {MOST_BYTES / 2**20:,.0f} MiB")
    return content


def _ends(path: str, endings: Sequence[str]) -> bool:
    return path.lower().endswith(tuple(endings))
