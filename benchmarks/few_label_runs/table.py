"""The table of the study: mean and range of the scores of each arm, and of its difference to another, seed by seed.

In: the results of runs. Out: lines of Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from network_runs.results import Results

HEAD = (
    "| labels | method | seeds | mIoU | less its reference | time of a step, of the reference's | sure pixels |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Arm:
    """The runs of one arm by seed."""

    name: str
    """Name of the arm."""
    runs: Mapping[int, Mapping[str, Any]]
    """Results by seed."""

    def values(self, key: str, seeds: Iterator[int] | None = None) -> list[float]:
        """A value of each of some runs, in the order of the seeds."""
        return [float(self.runs[seed][key]) for seed in (sorted(self.runs) if seeds is None else seeds)]


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
    cells = [labels, method, str(len(arm.runs)), _spread(arm.values("miou"), sign="")]
    cells += ["", ""] if against is None else _compared(arm, against)
    sure = [run["figures"]["confident"] for run in arm.runs.values() if "confident" in run["figures"]]
    cells.append(f"{mean(sure):.0%}" if sure else "")
    return f"| {' | '.join(cells)} |"


def _compared(arm: Arm, against: Arm) -> list[str]:
    seeds = sorted(arm.runs.keys() & against.runs.keys())
    if not seeds:
        return ["", ""]
    both = zip(arm.values("miou", iter(seeds)), against.values("miou", iter(seeds)), strict=True)
    times = mean(arm.values("training_s")) / mean(against.values("training_s"))
    return [_spread([one - other for one, other in both], sign="+"), f"{times:.1f}"]


def _spread(values: list[float], sign: str) -> str:
    if len(values) == 1:
        return f"{values[0]:{sign}.3f}"
    return f"{mean(values):{sign}.3f} ({min(values):{sign}.3f} to {max(values):{sign}.3f})"
