"""Numbers are told in words that fit them."""

from __future__ import annotations

import pytest

from geoseg.core.wording import number_of


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (12_345, "12,345 images")]
)
def test_one_thing_is_no_several(number: int, told: str) -> None:
    assert number_of(number, "image") == told
