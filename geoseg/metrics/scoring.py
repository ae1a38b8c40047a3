"""Scores of predicted against true windows: the common path of the evaluation of rasters and of networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.scores import Scores


class Comparison(NamedTuple):
    """Windows (B, H, W) of class indexes, predicted and true, integers of any width."""

    predicted: Tensor
    """Predicted indexes."""
    true: Tensor
    """Labelled indexes; `IGNORE` where there is no label, or nothing to compare it with."""
    counted: Tensor
    """Bool; pixels that are False are only neighbours of others, for their boundaries."""


def score(comparisons: Iterable[Comparison], names: Sequence[str], boundary_px: int | None) -> Scores:
    """Score windows, holding one comparison at a time.

    Args:
        comparisons: windows that together have each pixel once as `counted`.
        names: of the classes, in the order of their indexes.
        boundary_px: width of the boundaries that are compared, in pixels; None compares none.
    """
    counter = ScoreCounter(len(names), boundary_px)
    for comparison in comparisons:
        counter.update(*comparison)
    return counter.scores(names)
