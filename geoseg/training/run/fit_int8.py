"""Ranges of a trained network's values for 8-bit integers, and what integers do to its classes.

In: a model, the side that it learnt from, and the side that judges it. Out: the model with ranges, and with what they
change on windows of the latter. Convolutions that integers cost most go on with floats where all together cost much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.events import Reporter, Stage
from geoseg.inference.batches import read_padded
from geoseg.models.model import Model
from geoseg.models.quantization.network import find_ranges, gains_by_integers
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.models.quantization.sensitivity import most_sensitive
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.spec import IGNORE
from geoseg.spec.int8 import Int8Spec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.scoring.score_windows import scored_windows
from geoseg.training.scoring.scored_batch import ScoredBatch, stack_scored
from geoseg.training.scoring.scored_windows import ScoredWindows

MOST_LEARNT, MOST_COMPARED = 48, 96
"""Windows from which ranges are learnt, and of those that judge them, at most."""
FEW = 4
"""Those of the former on which it is found which convolutions integers cost most."""
LEAST_AGREEMENT = 0.99
"""Share of pixels of the former with the same class, below which some convolutions go on with floats."""


@dataclass(frozen=True)
class Sides:
    """The sides of a split."""

    train: SplitSide
    """What the model learnt from."""
    val: SplitSide
    """What judges it."""


def fit_int8(model: Model, sides: Sides, folder: Path, reporter: Reporter) -> Model:
    """The model with ranges for 8-bit integers; as it is on processors that lack these, if its network would not be
    faster, or if nothing is labelled.

    Args:
        model: the trained model.
        sides: its labelled rasters.
        folder: for scratch files.
        reporter: gets the progress of `integers` in windows.

    Raises:
        SceneError: if an image cannot be read.
    """
    network = model.module
    learnt = scored_windows(sides.train, model.spec, folder)
    judging = scored_windows(sides.val, model.spec, folder)
    if not (isinstance(network, SegmentationNetwork) and multiplies_integers() and len(learnt) and len(judging)):
        return model
    if not gains_by_integers(network):
        return model
    numbers = _spread(len(learnt), MOST_LEARNT)
    stage = Stage(reporter, "integers", len(numbers) + min(MOST_COMPARED, len(judging)))
    ranges = find_ranges(network, (_read(learnt, i) for i in numbers))
    if not all(bool(values.isfinite().all()) for values in ranges.values()):  # a network that is broken
        return model
    few = [_read(learnt, numbers[i]) for i in _spread(len(numbers), FEW)]
    floats = most_sensitive(network, ranges, few, LEAST_AGREEMENT)
    if floats:
        ranges = find_ranges(network, (_read(learnt, i) for i in numbers), floats)
    stage.advance(len(numbers))
    options = RunnerOptions(multiple=model.spec.network.multiple, ranges=ranges, floats=floats)
    pair = Runner(network, "cpu", "int8", options), Runner(network, "cpu", "auto", RunnerOptions())
    found = _compared(pair, judging, len(model.spec.classes), stage)
    known = found.spec(len(numbers), floats)
    return replace(model, ranges=ranges, spec=model.spec.model_copy(update={"int8": known})) if known else model


def _read(windows: ScoredWindows, number: int) -> Tensor:
    """Band values (1, C, H, W) of a window."""
    which, place = windows.places[number]
    image, _ = read_padded(windows.rasters[which], place.window, windows.fill)
    return torch.from_numpy(image)[None]


def _spread(count: int, most: int) -> list[int]:
    """Numbers of at most `most` of `count` windows, evenly spread."""
    few = min(count, most)
    return [(2 * i + 1) * count // (2 * few) for i in range(few)]


@dataclass
class _Counts:
    """Confusion of labels and classes (2, K, K), of integers and of floats, and pixels whose class is the same."""

    confusion: NDArray[np.int64]
    same: int = 0

    def spec(self, windows: int, floats: Sequence[str]) -> Int8Spec | None:
        """What integers change; None if no pixel was labelled."""
        pixels = int(self.confusion[0].sum())
        if not pixels:
            return None
        miou, miou_float = (_miou(one) for one in self.confusion)
        return Int8Spec(
            miou=miou, miou_float=miou_float, agreement=self.same / pixels, pixels=pixels, windows=windows,
            floats=tuple(floats),
        )  # fmt: skip


def _compared(runners: Sequence[Runner], windows: ScoredWindows, classes: int, stage: Stage) -> _Counts:
    """Count the labelled pixels of some windows."""
    found = _Counts(np.zeros((2, classes, classes), np.int64))
    windows.view.prepare(lambda: runners[1], 1)
    for batch in _batches(windows):
        labels = batch.labels.numpy()
        counted = (labels != IGNORE) & batch.counted.numpy() & (labels < classes)
        one, other = (_classes(windows.view.classify(runner, batch))[counted] for runner in runners)
        for number, predicted in enumerate((one, other)):
            pairs = labels[counted].astype(np.int64) * classes + predicted
            found.confusion[number] += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        found.same += int((one == other).sum())
        stage.advance(1)
    return found


def _batches(windows: ScoredWindows) -> Iterator[ScoredBatch]:
    for number in _spread(len(windows), MOST_COMPARED):
        yield stack_scored([windows[number]])


def _classes(logits: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = logits.argmax(dim=1).cpu().numpy()
    return found


def _miou(confusion: NDArray[np.int64]) -> float:
    """Mean IoU over the classes that occur, in labels or as predicted."""
    hits = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - hits
    return float((hits[either > 0] / either[either > 0]).mean())
