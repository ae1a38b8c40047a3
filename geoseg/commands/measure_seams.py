"""What seams between windows do to the classes of a model of which no training run has measured it, e.g. of a soup.

In: a model, and the training config whose validation side judges it. Out: the model with what seams do there.
"""

from __future__ import annotations

from geoseg.commands.judges import one_judge
from geoseg.core.events import Reporter
from geoseg.models.model import Model
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import EvaluateSpec, ScoringSpec, TrainSpec
from geoseg.training.run.fit_seams import fit_seams


def with_seams(model: Model, settings: TrainSpec, device: str, reporter: Reporter) -> Model:
    """The model with what seams do to its classes on the validation side of a config, as far as that can be measured.

    Args:
        model: the model.
        settings: the config.
        device: where it runs: auto, cpu, cuda, cuda:1 or mps.
        reporter: gets the progress of reading, and of `seams` in squares.

    Raises:
        ModelError: if the model does not fit the config's bands or classes.
        LabelError: if labels cannot be used, or there are none.
        SceneError: if an image cannot be read.
    """
    wanted = EvaluateSpec(scoring=ScoringSpec(device=device, split="val"))
    with gdal_settings():
        side = one_judge(model, settings, None, wanted, reporter).side
        return fit_seams(model, side, device, reporter)
