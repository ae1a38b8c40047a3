"""Rounds of labelling: a model is trained, asks for windows, gets their labels, and is trained anew.

In: a pool of windows, and who asks. Out: the score after each round, a JSON file for each; a study that was stopped
goes on where it was. All arms of a seed begin with the same windows, and each round has the same number of steps.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from context_study.plan import merged
from network_runs.results import Results
from network_runs.training import Scored, Stopwatch

from geoseg import suggest, train
from geoseg.spec import TrainSpec, parse_spec

from .pool import Place, Pool

RANDOM = "random"
"""The arm whose windows are drawn at random."""
ARMS = (RANDOM, "entropy", "margin", "disagreement")
"""Who asks: nobody, or a measure of `geoseg suggest`."""
STEP, ROUNDS = 16, 5
"""Windows that a round adds, and rounds; the first one is the same for all arms."""
SETTINGS = {"name": "rounds", "windows_per_epoch": 1600}
UNKNOWN_S = 90.0
"""Processor seconds of a round that was never measured."""


@dataclass(frozen=True)
class Round:
    """A round of an arm."""

    arm: str
    """Who asks."""
    seed: int
    """Seed of the first windows, of the random ones, and of the training."""
    number: int
    """Which, from 0."""

    @property
    def key(self) -> str:
        """Key among the results; that of the first round is the same for all arms."""
        return f"{self.arm if self.number else 'first'}-{self.seed}-{self.number}"

    @property
    def before(self) -> Round:
        """The round before it."""
        return Round(self.arm, self.seed, self.number - 1)


@dataclass(frozen=True)
class Rounds:
    """The study in a folder."""

    folder: Path
    """Gets the results, the models, the labels that are revealed, and the places that were asked for."""
    pool: Pool
    """The windows."""
    base: Mapping[str, Any]
    """Settings of a run."""

    @property
    def results(self) -> Results:
        """Scores and windows by the key of a round."""
        return Results(self.folder / "rounds")

    def left(self, seeds: int, only: Sequence[str] = ()) -> list[Round]:
        """Rounds that are not done, in an order in which each has what it needs."""
        arms = [arm for arm in ARMS if not only or arm in only]
        rounds = [Round(arm, seed, n) for seed in range(seeds) for arm in arms for n in range(ROUNDS)]
        return [one for key, one in {one.key: one for one in rounds}.items() if key not in self.results]

    def estimate(self, rounds: Sequence[Round]) -> float:
        """Processor seconds of some rounds."""
        known = [self.results[key]["run_s"] for key in self.results]
        return len(rounds) * (mean(known) if known else UNKNOWN_S)

    def run(self, one: Round) -> dict[str, Any]:
        """Ask for windows, train, and keep the score.

        Raises:
            GeosegError: as `geoseg.train` and `geoseg.suggest`.
        """
        began = time.process_time()
        known = self._windows(one)
        listing = self.pool.reveal(known, self.folder / "labels" / one.key)
        scored = self._train(listing, one)
        scores = scored.last.scores
        assert scores is not None
        found = {
            "arm": one.arm if one.number else "first",
            "seed": one.seed,
            "round": one.number,
            "windows": len(known),
            "places": known,
            "miou": round(scores.miou, 4),
            "iou": {of: None if value is None else round(value, 4) for of, value in scores.iou.items()},
            "run_s": round(time.process_time() - began, 1),
        }
        self.results.keep(one.key, found)
        return found

    def _windows(self, one: Round) -> list[Place]:
        """The windows that are labelled in a round."""
        if not one.number:
            return self.pool.first(STEP, one.seed)
        known = [(image, i, j) for image, i, j in self.results[one.before.key]["places"]]
        if one.arm == RANDOM:
            return known + self.pool.more(STEP, known, one.seed)
        labels = sorted((self.folder / "labels" / one.before.key).glob("*.tif"))
        asked = suggest(
            [row["image"] for row in self.pool.tiles],
            self.folder / "asked" / f"{one.key}.gpkg",
            model=self._model(one.before),
            exclude=labels,
            count=STEP,
            side=self.pool.side,
            by=one.arm,
            device="cpu",
            overwrite=True,
        )
        return known + [(place.scene, place.row, place.column) for place in asked.places]

    def _train(self, listing: Path, one: Round) -> Scored:
        own = {"data": {"tiles": str(listing)}, "seed": one.seed}
        spec = parse_spec(TrainSpec, merged(self.base, own), source=one.key)
        output = self.folder / "running" / one.key
        shutil.rmtree(output, ignore_errors=True)
        try:
            train(spec, output, reporter=Stopwatch())
        except Scored as scored:
            self._model(one).parent.mkdir(exist_ok=True)
            shutil.move(output / f"{spec.name}.safetensors", self._model(one))
            return scored
        finally:
            shutil.rmtree(output, ignore_errors=True)
        raise AssertionError("a run ended without scores")

    def _model(self, one: Round) -> Path:
        return self.folder / "models" / f"{one.key}.safetensors"


def curve(results: Results, arm: str, seed: int) -> list[tuple[int, float]]:
    """Number of windows and mIoU after each round of an arm that is done."""
    keys = [Round(arm, seed, number).key for number in range(ROUNDS)]
    return [(results[key]["windows"], results[key]["miou"]) for key in keys if key in results]


def area_under(points: Sequence[tuple[int, float]]) -> float:
    """Area under a curve by trapezoids, over its width: the mean mIoU over numbers of windows."""
    total = sum((b - a) * (one + other) / 2 for (a, one), (b, other) in pairwise(points))
    return total / (points[-1][0] - points[0][0])


def table(results: Results) -> list[str]:
    """Lines of Markdown: mean mIoU after each round, area under the curve, and its difference to random windows."""
    counts = " | ".join(f"{STEP * (number + 1)} windows" for number in range(ROUNDS))
    head = f"| windows chosen by | seeds | {counts} | area under the curve | less random | range |"
    lines = [head, "|---" * (ROUNDS + 5) + "|"]
    seeds = sorted({results[key]["seed"] for key in results})
    for arm in ARMS:
        curves = {seed: found for seed in seeds if len(found := curve(results, arm, seed)) == ROUNDS}
        if not curves:
            continue
        areas = {seed: area_under(found) for seed, found in curves.items()}
        scores = " | ".join(f"{mean(found[n][1] for found in curves.values()):.3f}" for n in range(ROUNDS))
        against = [
            areas[seed] - area_under(found) for seed in areas if len(found := curve(results, RANDOM, seed)) == ROUNDS
        ]
        less = " | "
        if against and arm != RANDOM:
            less = f"{mean(against):+.3f} | {min(against):+.3f} to {max(against):+.3f}"
        lines.append(f"| {arm} | {len(curves)} | {scores} | {mean(areas.values()):.3f} | {less} |")
    return lines
