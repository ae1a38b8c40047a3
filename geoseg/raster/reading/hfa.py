"""Length of an Erdas Imagine file (.img) by its tables: GDAL reads compressed blocks beyond its end as zeros.

Layout: a header that leads to a tree of entries; those of type Edms_State list the blocks of a band, each with its
place in the file (Erdas Imagine .ige and .img file formats, as published by ERDAS).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = b"EHFA_HEADER_TAG"
_ENTRY = struct.Struct("<6I64s32s")
"""Next, previous, parent, child, data, bytes of data, name, type."""
_STATE = struct.Struct("<IIIHII")
"""Blocks, pixels of each, next object, compression, blocks listed, where."""
_BLOCK = struct.Struct("<HIIHH")
"""File, first byte, bytes, whether it is there, compression."""
_MOST_ENTRIES = 100_000


def listed_bytes(path: str) -> int:
    """Least length of a complete file in bytes; 0 if it is no such file.

    A table that lies beyond the file's end counts up to its own end.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[: len(_MAGIC)] != _MAGIC:
            return 0
        try:
            return max((_last_byte(content, place) for place in _states(content)), default=0)
        except struct.error:  # an entry beyond the end
            return len(content) + 1


def _states(content: mmap.mmap) -> Iterator[int]:
    """Offsets of the lists of blocks."""
    (header,) = struct.unpack_from("<I", content, len(_MAGIC) + 1)
    (root,) = struct.unpack_from("<I", content, header + 8)
    waiting, seen = [root], set[int]()
    while waiting and len(seen) < _MOST_ENTRIES:
        place = waiting.pop()
        if place and place not in seen:
            seen.add(place)
            following, _, _, child, data, _, _, kind = _ENTRY.unpack_from(content, place)
            waiting += [following, child]
            if kind.partition(b"\0")[0] == b"Edms_State":
                yield data


def _last_byte(content: mmap.mmap, place: int) -> int:
    """Offset of the end of the last block of a list."""
    *_, count, blocks = _STATE.unpack_from(content, place)
    end = int(blocks + count * _BLOCK.size)
    if end > len(content):
        return end
    listed = _BLOCK.iter_unpack(content[blocks:end])
    return max((int(first + size) for file, first, size, is_there, _ in listed if is_there and not file), default=end)
