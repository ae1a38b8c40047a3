"""What a bundle's card says of how its model came about: scores, the rule of the epoch, settings.

In: scores and settings of a run. Out: a card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geoseg.metrics.scores import Scores
from geoseg.spec import ModelCard, SplitSpec

NO_SCORES = "Trained on all labels, of which none were left for validation: nothing is measured of how well it does."
"""The sentence on a model's card in place of scores."""


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


def epoch_rule(split: SplitSpec, best: int, epochs: int) -> str:
    """Which epoch is kept of those done, and why, in words."""
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
    if kept.test is not None:
        found["test_scores"] = kept.test.as_dict()
        outlined = {} if kept.test_polygons is None else {"test_polygons": kept.test_polygons}
        found["training"] = training | {"test_images": kept.test_images} | outlined
    if not kept.val.pixels and kept.test is None:
        found["limits"] = f"{card.limits} {NO_SCORES}".strip()
    return card.model_copy(update=found)
