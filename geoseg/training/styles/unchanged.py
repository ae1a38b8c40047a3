"""No transfer of style."""

from __future__ import annotations

from torch import Generator

from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import TrainSpec
from geoseg.training.styles.style import Style, Styled, StyleSettings


class Unchanged(Style):
    """Leaves the windows as they are."""

    @classmethod
    def check(cls, spec: TrainSpec, settings: StyleSettings) -> None:
        """Take any run."""

    def forward(self, labelled: LabelledWindows, target: LabelledWindows, generator: Generator) -> Styled:
        """Return the same windows."""
        return Styled(labelled.image)
