"""Text and JSON from a path or a URL."""

from __future__ import annotations

import json
import os
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from geoseg.errors import SceneError
from geoseg.files import one_line
from geoseg.scenes.paths import is_web
from geoseg.version import __version__

_TIMEOUT_S = 60
_HEADERS = {"User-Agent": f"geoseg/{__version__}", "Accept": "application/geo+json, application/json, text/plain, */*"}


def read_text(source: str) -> str:
    """Read a text file or what a URL answers.

    Raises:
        SceneError: if it cannot be read, or is no text.
    """
    try:
        return _fetch(source).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SceneError(f"{source} is no text in UTF-8: give a list of scenes, or STAC Items as JSON") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise SceneError(
            f"cannot read {source}: {reason}: check the {'address' if is_web(source) else 'path'}"
        ) from None


def _fetch(source: str) -> bytes:
    if not is_web(source):
        return Path(os.fspath(source)).read_bytes()
    with urlopen(Request(source, headers=_HEADERS), timeout=_TIMEOUT_S) as answer:
        content: bytes = answer.read()
    return content


def read_json(source: str) -> Any:
    """Read JSON from a file or a URL.

    Raises:
        SceneError: if it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{source} is not JSON: {one_line(error)}: give STAC Items, or a raster") from None
