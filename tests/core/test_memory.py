"""Free memory goes back now and then."""

from __future__ import annotations

import pytest

from geoseg.core import memory as heap
from geoseg.core.memory import GIVE_BACK_PX, MemoryReturn, give_back_memory


def test_memory_goes_back_each_time_that_enough_pixels_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[None] = []
    monkeypatch.setattr(heap, "give_back_memory", lambda: given_back.append(None))
    memory, times = MemoryReturn(), []
    for _ in range(5):
        memory.passed(GIVE_BACK_PX // 2)
        times.append(len(given_back))
    assert times == [0, 1, 1, 2, 2]


def test_a_c_library_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_TRIM", None)
    give_back_memory()
