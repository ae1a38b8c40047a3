"""A server that stumbles: some of its answers to requests for a part of a file are errors, or incomplete.

It runs in a process of its own: GDAL looks for sidecar files while it holds the lock that a server in this one needs.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

FAULTS = ("429", "500", "503", "cut", "reset", "short")
"""Answers that a server gives in passing: a status, half of what it promised, none, half of what it was asked for."""


@dataclass(frozen=True)
class Server:
    """A server and where it is."""

    url: str

    def counts(self) -> dict[str, int]:
        """How many parts of files were asked for, and how many of these answers were faults."""
        with urlopen(f"{self.url}/counts") as answer:
            return json.load(answer)


@contextmanager
def stumbling_server(folder: Path, fault: str = "", every: int = 2) -> Iterator[Server]:
    """Serve a folder with range requests, of which every second, or third, ... meets a fault.

    A fault is a status, `cut` (half of what was promised), `short` (half of what was asked for), `reset`, or `stall`
    (half of it, then nothing for a minute).
    """
    arguments = [sys.executable, __file__, str(folder), fault, str(every)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder, fault, every = Path(), "", 2
    asked = failed = 0

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        if self.path == "/counts":
            self._send(200, json.dumps({"asked": _Handler.asked, "failed": _Handler.failed}).encode())
        elif not path.is_file():
            self._send(404)
        elif "Range" not in self.headers:
            self._send(200, path.read_bytes())
        else:
            self._send_part(path.read_bytes(), *self.headers["Range"].removeprefix("bytes=").split("-"))

    def _send_part(self, content: bytes, first: str, last: str) -> None:
        begin, end = int(first), min(int(last or len(content)), len(content) - 1)
        _Handler.asked += 1
        fails = bool(self.fault) and _Handler.asked % self.every == 0
        _Handler.failed += fails
        if begin > end:
            self._send(416)
        elif fails and self.fault.isdigit():
            self._send(int(self.fault))
        elif fails and self.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
        else:
            end = begin + (end - begin) // 2 if fails and self.fault == "short" else end
            is_half = fails and self.fault != "short"
            self._send(206, content[begin : end + 1], f"bytes {begin}-{end}/{len(content)}", is_half=is_half)

    def _send(self, status: int, body: bytes = b"", span: str = "", *, is_half: bool = False) -> None:
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if span:
            self.send_header("Content-Range", span)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if is_half else body)
        if is_half:
            self.wfile.flush()
            time.sleep(60 if self.fault == "stall" else 0)
            self.close_connection = True


if __name__ == "__main__":
    _Handler.folder, _Handler.fault, _Handler.every = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    service = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    service.daemon_threads = True
    print(service.server_port, flush=True)
    service.serve_forever()
