"""A study of arms: what differs from run to run, each trained with several seeds, and kept as a JSON file.

In: names of arms, and what scores one. Out: results; a study that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .results import Results
from .training import Scored


class ArmStudy(ABC):
    """The runs of a study in a folder."""

    folder: Path
    """Gets the results, and the lists of tiles."""
    unknown_s: float = 120.0
    """Processor seconds of a run that was never measured."""

    @property
    @abstractmethod
    def arms(self) -> Mapping[str, Mapping[str, Any]]:
        """Settings of each arm by name."""

    @abstractmethod
    def scored(self, name: str, seed: int) -> Mapping[str, Any]:
        """What is kept of one run, as `result_of`.

        Raises:
            GeosegError: as what it calls.
        """

    @property
    def results(self) -> Results:
        """Scores by `arm_key`."""
        return Results(self.folder / "runs")

    def left(self, seeds: int, only: Collection[str] = ()) -> list[tuple[str, int]]:
        """Arm and seed of the runs that are not done, seed by seed; of arms in whose name one of some words is."""
        names = [name for name in self.arms if not only or any(word in name for word in only)]
        return [(name, seed) for seed in range(seeds) for name in names if arm_key(name, seed) not in self.results]

    def estimate(self, runs: Collection[tuple[str, int]]) -> float:
        """Processor seconds of some runs."""
        known = {self.results[key]["arm"]: self.results[key]["run_s"] for key in self.results}
        return sum(known.get(name, self.unknown_s) for name, _ in runs)

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """Do a run of an arm and keep its scores.

        Raises:
            GeosegError: as `scored`.
        """
        began = time.process_time()
        found = {"arm": name, "seed": seed, **self.scored(name, seed)}
        found["run_s"] = round(time.process_time() - began, 1)
        self.results.keep(arm_key(name, seed), found)
        return found


def result_of(scored: Scored) -> dict[str, Any]:
    """What is kept of a training run: its scores, its figures, and how long it took."""
    scores, lines = scored.last.scores, scored.metrics
    assert scores is not None
    return {
        **rounded(scores.miou, scores.iou),
        "figures": dict(scored.last.figures) | {"student_miou": lines[-1].get("student_miou")},
        "training_s": round(scored.training_s, 1),
    }


def rounded(miou: float, iou: Mapping[str, float | None]) -> dict[str, Any]:
    """Scores to four digits."""
    return {
        "miou": round(miou, 4),
        "iou": {of: None if value is None else round(value, 4) for of, value in iou.items()},
    }


def arm_key(name: str, seed: int) -> str:
    """Key of a run among the results."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return f"{'-'.join(words)}-{seed}"
