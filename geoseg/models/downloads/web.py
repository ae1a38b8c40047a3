"""Files of models on HTTPS servers, in the folder that the Hub's library keeps for other libraries (`HF_HOME`).

In: a URL, perhaps with #sha256=DIGEST. Out: a path in the cache. A file that is there is not asked for again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import Request, urlopen

from geoseg.core.errors import ModelError
from geoseg.core.files import draft_of, one_line
from geoseg.core.redaction import public_form, public_text
from geoseg.core.version import __version__
from geoseg.models.downloads.download import Download, check_digest, sha256_of

_PINNED = re.compile(r"sha256=([0-9a-fA-F]{64})")
_TIMEOUT_S = 60
"""Longest silence of a server."""
_PART = 2**20
"""Bytes that are read at once."""
_HERE = "127.0.0.1", "localhost", "::1"
"""Hosts that are reached without encryption: nobody is in between."""


def fetch_file(address: str) -> Download:
    """The file at a URL.

    Raises:
        ModelError: if it cannot be downloaded, or its digest is not the one behind #sha256=.
        OutputError: if the cache cannot be written.
    """
    url, pin = _split(address)
    shown = public_form(url)
    path = _place(url)
    if path.is_file() and pin in ("", digest := sha256_of(path)):
        return Download(path, f"{shown}#sha256={digest}")
    if _is_offline():
        raise ModelError(f"{shown} is not in the cache, and HF_HUB_OFFLINE is set: unset it, or give a path")
    with draft_of(path) as draft:
        with draft.open("wb") as file:
            file.writelines(_answer(url))
        digest = sha256_of(draft)
        if pin:
            check_digest(digest, pin, shown)
    return Download(path, f"{shown}#sha256={digest}")


def _split(address: str) -> tuple[str, str]:
    """The URL, and the digest that is expected, empty if none is.

    Raises:
        ModelError: if the digest is none, or the URL names no file or would be open to changes on the way.
    """
    url, _, fragment = address.partition("#")
    found = _PINNED.fullmatch(fragment)
    shown = public_form(url)
    if fragment and found is None:
        raise ModelError(f"{shown}: #{fragment} is no digest: give #sha256= and 64 hexadecimal digits, or leave it out")
    parts = _parts(url)
    if not parts.hostname or not _name(parts):
        raise ModelError(f"{shown} names no file: give https://HOST/.../FILE")
    if not found and not _is_safe(url):
        raise ModelError(f"{shown} is open to changes on the way: give https://, or its digest, #sha256=")
    return url, found[1].lower() if found else ""


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ModelError(f"{public_form(url)} is no URL: {one_line(error)}: check it") from None


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _HERE


def _name(parts: SplitResult) -> str:
    """The name of the file, of letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.-]", "_", PurePosixPath(unquote(parts.path)).name)[-100:].lstrip(".")


def _place(url: str) -> Path:
    """The place of a URL in the cache: its own folder, so that the file keeps its name."""
    from huggingface_hub import constants

    folder = Path(constants.HF_ASSETS_CACHE).expanduser() / "geoseg" / "models"
    return folder / hashlib.sha256(url.encode()).hexdigest()[:16] / _name(urlsplit(url))


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _answer(url: str) -> Iterator[bytes]:
    """What a server answers, in parts.

    Raises:
        ModelError: if there is no whole answer.
    """
    shown = public_form(url)
    request = Request(url, headers={"User-Agent": f"geoseg/{__version__}"})
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            if _is_safe(url) and not _is_safe(answer.geturl()):
                raise ModelError(
                    f"{shown} leads to {public_form(answer.geturl())}, which is open to changes on the way"
                )
            count = 0
            while part := answer.read(_PART):
                count += len(part)
                yield part
            expected = answer.headers.get("Content-Length")
            if expected is not None and count != int(expected):
                raise ModelError(f"{shown} broke off after {count:,} of {int(expected):,} bytes: try again")
    except HTTPError as error:
        raise ModelError(f"no {shown}: the server answers {error.code} {error.reason}: check the address") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = public_text(one_line(error), [url])
        raise ModelError(f"cannot download {shown}: {reason}: check the connection and the address") from None
