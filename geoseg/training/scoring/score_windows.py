"""Scores of a model on labelled rasters, in the windows of a prediction.

In: a model and labelled rasters. Out: the windows, their batches, and their scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.inference.logits import are_numbers, check_numbers
from geoseg.inference.windows import make_grid
from geoseg.metrics.scores import Scores
from geoseg.metrics.scoring import Comparison, score
from geoseg.spec import ModelSpec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.loader import Loader
from geoseg.training.scoring.scored_batch import ScoredBatch, stack_scored
from geoseg.training.scoring.scored_windows import ScoredWindows


class Predict(Protocol):
    """A function that classifies scored windows."""

    def __call__(self, batch: ScoredBatch, /) -> Tensor:
        """Windows and the views of their surroundings -> logits or log probabilities (B, K, T, T)."""
        ...


def scored_windows(side: SplitSide, model: ModelSpec, folder: Path | None = None) -> ScoredWindows:
    """Lay the grid of a model's windows over rasters; scratch files of views go into a folder."""
    grids = [make_grid(raster.height, raster.width, model) for raster in side.rasters]
    return ScoredWindows(side.rasters, side.cells, grids, model, folder)


def load_scored(windows: ScoredWindows, pixels: int, *, in_order: bool = False) -> Loader:
    """Batches of scored windows with about `pixels` pixels each; if they are blended, in the order of their grids."""
    largest = max((place.window.pixels for _, place in windows.places), default=1)
    make = windows.batches_in_order if in_order else windows.batches
    return Loader(windows, make(max(1, pixels // largest)), stack_scored)


def score_windows(
    predict: Predict,
    loader: Loader,
    names: Sequence[str],
    boundary_px: int | None,
    reporter: Reporter = SILENT,
) -> Scores:
    """Classify all windows, and score them; `boundary_px` None leaves boundary scores out."""

    def compared() -> Iterator[Comparison]:
        scoring = Stage(reporter, "scoring", len(loader))
        for batch in loader:
            logits = predict(batch)
            check_numbers(are_numbers(logits))
            yield Comparison(logits.max(dim=1).indices.cpu(), batch.labels, batch.counted)
            scoring.advance(1)

    return score(compared(), names, boundary_px)
