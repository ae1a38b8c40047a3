"""Paths that libraries would misread: reached by links from a folder whose name is plain.

rasterio and pyogrio parse paths like URLs: `a!b` is b in an archive a, what follows a semicolon is a parameter, line
breaks go, and what stands before a colon is a scheme. A file is itself, whatever it is called.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER_SYSTEMS = "vsicurl", "vsis3", "vsigs", "vsiaz", "vsiadls", "vsioss", "vsiswift", "vsiwebhdfs"
"""GDAL's file systems that are read over a network."""
_ON_SERVER = re.compile(
    r"(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)*(?:(?:https?|ftp|s3|gs|az|adls?|abfss?|oss|swift|webhdfs)://"
    rf"|/(?:{'|'.join(SERVER_SYSTEMS)})(?:_streaming)?[/?])",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"((?:/+vsi\w+)+/|)([A-Za-z][A-Za-z0-9+]{1,9}):/(?!/)")
"""Begin of a URL of which a path of files kept one slash only."""
_MISREAD = re.compile(r"[!;:\x00-\x1f]")


def whole_url(path: str | os.PathLike[str]) -> str:
    """A path or URL; of a URL that was taken for a path of files, with both slashes again."""
    text = os.fspath(path)
    broken = _BROKEN.match(text)
    if broken is None or os.path.lexists(text):
        return text
    inside = re.sub("(?<=.)/+vsi", "//vsi", broken[1])  # one virtual file inside another
    return f"{inside}{broken[2]}://{text[broken.end() :]}"


def is_on_server(path: str) -> bool:
    """Whether a path leads to a server or a bucket and to nothing on this machine."""
    return _ON_SERVER.match(path) is not None


def joined(folder: Path, path: str | os.PathLike[str]) -> Path:
    """A path that is relative to a folder; a URL, which `whole_url` mends, or a virtual file stays as it is."""
    return Path(path) if _BROKEN.match(whole := os.fspath(path)) or "://" in whole else folder / path


def as_file(path: str) -> str:
    """A path that is a file's, whatever else it might be read as; any other as it is.

    Of a URL behind options no sidecar files are looked for: GDAL would add their endings to its query, and go on for
    ever if the server does not care. It does not for paths with a query that hold `/vsicurl/`, wherever they do; the
    option below means nothing without another one.
    """
    if path.startswith("/vsicurl?") and "/vsicurl/" not in path:
        return path.replace("?", "?pc_collection=/vsicurl/&", 1)
    return os.path.join(".", path) if ":" in path and not os.path.isabs(path) and os.path.exists(path) else path


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """A folder by a name that is never misread, its own if that is none."""
    if not _MISREAD.search(os.fspath(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-") as place:
        link = Path(place) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """A file by a name that is never misread, with those of its stem that lie beside it; its own if that is none."""
    if not _MISREAD.search(os.fspath(path)) or not path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-") as place:
        for file in path.absolute().parent.iterdir():
            if file.name == path.name or file.name.startswith(f"{path.stem}."):
                (Path(place) / f"file{file.name.removeprefix(path.stem)}").symlink_to(file)
        yield Path(place) / f"file{path.suffix}"
