"""Access to paths that libraries would misread, by links from a folder with a plain name.

rasterio and pyogrio parse paths like URLs: `a!b` is b in an archive a, text after a semicolon is a parameter, line
breaks are dropped, and text before a colon is a scheme. Here an existing file is that file, whatever its name.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.core.composites import each_part

SERVER_SYSTEMS = "vsicurl", "vsis3", "vsigs", "vsiaz", "vsiadls", "vsioss", "vsiswift", "vsiwebhdfs"
"""GDAL's file systems that are read over a network."""
_ON_SERVER = re.compile(
    r"(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)*(?:(?:https?|ftp|s3|gs|az|adls?|abfss?|oss|swift|webhdfs)://"
    rf"|/(?:{'|'.join(SERVER_SYSTEMS)})(?:_streaming)?[/?])",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"((?:/+vsi\w+)+/|)([A-Za-z][A-Za-z0-9+]{1,9}):/(?!/)")
"""Begin of a URL of which a path of files kept one slash only."""
_IN_ARCHIVE = re.compile(
    r"(/vsi(?:zip|tar|gzip|7z|rar)/)(/*[^/{].*?\.(?:zip|tar|tgz|tar\.gz|gz|7z|rar))((?:/.*)?)$", re.IGNORECASE
)
"""File in an archive: file system, archive, file."""
_MISREAD = re.compile(r"[!;:\x00-\x1f]")


def whole_url(path: str | os.PathLike[str]) -> str:
    """A path or URL as text, with the second of two slashes that `Path` drops: of a URL, of /vsizip//folder/a.zip."""
    text = os.fspath(path)
    archive = _IN_ARCHIVE.match(text)
    if archive is not None and not os.path.lexists(archive[2]) and os.path.lexists(f"/{archive[2]}"):
        return f"{archive[1]}/{text[len(archive[1]) :]}"
    broken = _BROKEN.match(text)
    if broken is None or os.path.lexists(text):
        return text
    inside = re.sub("(?<=.)/+vsi", "//vsi", broken[1])  # one virtual file inside another
    return f"{inside}{broken[2]}://{text[broken.end() :]}"


def is_on_server(path: str) -> bool:
    """Whether a path leads to a server or a bucket only, and not to a file of this machine."""
    return _ON_SERVER.match(path) is not None


def file_of(path: str) -> str:
    """The file of this machine that holds a raster: the archive of one in an archive, else the path itself."""
    archive = _IN_ARCHIVE.match(path)
    return archive[2] if archive is not None else path


def is_elsewhere(path: str) -> bool:
    """Whether a path is that of no file of this machine's own file systems: a URL, or a virtual file of GDAL's."""
    return "://" in path or path.startswith("/vsi")


def joined(folder: Path, path: str | os.PathLike[str]) -> Path:
    """A path taken relative to a folder; URLs, which `whole_url` restores, and virtual files stay as they are.

    The path of a file in an archive may be relative as well: /vsizip/tiles.zip/a.tif. Of a composite address, each part
    is taken relative to the folder.
    """
    return Path(each_part(os.fspath(path), lambda part: os.fspath(_joined_part(folder, part))))


def _joined_part(folder: Path, path: str) -> Path:
    if _BROKEN.match(path) or "://" in path:
        return Path(path)
    archive = _IN_ARCHIVE.match(path)
    if archive is not None and os.path.lexists(folder / archive[2]):
        return Path(f"{archive[1]}{folder / archive[2]}{archive[3]}")
    return folder / path


def as_file(path: str) -> str:
    """A path that GDAL opens as the file that has it, whatever else it might be read as; other paths are unchanged.

    For a URL with options, GDAL would search for sidecar files by appending their endings to its query, without end if
    the server ignores that. It does not search for paths with a query that contain `/vsicurl/` anywhere, which the
    option below achieves; it has no other effect.
    """
    if path.startswith("/vsicurl?") and "/vsicurl/" not in path:
        return path.replace("?", "?pc_collection=/vsicurl/&", 1)
    return os.path.join(".", path) if ":" in path and not os.path.isabs(path) and os.path.exists(path) else path


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """A folder under a path that is never misread: its own, or a link to it."""
    if not _MISREAD.search(os.fspath(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-") as place:
        link = Path(place) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """A file under a path that is never misread, with the files of its stem beside it: its own, or links to them."""
    if not _MISREAD.search(os.fspath(path)) or not path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-") as place:
        for file in path.absolute().parent.iterdir():
            if file.name == path.name or file.name.startswith(f"{path.stem}."):
                (Path(place) / f"file{file.name.removeprefix(path.stem)}").symlink_to(file)
        yield Path(place) / f"file{path.suffix}"
