"""The table of the study: mean and range of the scores of each way in each direction, and of its gain, seed by seed.

In: the results of runs. Out: lines of Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from few_label_runs.table import Arm, collect, spread
from network_runs.results import Results

HEAD = "| direction | way | seeds | mIoU | less its reference | time of a step |\n|---|---|---|---|---|---|"


def table(arms: Mapping[str, Mapping[str, Any]], results: Results) -> list[str]:
    """Lines of Markdown for the arms of the study that have runs, in their order."""
    done = collect(results)
    return [HEAD, *(_line(done[name], settings, done) for name, settings in arms.items() if name in done)]


def _line(arm: Arm, settings: Mapping[str, Any], done: Mapping[str, Arm]) -> str:
    direction, _, way = arm.name.partition(": ")
    against = done.get(settings["reference"])
    cells = [direction, way, str(len(arm.runs)), spread([arm.miou(seed) for seed in sorted(arm.runs)], sign="")]
    return f"| {' | '.join([*cells, *(['', ''] if against is None else _compared(arm, against))])} |"


def _compared(arm: Arm, against: Arm) -> list[str]:
    """Gains in the seeds that both have, and the time of one as a multiple of the other's; "" where none is trained."""
    seeds = sorted(arm.runs.keys() & against.runs.keys())
    gains = spread([arm.miou(seed) - against.miou(seed) for seed in seeds], sign="+")
    return [gains, f"{arm.seconds / against.seconds:.1f}" if arm.seconds else ""]
