"""The table of the study: mean and range of the scores of each arm, and of its difference to another, seed by seed.

Bare land is also left out: whether a dry pasture is bare land is a matter of judgement in these masks, and varies from
seed to seed by more than all else.

In: the results of runs. Out: lines of Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from network_runs.results import Results

HEAD = (
    "| labels | method | seeds | mIoU | less its reference | the same without bare land | time of a step |\n"
    "|---|---|---|---|---|---|---|"
)

UNCERTAIN = "bare land"
"""The class of which two annotators would not say the same."""


@dataclass(frozen=True)
class Arm:
    """The runs of one arm by seed."""

    name: str
    """Name of the arm."""
    runs: Mapping[int, Mapping[str, Any]]
    """Results by seed."""

    @property
    def seconds(self) -> float:
        """Mean processor time of a run."""
        return mean(float(run["training_s"]) for run in self.runs.values())

    def miou(self, seed: int, *, without: str = "") -> float:
        """The score of a run, with or without a class."""
        return mean(value or 0.0 for name, value in self.runs[seed]["iou"].items() if name != without)


def collect(results: Results) -> dict[str, Arm]:
    """All runs that are done, by arm."""
    arms: dict[str, dict[int, Mapping[str, Any]]] = {}
    for key in results:
        found = results[key]
        arms.setdefault(found["arm"], {})[found["seed"]] = found
    return {name: Arm(name, runs) for name, runs in arms.items()}


def table(arms: Mapping[str, Mapping[str, Any]], results: Results) -> list[str]:
    """Lines of Markdown for the arms of the study that have runs, in their order."""
    done = collect(results)
    return [HEAD, *(_line(done[name], settings, done) for name, settings in arms.items() if name in done)]


def _line(arm: Arm, settings: Mapping[str, Any], done: Mapping[str, Arm]) -> str:
    labels, _, method = arm.name.partition(": ")
    against = done.get(settings.get("reference", ""))
    cells = [labels, method, str(len(arm.runs)), spread([arm.miou(seed) for seed in sorted(arm.runs)], sign="")]
    cells += ["", "", ""] if against is None else _compared(arm, against)
    return f"| {' | '.join(cells)} |"


def _compared(arm: Arm, against: Arm) -> list[str]:
    """Differences in the seeds that both have, and the time of one as a multiple of the other's."""
    seeds = sorted(arm.runs.keys() & against.runs.keys())
    differences = [
        spread([arm.miou(seed, without=left_out) - against.miou(seed, without=left_out) for seed in seeds], sign="+")
        for left_out in ("", UNCERTAIN)
    ]
    return [*differences, f"{arm.seconds / against.seconds:.1f}"]


def spread(values: list[float], sign: str) -> str:
    """Mean and range of values as text, with the sign "+" for differences."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:{sign}.3f}"
    return f"{mean(values):{sign}.3f} ({min(values):{sign}.3f} to {max(values):{sign}.3f})"
