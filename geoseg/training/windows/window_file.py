"""A file of training windows: tensors whose first dimension counts the windows, in the safetensors format.

Written batch by batch, so that memory holds one batch, and read memory-mapped. A file that has its final name is
complete.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geoseg.core.errors import OutputError
from geoseg.core.files import draft_of, reserve, sync_names

Parts = Mapping[str, Tensor]
"""Tensors of some windows, by name; the first dimension of each counts the windows."""
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""Names of types in the header of the format."""


def read_windows(path: Path) -> Parts | None:
    """Map the windows of a file into memory; None if there is none, or it is damaged."""
    with suppress(OSError, SafetensorError):
        return load_file(path)
    return None


def write_windows(path: Path, count: int, batches: Iterable[Parts]) -> None:
    """Write `count` windows, which come in batches of equal types and shapes.

    Raises:
        OutputError: if there is no room for them, which is found before the second batch, or they cannot be written.
    """
    rest = iter(batches)
    first = next(rest)
    header, starts, size = _laid_out(first, count)
    _check_room(path.parent, size)
    with draft_of(path) as draft, draft.open("wb") as file:
        reserve(file.fileno(), size)
        file.write(header)
        done = 0
        for batch in chain([first], rest):
            for name, tensor in batch.items():
                values = tensor.contiguous().view(torch.uint8).numpy()
                file.seek(starts[name] + done * (values.nbytes // len(tensor)))
                file.write(values.data)
            done += len(next(iter(batch.values())))
    sync_names(path.parent)


def _laid_out(parts: Parts, count: int) -> tuple[bytes, dict[str, int], int]:
    """The header of a file of windows like these, where each tensor starts in it, and its size in bytes."""
    entries, end = {}, 0
    for name, tensor in parts.items():
        shape = [count, *tensor.shape[1:]]
        start, end = end, end + math.prod(shape) * tensor.element_size()
        entries[name] = {"dtype": _TYPES[tensor.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned in memory
    header = len(text).to_bytes(8, "little") + text
    starts = {name: len(header) + int(entry["data_offsets"][0]) for name, entry in entries.items()}
    return header, starts, len(header) + end


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OutputError(
            f"the cached windows take {size / 1e9:,.1f} GB, and {folder} has {free / 1e9:,.1f} GB free: lower "
            "cache.windows, or set cache.folder to one on a larger disk"
        )
