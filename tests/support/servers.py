"""Servers of a folder that answer requests for a part of a file, as object stores do."""

from __future__ import annotations

import multiprocessing
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Ranges(BaseHTTPRequestHandler):
    """Serves the files of a folder, whole or in parts."""

    def __init__(self, *arguments: Any, folder: Path):
        self.folder = folder
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or len(content) - 1)) if asked else (0, len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.end_headers()
        if has_body:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder from a thread; gives the address."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, folder=folder))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}"
    service.shutdown()


@contextmanager
def serving_apart(folder: Path) -> Iterator[str]:
    """Serve a folder from a process of its own: GDAL holds Python's lock while it asks about some virtual files."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, folder=folder))
    process = multiprocessing.get_context("fork").Process(target=service.serve_forever, daemon=True)
    process.start()
    yield f"http://127.0.0.1:{service.server_port}"
    process.kill()
    service.server_close()
