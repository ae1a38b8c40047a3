"""Scores from one confusion matrix over all pixels. In: predicted and true class indexes. Out: a Scores record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from geoseg.spec import IGNORE


@dataclass(frozen=True)
class Scores:
    """How well predictions match labels; every figure from 0 to 1."""

    miou: float
    """Mean of the classes' IoU, over the classes that occur in labels or predictions."""
    pixel_accuracy: float
    """Share of the labelled pixels that got their class."""
    iou: dict[str, float | None]
    """Intersection over union per class name; None for a class in neither labels nor predictions."""
    f1: dict[str, float | None]
    """Harmonic mean of precision and recall per class name; None as above."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def confusion_matrix(classes: int) -> MulticlassConfusionMatrix:
    """Counter of pixels by true (rows) and predicted (columns) class index; feed it with `update(predicted, true)`."""
    return MulticlassConfusionMatrix(num_classes=classes, ignore_index=IGNORE, validate_args=False)


def scores_of(confusion: Tensor, names: Sequence[str]) -> Scores:
    """Compute the scores of a confusion matrix (K, K), rows true, columns predicted."""
    counts = confusion.double()
    hits, predicted, true = counts.diagonal(), counts.sum(dim=0), counts.sum(dim=1)
    iou = hits / (predicted + true - hits)
    f1 = 2 * hits / (predicted + true)
    return Scores(
        miou=float(iou.nanmean().nan_to_num()),
        pixel_accuracy=float((hits.sum() / counts.sum()).nan_to_num()),
        iou=_by_name(names, iou),
        f1=_by_name(names, f1),
    )


def _by_name(names: Sequence[str], values: Tensor) -> dict[str, float | None]:
    return {
        name: None if torch.isnan(value) else round(float(value), 4) for name, value in zip(names, values, strict=True)
    }
