"""The temperature of a model that no training run has fitted, e.g. of a soup.

In: a model, and a training config whose validation side is labelled. Out: the model with the temperature that fits it.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from geoseg.commands.judges import one_judge
from geoseg.core.events import Reporter
from geoseg.core.files import workspace
from geoseg.models.model import Model
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import EvaluateSpec, ScoringSpec, TrainSpec
from geoseg.training.scoring.side_scores import fit_temperature, lay_side


def with_fitted_temperature(model: Model, settings: TrainSpec, device: str, reporter: Reporter) -> Model:
    """The model with the temperature of least log loss on the validation side of a config.

    Args:
        model: the model.
        settings: the config.
        device: where it runs: auto, cpu, cuda, cuda:1 or mps.
        reporter: gets the progress of reading and scoring.

    Raises:
        ModelError: if the model does not fit the config's bands or classes.
        LabelError: if labels cannot be used, or there are none.
        SceneError: if an image cannot be read.
    """
    wanted = EvaluateSpec(scoring=ScoringSpec(device=device))
    with gdal_settings(), workspace(Path(tempfile.gettempdir()) / "geoseg-evaluate") as scratch:
        judge = one_judge(model, settings, None, wanted, reporter)
        scored = lay_side(judge.model, judge.side, judge.spec, wanted, scratch)
        fitted = fit_temperature(scored, int(judge.side.class_counts.sum()), reporter)
    return replace(model, spec=model.spec.model_copy(update={"temperature": fitted.value}))
