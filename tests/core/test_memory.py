"""Freed memory is kept for what comes next, and goes back once a process grows."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from geoseg.core import memory as heap
from geoseg.core.memory import (
    FIRST_LOOKS,
    GROWTH,
    LOOK_PX,
    MemoryReturn,
    give_back_memory,
    kept_memory,
    resident_bytes,
)

is_on_linux = pytest.mark.skipif(not resident_bytes(), reason="Linux alone says how large a process is")


def test_memory_goes_back_once_the_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    looks: list[int] = []
    usual = [50] * (FIRST_LOOKS - 1) + [100]
    sizes = [*usual, 100 * (1 + GROWTH), 101 * (1 + GROWTH), *usual, 99, 101 * (1 + GROWTH)]
    monkeypatch.setattr(heap, "resident_bytes", lambda: sizes[len(looks) // 2 - 1])
    monkeypatch.setattr(heap, "give_back_memory", lambda: given_back.append(len(looks) // 2))
    memory = MemoryReturn()
    while len(looks) < 2 * len(sizes):
        looks.append(1)
        memory.passed(LOOK_PX // 2)
    assert given_back == [FIRST_LOOKS + 2, len(sizes)]


def test_a_c_library_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_libc", lambda: None)
    with kept_memory():
        give_back_memory()


@is_on_linux
def test_a_process_holds_what_it_has_touched() -> None:
    before = resident_bytes()
    held = bytearray(b"x") * 2**26
    assert resident_bytes() - before > 2**25
    assert resident_bytes() <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 2**20
    del held


_TOUCHED = """
import resource
from contextlib import nullcontext
import numpy as np
from geoseg.core.memory import kept_memory, resident_bytes
def touch():
    np.ones(2**23)  # 64 MB
with kept_memory() if {keeps} else nullcontext():
    touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        touch()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident_bytes())
print(resident_bytes())
touch()
print(resident_bytes())
"""


@is_on_linux
@pytest.mark.parametrize("keeps", [True, False])
def test_kept_memory_is_not_fetched_again(keeps: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TOUCHED.format(keeps=keeps)], check=True, capture_output=True, text=True
    )
    faults, held, left, later = (int(number) for number in done.stdout.split())
    assert (faults < 20) == keeps
    assert (held - left > 2**25) == keeps
    assert later - left < 2**25


class _Old:
    """A C library that refuses large limits, as glibc did before 2.35."""

    def __init__(self, largest: int):
        self.largest, self.set = largest, dict[int, int]()

    def mallopt(self, parameter: int, value: int) -> int:
        if parameter == -3 and value > self.largest:
            return 0
        self.set[parameter] = value
        return 1

    def malloc_trim(self, _pad: int) -> int:
        return 1


@pytest.mark.parametrize(("largest", "limits"), [(2**25, {-3: 2**25, -1: 2**31 - 1}), (0, {})])
def test_limits_are_set_together_or_not_at_all(
    largest: int, limits: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    libc = _Old(largest)
    monkeypatch.setattr(heap, "_libc", lambda: libc)
    with kept_memory():
        assert libc.set == limits
    assert libc.set == {key: 2**26 if key == -1 else 2**25 for key in limits}
