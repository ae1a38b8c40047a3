"""One minus the Tversky overlap (Salehi et al. 2017)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.overlap import missing_overlap


class Tversky(Loss):
    """One minus the Tversky overlap, averaged over the classes in the labels with equal weights."""

    alpha: float = Field(default=0.3, ge=0)
    """Cost of a pixel wrongly given to a class."""
    beta: float = Field(default=0.7, ge=0)
    """Cost of a pixel that a class misses."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.alpha == self.beta == 0:
            raise ValueError("alpha and beta are both 0: raise one of them")
        return self

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        return missing_overlap(logs, labels, self.alpha, self.beta)
