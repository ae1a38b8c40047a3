"""Models that are named by an address, downloaded into a cache: from the Hugging Face Hub, or from any HTTPS server.

In: `hf://OWNER/NAME[@REVISION][/FILE]` or `https://...[#sha256=DIGEST]`. Out: a path in a cache, and the address of
this very version.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

from geoseg.models.downloads import hub, web
from geoseg.models.downloads.download import Download

__all__ = ["Download", "address_line", "fetch_file", "fetch_folder", "is_address", "whole_address"]

_SCHEME = re.compile(r"(hf|https?):/+", re.IGNORECASE)
"""Begin of an address; one slash is left where it was taken for a path of files."""


def is_address(model: str | os.PathLike[str] | None) -> bool:
    """Whether a model is named by an address, not by a path."""
    return model is not None and _SCHEME.match(os.fspath(model)) is not None


@lru_cache
def fetch_file(address: str) -> Download:
    """The file at an address: of a repository without FILE its bundle, else its one file of another kind of models.

    An address is looked up once in a process, so that all parts of a run have the same file.

    Raises:
        ModelError: if there is no such file, it cannot be downloaded, or its digest is not the expected one.
        OutputError: if the cache cannot be written.
    """
    scheme, rest = _split(address)
    return hub.fetch_file(rest) if scheme == "hf" else web.fetch_file(f"{scheme}://{rest}")


@lru_cache
def fetch_folder(address: str, endings: tuple[str, ...]) -> Download:
    """The folder of a repository with its texts and a file of weights; of an address of one file that file.

    Args:
        address: of a repository, or of a file.
        endings: those of files of weights; the one file with the first of them that is there is taken.

    Raises:
        ModelError, OutputError: as `fetch_file`.
    """
    scheme, rest = _split(address)
    return hub.fetch_folder(rest, endings) if scheme == "hf" else web.fetch_file(f"{scheme}://{rest}")


def whole_address(place: str | os.PathLike[str]) -> str:
    """An address with both slashes of its scheme, where it was taken for a path of files."""
    return "://".join(_split(os.fspath(place)))


def address_line(what: str, address: str) -> str:
    """The line that names the version that was downloaded; its digest stands apart, as it would be taken for a secret
    within a URL."""
    return f"{what}: {address.replace('#', ' #')}"


def _split(address: str) -> tuple[str, str]:
    begin = _SCHEME.match(address)
    assert begin is not None  # is_address
    return begin[1].lower(), address[begin.end() :]
