"""Trains the networks of the plan one by one, as `geoseg train` does, and keeps their scores."""

from __future__ import annotations

import csv
import gc
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import train
from geoseg.core.errors import GeosegError
from geoseg.core.events import Progress, Reporter
from geoseg.models.families.building import build_body
from geoseg.models.meta_network import meta_device
from geoseg.spec import TrainSpec
from geoseg.training.run.progress import TrainProgress

from .plan import Plan
from .results import run_key, trained

UNKNOWN_S = 60.0
"""Processor seconds of a run that was never measured."""


class Scored(Exception):
    """The last epoch of a run is scored: what follows, a calibration and a report, would take as long again."""

    def __init__(self, last: TrainProgress, training_s: float):
        super().__init__()
        self.last, self.training_s = last, training_s
        self.metrics: list[dict[str, str]] = []
        """The lines of metrics.csv."""


class Stopwatch(Reporter):
    """Takes the processor time from the end of the first step to that of the last, and ends the run once it is scored.

    The first step counts as one like the others: it also makes what later ones use again.

    Args:
        ends: whether the run ends there; else it goes on, and `scored` holds the same.
    """

    def __init__(self, *, ends: bool = True) -> None:
        self._began, self._seconds, self._ends = 0.0, 0.0, ends
        self.scored: Scored | None = None

    def progress(self, progress: Progress) -> None:
        """Take the time of a step.

        Raises:
            Scored: after the last epoch.
        """
        if progress.stage == "training" and progress.done == 1:
            self._began = time.process_time()
        elif progress.stage == "training":
            share = (progress.done - 1) / progress.total
            self._seconds = (time.process_time() - self._began) / share
        elif isinstance(progress, TrainProgress) and progress.scores and progress.epoch == progress.epochs:
            self.scored = Scored(progress, self._seconds)
            if self._ends:
                raise self.scored


@dataclass(frozen=True)
class Training:
    """The training of a plan's networks in a folder."""

    plan: Plan
    """What is trained."""
    folder: Path
    """Gets the results."""
    tiles: Path
    """List of the labelled images."""

    def left(self, seeds: int, only: Collection[str] = ()) -> list[tuple[str, int]]:
        """Architecture and seed of the runs that are not done."""
        done = trained(self.folder)
        return [run for run in self.plan.runs(seeds, only) if run_key(*run) not in done]

    def estimate(self, runs: Collection[tuple[str, int]], measured: Mapping[str, float]) -> float:
        """Processor seconds of some runs, given those of a run of networks that were measured before."""
        done = trained(self.folder)
        known = dict(measured) | {key.rpartition("-")[0]: done[key]["run_s"] for key in done}
        return sum(known.get(name, UNKNOWN_S) for name, _ in runs)

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """Train a network and keep its scores; its bundle is removed.

        Raises:
            GeosegError: as `geoseg.train`.
        """
        spec, began = self.plan.spec(name, seed, self.tiles), time.process_time()
        scored = train_scored(spec, self.folder / "running" / run_key(name, seed))
        scores = scored.last.scores
        assert scores is not None
        found = {
            "network": name,
            "encoder": spec.network.encoder,
            "seed": seed,
            "miou": round(scores.miou, 4),
            "iou": {of: None if value is None else round(value, 4) for of, value in scores.iou.items()},
            "loss": round(scored.last.loss, 4),
            "val_loss": scored.last.val_loss,
            "parameters": _parameters(spec),
            "training_s": round(scored.training_s, 1),
            "run_s": round(time.process_time() - began, 1),
        }
        trained(self.folder).keep(run_key(name, seed), found)
        return found


def run_all(
    runs: Sequence[tuple[str, int]], run: Callable[[str, int], Mapping[str, Any]], say: Callable[[str], None]
) -> bool:
    """Do runs, given the name and the seed of each, and say what each gave, or why it failed; whether all were done."""
    done = True
    for name, seed in runs:
        try:
            found = run(name, seed)
        except GeosegError as error:
            done = False
            say(f"{name} seed {seed}: {error}")
        else:
            seconds = f"{found['training_s']:6.1f} s of {found['run_s']:.1f}"
            say(f"{name:<32} seed {seed}  mIoU {found['miou']:.3f}  {seconds}")
    return done


def train_scored(spec: TrainSpec, output: Path) -> Scored:
    """Train a model until its last epoch is scored, and remove its folder.

    Raises:
        GeosegError: as `geoseg.train`.
    """
    shutil.rmtree(output, ignore_errors=True)
    try:
        train(spec, output, reporter=Stopwatch())
    except Scored as scored:
        scored.metrics.extend(read_metrics(output))
        return scored
    finally:
        shutil.rmtree(output, ignore_errors=True)
        gc.collect()
    raise AssertionError("a run ended without scores")


def read_metrics(output: Path) -> list[dict[str, str]]:
    """The lines of metrics.csv in the folder of a run."""
    with (output / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _parameters(spec: TrainSpec) -> int:
    with meta_device():
        body = build_body(spec.network, len(spec.data.bands), len(spec.classes))
    return sum(weights.numel() for weights in body.parameters())
