"""The score of coarse labels themselves: what a model that learns them has to exceed.

In: the masks of the validation tiles. Out: the mIoU of the same masks with coarse pixels.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import rasterio
from few_labels_data import UNKNOWN, coarse


def coarse_miou(listing: Path, factor: int, classes: int) -> float:
    """Mean IoU, over all validation tiles together, of labels whose pixels are `factor` times as wide."""
    confusion = np.zeros((classes, classes), np.int64)
    with listing.open(newline="", encoding="utf-8") as file:
        masks = [listing.parent / row["label"] for row in csv.DictReader(file) if row["split"] == "val"]
    for path in masks:
        with rasterio.open(path) as source:
            labels = source.read(1)
        known = labels != UNKNOWN
        pairs = classes * labels[known].astype(np.int64) + coarse(labels, factor, classes)[known]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    right = np.diag(confusion)
    return float((right / (confusion.sum(axis=0) + confusion.sum(axis=1) - right)).mean())
