"""What the training imagery of a model looks like that no training run has described, e.g. of a soup.

In: a model, and the training config whose training side it learnt from. Out: the model with a description of that side.
"""

from __future__ import annotations

from dataclasses import replace

from geoseg.commands.judges import one_judge
from geoseg.core.events import Reporter
from geoseg.models.model import Model
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import EvaluateSpec, ScoringSpec, TrainSpec
from geoseg.training.run.training_imagery import learn_imagery


def with_training_imagery(model: Model, settings: TrainSpec, device: str, reporter: Reporter) -> Model:
    """The model with what the training imagery of a config looks like, to the network and in its values.

    Args:
        model: the model.
        settings: the config.
        device: where it runs: auto, cpu, cuda, cuda:1 or mps.
        reporter: gets the progress of reading.

    Raises:
        ModelError: if the model does not fit the config's bands or classes.
        LabelError: if labels cannot be used, or there are none.
        SceneError: if an image cannot be read.
    """
    wanted = EvaluateSpec(scoring=ScoringSpec(device=device, split="train"))
    with gdal_settings():
        judge = one_judge(model, settings, None, wanted, reporter)
        known = judge.resolution_m
        imagery = learn_imagery(model, [judge.side], None if known is None else (known, known), device, reporter)
    return replace(model, spec=model.spec.model_copy(update={"imagery": imagery}))
