"""A server that answers as the Hugging Face Hub does, for one repository of small files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

COMMIT = "a" * 40


@dataclass
class Repository:
    """owner/name with one commit, main."""

    files: Mapping[str, bytes]
    is_damaged: bool = False
    """Whether contents arrive with another last byte."""
    asked: list[str] = field(default_factory=list)
    """Paths of requests."""


class Hub(BaseHTTPRequestHandler):
    repository: Repository

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        self.repository.asked.append(f"{self.command} {self.path}")
        if self.path.startswith("/api/models/owner/name/revision/"):
            siblings = [{"rfilename": name} for name in self.repository.files]
            self._send(json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode(), {}, has_body)
            return
        place = next((self.path.removeprefix(p) for p in PLACES if self.path.startswith(p)), None)
        if place is None:
            code = "RevisionNotFound" if self.path.startswith("/owner/name/") else "RepoNotFound"
            self._refuse(404, code)
        elif place not in self.repository.files:
            self._refuse(404, "EntryNotFound")
        else:
            content = self.repository.files[place]
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            sent = content[:-1] + bytes([content[-1] ^ 1]) if self.repository.is_damaged else content
            self._send(sent, headers, has_body)

    def _send(self, content: bytes, headers: Mapping[str, str], has_body: bool) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if has_body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


PLACES = "/owner/name/resolve/main/", f"/owner/name/resolve/{COMMIT}/"


def ask(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub be at another address, as HF_ENDPOINT does in a new process."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@contextmanager
def hub_of(files: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Serve files as the repository owner/name of the Hub that geoseg asks."""
    repository = Repository(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"repository": repository}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    try:
        yield repository
    finally:
        server.shutdown()
        server.server_close()
