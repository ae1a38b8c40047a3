"""Confident learning: which labels are likely to be wrong, given probabilities of a model that did not learn them.

In: probabilities and labels of pixels, some at a time. Out: thresholds, and the class for which a label is doubted.

Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70. With p_j(x) the
probability of class j at pixel x, and X_i the pixels labelled i:

- the threshold of class j is its mean self-confidence, t_j = mean of p_j(x) over x in X_j. So a class that a model is
  sure of must be predicted with certainty, and one that it never is sure of need not be;
- a pixel x in X_i counts in the *confident joint* as of class c(x), the class with the highest p_j(x) among those with
  p_j(x) >= t_j; as of none where no class reaches its threshold;
- the pixels off the diagonal of the joint, c(x) != i, are those whose labels are doubted. As in the authors' own
  implementation, a label that has itself the higher probability is not: p_c(x) > p_i(x) is asked for, too.

The *margin* of a doubted pixel is m(x) = p_c(x) - p_i(x), from 0 to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.spec import IGNORE

Probabilities = NDArray[np.float32]
"""(K, N) or (K, h, w)."""


class SelfConfidence:
    """Mean probability of the labelled class, class by class."""

    def __init__(self, classes: int):
        self._sums, self._pixels = np.zeros(classes), np.zeros(classes, np.int64)

    def update(self, probabilities: Probabilities, labels: NDArray[np.uint8]) -> None:
        """Count pixels with their probabilities (K, N) and labels (N,), none of them IGNORE."""
        own = np.take_along_axis(probabilities, labels[None].astype(np.intp), axis=0)[0]
        self._sums += np.bincount(labels, weights=own, minlength=len(self._sums))
        self._pixels += np.bincount(labels, minlength=len(self._sums))

    def thresholds(self) -> NDArray[np.float64]:
        """The threshold of each class (K,); that of a class that no pixel is labelled as is the mean of the others'."""
        with np.errstate(invalid="ignore"):
            found = self._sums / self._pixels
        is_known = self._pixels > 0
        rest = found[is_known].mean() if is_known.any() else 1.0
        return np.where(is_known, found, rest)


def doubted_as(
    probabilities: Probabilities, labels: NDArray[np.uint8], thresholds: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The class c(x) for which the label of each pixel is doubted; IGNORE where it is not.

    Args:
        probabilities: (K, h, w).
        labels: class indexes (h, w), IGNORE where a pixel is not labelled.
        thresholds: of each class (K,).

    Returns:
        Class indexes (h, w).
    """
    given = np.where(labels == IGNORE, 0, labels).astype(np.intp)
    reached = np.where(probabilities >= thresholds[:, None, None].astype(np.float32), probabilities, -1)
    likely, highest = reached.argmax(axis=0), reached.max(axis=0)
    of_label = np.take_along_axis(probabilities, given[None], axis=0)[0]
    return np.where((highest > of_label) & (labels != IGNORE), likely, IGNORE).astype(np.uint8)
