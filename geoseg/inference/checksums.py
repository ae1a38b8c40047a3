"""Seals of finished files: their lengths and checksums, in a small file that is written last, atomically.

In: files that were just written. Out: a seal beside them; later, whether they are still what they were. A power cut may
leave any file short, empty, or full of zeros, whatever its name: only what has a seal and agrees with it is finished.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from geoseg.core.files import sync, sync_names

SEAL_END = ".seal"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Seal:
    """Lengths and checksums of finished files when they were sealed."""

    of: str
    """Key of the work to which they belong."""
    files: Mapping[str, tuple[int, int]]
    """Length in bytes and CRC-32 of each, by name."""

    def holds(self, file: Path) -> bool:
        """Whether a sealed file is unchanged; False for one without a seal, and for anything but a regular file."""
        try:
            return not file.is_symlink() and self.files.get(file.name) == _measure(file)
        except OSError:
            return False


def write_seal(path: Path, of: str, files: Iterable[Path]) -> None:
    """Sync finished files to the disk, then write their seal.

    Raises:
        OSError: if the seal cannot be written, or a file is missing.
    """
    measures = {}
    for file in files:
        sync(file)
        measures[file.name] = _measure(file)
    write_checked(path, {"of": of, "files": measures})


def read_seal(path: Path, of: str) -> Seal | None:
    """Read the seal of a part of some work; None if it is missing, damaged, or of other work."""
    content = read_checked(path)
    if content is None or content.get("of") != of:
        return None
    return Seal(of, {name: (length, checksum) for name, (length, checksum) in content["files"].items()})


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its own checksum, atomically.

    Raises:
        OSError: if it cannot be written.
    """
    text = json.dumps(content)
    partial = path.with_name(f"{path.name}.{uuid4().hex[:8]}.partial")
    partial.write_text(json.dumps({"crc32": zlib.crc32(text.encode()), "content": text}), "utf-8")
    sync(partial)
    os.replace(partial, path)
    sync_names(path.parent)


def read_checked(path: Path) -> dict[str, Any] | None:
    """Read what `write_checked` wrote; None if it is missing or damaged."""
    try:
        outer = json.loads(path.read_bytes())
        if zlib.crc32(outer["content"].encode()) != outer["crc32"]:
            return None
        content: dict[str, Any] = json.loads(outer["content"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return content


def _measure(file: Path) -> tuple[int, int]:
    length, checksum = 0, 0
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            length, checksum = length + len(chunk), zlib.crc32(chunk, checksum)
    return length, checksum
