"""Trains the arms of the study one by one, as `geoseg train` does, and keeps their scores.

In: arms.yaml, and the CSV of the tiles. Out: a JSON file for each run; a study that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_study.plan import merged
from network_runs.results import Results
from network_runs.training import Scored, train_scored

from geoseg.spec import TrainSpec, load_train_spec, load_yaml, parse_spec

from .tiles import label_some, weak_labels

SETTINGS = Path(__file__).with_name("arms.yaml")
WORDS = {"share", "marks", "reference", "unlabelled"}
"""Words of an arm that are no settings of a run."""
UNKNOWN_S = 120.0
"""Processor seconds of a run that was never measured."""


@dataclass(frozen=True)
class Study:
    """The runs of the study in a folder."""

    folder: Path
    """Gets the results and the lists of tiles."""
    tiles: Path
    """CSV of the labelled tiles."""
    arms: Mapping[str, Mapping[str, Any]]
    """Settings of each arm by name."""
    base: Mapping[str, Any]
    """Settings that all runs share."""

    @property
    def results(self) -> Results:
        """Scores by `run_key`."""
        return Results(self.folder / "runs")

    def left(self, seeds: int, only: Collection[str] = ()) -> list[tuple[str, int]]:
        """Arm and seed of the runs that are not done, seed by seed."""
        runs = [(name, seed) for seed in range(seeds) for name in self.arms if not only or name in only]
        return [run for run in runs if run_key(*run) not in self.results]

    def estimate(self, runs: Collection[tuple[str, int]]) -> float:
        """Processor seconds of some runs."""
        known = {self.results[key]["arm"]: self.results[key]["run_s"] for key in self.results}
        return sum(known.get(name, UNKNOWN_S) for name, _ in runs)

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """Train an arm and keep its scores; its bundle is removed.

        Raises:
            GeosegError: as `geoseg.train`.
        """
        began = time.process_time()
        scored = train_scored(self.spec(name, seed), self.folder / "running" / run_key(name, seed))
        found = {
            "arm": name,
            "seed": seed,
            **result_of(scored),
            "run_s": round(time.process_time() - began, 1),
        }
        self.results.keep(run_key(name, seed), found)
        return found

    def spec(self, name: str, seed: int) -> TrainSpec:
        """Settings of one run."""
        arm = self.arms[name]
        own = {key: value for key, value in arm.items() if key not in WORDS}
        data = merged(own.pop("data", {}), self._data(arm, seed))
        return parse_spec(TrainSpec, merged(self.base, own | {"data": data, "seed": seed}), source=name)

    def _data(self, arm: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Settings of the data of an arm: full masks of some tiles, or weak ones of all."""
        folder = self.folder / "tiles"
        if "marks" in arm:
            return {"tiles": str(weak_labels(self.tiles, arm["marks"], seed, folder))}
        part = label_some(self.tiles, arm["share"], seed, folder)
        unlabelled = {"unlabelled": list(part.unlabelled)} if arm.get("unlabelled", "method" in arm) else {}
        return {"tiles": str(part.listing), **unlabelled}


def result_of(scored: Scored) -> dict[str, Any]:
    """What is kept of a run: its scores, its figures, and how long it was trained."""
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


def base_settings(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings that the runs of a study share, given its YAML and the folder where that lies."""
    shared = load_train_spec(folder / table["config"]).model_dump(mode="json")
    return merged({key: value for key, value in shared.items() if key != "network"}, table["settings"])


def open_study(folder: Path, tiles: Path) -> Study:
    """The study of arms.yaml in a folder."""
    table = load_yaml(SETTINGS)
    return Study(folder, tiles, table["arms"], base_settings(table, SETTINGS.parent))


def run_key(name: str, seed: int) -> str:
    """Key of a run among the results."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return f"{'-'.join(words)}-{seed}"
