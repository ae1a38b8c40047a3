"""Text and JSON from a path or a URL, within bounds of size and time."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from geoseg.core.errors import SceneError
from geoseg.core.files import one_line
from geoseg.core.redaction import public_form, public_text
from geoseg.core.regular_files import MOST_BYTES, read_bounded
from geoseg.core.version import __version__
from geoseg.scenes.paths import is_web

_TIMEOUT_S = 60
"""Longest silence of a server."""
_DEADLINE_S = 180
"""Longest time for a whole response."""
_HEADERS = {"User-Agent": f"geoseg/{__version__}", "Accept": "application/geo+json, application/json, text/plain, */*"}


def read_text(source: str) -> str:
    """Read a text file, or the response of a URL.

    Raises:
        SceneError: if it cannot be read, is not text, is too large, or takes too long.
    """
    shown = public_form(source)
    try:
        return (_fetch(source) if is_web(source) else read_bounded(source)).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SceneError(f"{shown} is no text in UTF-8: give a list of scenes, or STAC Items as JSON") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        remedy = f"check the {'address' if is_web(source) else 'path'}"
        raise SceneError(f"cannot read {shown}: {public_text(reason, [source])}: {remedy}") from None


def _fetch(source: str) -> bytes:
    """Response of a URL, awaited in a thread, as a server may send headers arbitrarily slowly.

    Raises:
        OSError, HTTPException, ValueError: if there is no response, or it is too slow or too large.
    """
    answers: list[bytes | Exception] = []

    def ask() -> None:
        try:
            answers.append(_ask(source))
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_DEADLINE_S)
    if not answers:
        raise TimeoutError(f"no whole answer within {_DEADLINE_S} s")
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _ask(source: str) -> bytes:
    end = time.monotonic() + _DEADLINE_S
    content = bytearray()
    with urlopen(_request(source), timeout=_TIMEOUT_S) as answer:
        if not is_web(answer.geturl()):
            raise ValueError("the server leads away from the web")
        while part := answer.read1(2**16):
            content += part
            if len(content) > MOST_BYTES:
                raise ValueError(f"the answer is larger than {MOST_BYTES / 2**20:,.0f} MiB")
            if time.monotonic() > end:
                raise TimeoutError(f"no whole answer within {_DEADLINE_S} s")
    return bytes(content)


def _request(source: str) -> Request:
    """A request; user and password of the URL are sent to its own host only."""
    parts = urlsplit(source)
    account, at, host = parts.netloc.rpartition("@")
    request = Request(parts._replace(netloc=host).geturl() if at else source, headers=_HEADERS)
    if at:
        code = base64.b64encode(unquote(account).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {code}")
    return request


def read_json(source: str) -> Any:
    """Read JSON from a file or a URL.

    Raises:
        SceneError: if it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise SceneError(
            f"{public_form(source)} is not JSON: {one_line(error)}: give STAC Items, or a raster"
        ) from None
