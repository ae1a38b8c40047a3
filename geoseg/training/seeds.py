"""Seeds of the parts of a run. In: several numbers. Out: one seed."""

from __future__ import annotations


def joint_seed(*numbers: int) -> int:
    """One seed for several numbers; close numbers give unrelated seeds."""
    state = 0
    for number in numbers:
        state = (state * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return state ^ (state >> 31)
