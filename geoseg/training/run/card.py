"""What a bundle's card says of how its model came about: scores, the rule of the epoch, settings.

In: scores and settings of a run. Out: a card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.scores import Scores
from geoseg.spec import ModelCard, SplitSpec

NO_SCORES = "Trained on all labels, of which none were left for validation: nothing is measured of how well it does."
"""The sentence on a model's card in place of scores."""
NO_TEMPERATURE = "Its confidences are as the network gives them: no labels were left by which to correct them."
"""The sentence on a model's card where no temperature was fitted."""


@dataclass(frozen=True)
class KeptScores:
    """Scores of the model that a run keeps."""

    val: Scores
    """On the validation side, which chose the epoch; of no pixel if there is none."""
    test: Scores | None = None
    """On the test side, which chose nothing; None if there is none."""
    test_images: int = 0
    """Images of the test side."""
    test_polygons: int | None = None
    """Polygons of the test side; None where the split is not by polygons."""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    """How well its probabilities fit the labels of each side, by `val` and `test`."""


def epoch_rule(split: SplitSpec, best: int, epochs: int, swa_epochs: int = 0) -> str:
    """Which epoch is kept of those done, and why, in words."""
    if swa_epochs:
        return f"epoch {best} of {epochs}, the last: the mean of the weights at the end of each of {swa_epochs} epochs"
    if not split.validates:
        return f"epoch {best} of {epochs}, the last, as nothing was left for validation to choose one by"
    if split.keeps_last:
        return f"epoch {best} of {epochs}, the last, as choosing one by the scores of a fold would flatter them"
    return f"epoch {best} of {epochs}, that with the highest validation mIoU, of equal ones the last"


def card_with(card: ModelCard, kept: KeptScores, rule: str, training: dict[str, Any]) -> ModelCard:
    """The card of a trained model.

    Args:
        card: the texts of the config.
        kept: its scores.
        rule: which epoch is kept, and why.
        training: settings and provenance of the run.
    """
    found: dict[str, Any] = {"epoch_rule": rule, "training": training}
    if kept.val.pixels:
        found["scores"] = kept.val.as_dict()
    if kept.calibration:
        found["calibration"] = {side: one.as_dict() for side, one in kept.calibration.items()}
    if kept.test is not None:
        found["test_scores"] = kept.test.as_dict()
        outlined = {} if kept.test_polygons is None else {"test_polygons": kept.test_polygons}
        found["training"] = training | {"test_images": kept.test_images} | outlined
    if not kept.val.pixels:
        said = NO_TEMPERATURE if kept.test is not None else f"{NO_SCORES} {NO_TEMPERATURE}"
        found["limits"] = f"{card.limits} {said}".strip()
    return card.model_copy(update=found)
