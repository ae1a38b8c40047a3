"""Validation rasters, scored in the windows in which a model sees a scene.

In: a model and labelled rasters. Out: the windows, and their scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.inference.logits import are_numbers, check_numbers
from geoseg.inference.views.coarse_classes import refine
from geoseg.inference.views.coarse_to_fine import CoarseToFine
from geoseg.inference.windows import make_grid
from geoseg.metrics.scores import Scores
from geoseg.metrics.scoring import Comparison, score
from geoseg.models.runner import Runner
from geoseg.models.segmentation import Context
from geoseg.raster.pyramid import ContextPyramid
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.training.loader import Loader
from geoseg.training.scored_windows import ScoredBatch, ScoredWindows, stack_scored
from geoseg.training.sides import Side


class Predict(Protocol):
    """Whatever classifies scored windows."""

    def __call__(self, batch: ScoredBatch, /) -> Tensor:
        """Windows and what is seen around them -> probabilities or logits (B, K, T, T)."""
        ...


def scored_windows(side: Side, model: ModelSpec, folder: Path | None = None) -> ScoredWindows:
    """Lay a model's windows over rasters to be scored; scratch files of the context go into a folder."""
    grids = [make_grid(raster.height, raster.width, model) for raster in side.rasters]
    levels = model.branch.levels
    pyramids = [ContextPyramid(raster, levels, folder=folder) for raster in side.rasters if levels]
    return ScoredWindows(side.rasters, side.cells, grids, model.normalization.mean, pyramids)


def tell_scored(
    windows: ScoredWindows,
    runner: Runner,
    model: ModelSpec,
    batch_px: int,
    folder: Path,
    fraction: float = 1.0,
) -> None:
    """Classify coarser views of the rasters first, if the model refines them.

    Args:
        windows: what is scored.
        runner: the network.
        model: what it is.
        batch_px: pixels of coarser views that are forwarded at once.
        folder: gets scratch files.
        fraction: share of the scored windows in which it looks again.
    """
    if model.refine is None:
        return
    coarse_to_fine = CoarseToFine(runner, model, batch_px, ClassifySpec(refine_fraction=fraction))
    windows.coarse = []  # what was told before goes first
    told = [coarse_to_fine.classify_levels(pyramid, folder) for pyramid in windows.pyramids]
    places = [[place for of, place in windows.places if of == which] for which in range(len(told))]
    windows.coarse = coarse_to_fine.choose_windows(told, 0, windows.grids, places)


def predict_scored(runner: Runner, batch: ScoredBatch) -> Tensor:
    """Classify scored windows as logits (B, K, T, T)."""
    image = batch.image.numpy()
    if not isinstance(batch.context, Context):
        return runner(image, batch.context)
    assert batch.weights is not None  # they come with what a coarser view told
    return refine(runner, image, batch.context.to(runner.device), batch.weights.numpy())


def load_scored(windows: ScoredWindows, pixels: int) -> Loader:
    """Batches of scored windows with about as many pixels each."""
    largest = max((place.window.pixels for _, place in windows.places), default=1)
    return Loader(windows, windows.batches(max(1, pixels // largest)), stack_scored)


def score_windows(
    predict: Predict,
    loader: Loader,
    names: Sequence[str],
    boundary_px: int | None,
    reporter: Reporter = SILENT,
) -> Scores:
    """Score all windows with a network."""

    def compared() -> Iterator[Comparison]:
        scoring = Stage(reporter, "scoring", len(loader))
        for batch in loader:
            logits = predict(batch)
            check_numbers(are_numbers(logits))
            yield Comparison(logits.max(dim=1).indices.cpu(), batch.labels, batch.counted)
            scoring.advance(1)

    return score(compared(), names, boundary_px)
