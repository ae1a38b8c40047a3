"""Arrow columns made of buffers: the same as Arrow itself makes."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from geoseg.vector.columns import numbers, texts, wkb

SQUARE = np.array([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)], float)
HOLE = np.array([(1, 1), (1, 2), (2, 2), (1, 1)], float)


@pytest.mark.parametrize("count", [0, 1, 8, 17])
@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float64()])
def test_numbers(count, kind):
    values = np.arange(count) * 3
    assert numbers(values, kind).equals(pa.array(values.astype(kind.to_pandas_dtype()), kind))
    missing = values % 2 == 1
    found = numbers(values, kind, missing)
    assert found.to_pylist() == [None if gone else value for value, gone in zip(values, missing, strict=True)]
    assert found.null_count == missing.sum()


def test_texts():
    names = {1: "Gewässer", 2: None, 7: "", 300: "wood"}
    ids = np.array([300, 1, 2, 1, 7, 2], np.int32)
    assert texts(ids, names.get).equals(pa.array(["wood", "Gewässer", None, "Gewässer", "", None], pa.string()))
    assert texts(ids[:0], names.get).equals(pa.array([], pa.string()))
    assert texts(ids[:1], names.get).null_count == 0


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("is_multi", [False, True])
def test_well_known_binary(is_reversed, is_multi):
    offsets = np.array([0, 5, 9, 14]), np.array([0, 2, 3]), np.array([0, 1, 2])
    found = wkb(np.concatenate([SQUARE, HOLE, SQUARE + 8]), offsets, is_multi=is_multi, is_reversed=is_reversed)
    step = -1 if is_reversed else 1
    expected = [shapely.Polygon(SQUARE[::step], [HOLE[::step]]), shapely.Polygon((SQUARE + 8)[::step])]
    expected = [shapely.MultiPolygon([polygon]) for polygon in expected] if is_multi else expected
    assert found.to_pylist() == shapely.to_wkb(expected, byte_order=1).tolist()
