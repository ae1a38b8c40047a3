"""Columns of polygons as Arrow arrays: numbers, texts, geometry as well-known binary.

In: NumPy arrays. Out: Arrow arrays. They are made of their buffers, since `pyarrow.array` imports pandas where that is
installed, which takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.regions import Offsets

POLYGON, MULTIPOLYGON = 3, 6
"""Geometry types as WKB numbers them."""


def numbers(values: NDArray[Any], kind: pa.DataType, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers (N,) as an array of a type, null where they are missing (N,)."""
    held = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(held), [_validity(missing), pa.py_buffer(held)])


def texts(class_id: NDArray[np.integer[Any]], text_of: Callable[[int], str | None]) -> pa.Array:
    """A text for each class id (N,), null where there is none."""
    values, which = np.unique(class_id, return_inverse=True)
    found = [text_of(k) for k in values.tolist()]
    encoded = [(text or "").encode() for text in found]
    sizes = np.array([len(text) for text in encoded], np.int64)[which]
    buffers = [
        _validity(np.array([text is None for text in found], bool)[which]),
        pa.py_buffer(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)),
        pa.py_buffer(b"".join([encoded[k] for k in which.tolist()])),
    ]
    return pa.Array.from_buffers(pa.string(), len(class_id), buffers)


def _validity(missing: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's bitmap of the values that are there; None if all are."""
    if missing is None or not missing.any():
        return None
    return pa.py_buffer(np.packbits(~missing, bitorder="little"))


def wkb(
    xy: NDArray[np.float64],
    offsets: tuple[Offsets, Offsets, Offsets],
    *,
    is_multi: bool = False,
    is_reversed: bool = False,
) -> pa.Array:
    """Geometry (F,) as well-known binary.

    Args:
        xy: vertices of all rings, one after another (V, 2).
        offsets: where rings begin among the vertices, polygons among the rings, features among the polygons.
        is_multi: whether features are multipolygons.
        is_reversed: whether rings are written from their last vertex to their first.
    """
    rings, parts, features = offsets
    in_feature = parts[features]
    sizes = 9 * is_multi + np.diff(9 * features + 4 * in_feature + 16 * rings[in_feature])
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    text = np.empty(int(ends[-1]), np.uint8)
    vertices = np.ascontiguousarray(xy, "<f8").view(np.uint8).reshape(-1, 16)
    _write_wkb(vertices, offsets, is_multi, is_reversed, text)
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.binary(), len(features) - 1, buffers)


@compiled
def _write_wkb(
    xy: NDArray[np.uint8],
    offsets: tuple[Offsets, Offsets, Offsets],
    is_multi: bool,
    is_reversed: bool,
    text: NDArray[np.uint8],
) -> None:
    """Write all geometries one after another; vertices come as 16 bytes each (V, 16)."""
    rings, parts, features = offsets
    at = 0
    for feature in range(len(features) - 1):
        if is_multi:
            at = _write_head(text, at, MULTIPOLYGON, features[feature + 1] - features[feature])
        for part in range(features[feature], features[feature + 1]):
            at = _write_head(text, at, POLYGON, parts[part + 1] - parts[part])
            for ring in range(parts[part], parts[part + 1]):
                low, high = rings[ring], rings[ring + 1]
                at = _write_number(text, at, high - low)
                for k in range(high - low):
                    vertex = high - 1 - k if is_reversed else low + k
                    for byte in range(16):  # one by one, which the compiler makes one move of
                        text[at + byte] = xy[vertex, byte]
                    at += 16


@compiled
def _write_head(text: NDArray[np.uint8], at: int, kind: int, count: int) -> int:
    """Byte order, geometry type and number of parts; return where to go on."""
    text[at] = 1  # little-endian
    return int(_write_number(text, _write_number(text, at + 1, kind), count))


@compiled
def _write_number(text: NDArray[np.uint8], at: int, number: int) -> int:
    for byte in range(4):
        text[at + byte] = (number >> (8 * byte)) & 0xFF
    return at + 4
