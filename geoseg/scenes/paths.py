"""Paths, URLs and other names that GDAL opens: their kinds, and resolution of relative ones."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from geoseg.core.composites import each_part, paths_in
from geoseg.core.errors import SceneError
from geoseg.core.naming import visible
from geoseg.core.raster_names import path_of
from geoseg.core.safe_paths import is_on_server

_SUBDATASET = re.compile(r"[A-Za-z][A-Za-z0-9_]+:")
"""Start of NETCDF:..., GTIFF_DIR:... and the like; a single letter is a drive."""


def is_local(path: str) -> bool:
    """Whether a path denotes a file of this machine, which need not exist."""
    return "://" not in path and not path.startswith("/vsi")


def is_web(path: str) -> bool:
    """Whether a path is read over HTTP."""
    return path.startswith(("http://", "https://"))


def resolve(href: str, base: str) -> str:
    """Resolve a path or URL relative to the file `base` that contains it."""
    if href.startswith("file://"):
        return url2pathname(urlsplit(href).path)
    if not is_local(href) or (_SUBDATASET.match(href) and not os.path.exists(_beside(href, base))):
        return href
    if is_local(base):
        return _beside(href, base)
    scheme, rest = base.split("://", 1)  # urljoin knows http, but neither s3 nor gs
    return scheme + urljoin(f"http://{rest}", href).removeprefix("http")


def resolve_given(href: str, base: str, source: str) -> str:
    """The same, given the `source` that contains it: a source on a server may refer to servers only.

    Raises:
        SceneError: if it refers, or may refer, to files of this machine.
    """

    def checked(part: str) -> str:
        path = resolve(part, base)
        if not is_local(source) and not is_on_server(path):
            raise SceneError(
                f"names {visible(part[:80])}, which is not on a server: only files of this machine may lead to others"
            )
        return path

    return each_part(href, checked)


def _beside(href: str, base: str) -> str:
    path = os.path.normpath(os.path.join(os.path.dirname(base), href))
    return plain if (plain := unquote(path)) != path and os.path.exists(plain) and not os.path.exists(path) else path


def identity(path: str) -> str:
    """A key that is equal for all spellings of a scene's path."""
    return each_part(path, lambda part: os.path.abspath(part) if _is_path(part) else part)


def _is_path(path: str) -> bool:
    return is_local(path) and not _SUBDATASET.match(path)


def folders(path: str) -> list[str]:
    """Names of the folders of a scene's path, from the outermost to its own."""
    path = paths_in(path)[0]
    text = path_of(path) if "://" in path else identity(path).replace(os.sep, "/")
    return [part for part in text.split("/")[:-1] if part]
