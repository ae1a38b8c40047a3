"""`geoseg quantize`: what 8-bit integers need, for a model that no training run has given it.

In: a bundle, and the training config whose labels it learnt and is judged by. Out: the same model with ranges, and with
what integers change on windows of the validation side.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.commands.bundle_path import check_bundle_path
from geoseg.commands.judges import one_judge
from geoseg.commands.measure_seams import with_seams
from geoseg.core.errors import SpecError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import workspace
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import existing_model
from geoseg.models.model import Model
from geoseg.models.quantization.network import gains_by_integers
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.soup import is_half
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import EvaluateSpec, ScoringSpec, TrainSpec
from geoseg.spec.int8 import Int8Spec
from geoseg.training.run.fit_int8 import Sides, fit_int8
from geoseg.training.run.settings import Config, resolve_settings

__all__ = ["QuantizeResult", "quantize"]


@dataclass(frozen=True)
class QuantizeResult:
    """The result of `quantize`."""

    bundle: Path
    """The model file."""
    name: str
    """Name of the model."""
    int8: Int8Spec
    """What integers change on windows of the validation side."""
    taken: bool
    """Whether predict takes integers without being asked to, on processors that multiply them natively."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"bundle": str(self.bundle), "int8": self.int8.model_dump(mode="json")}


def quantize(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    config: Config,
    data: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> QuantizeResult:
    """Write a model with the ranges that `--precision int8` needs, and with what integers do to its classes.

    What seams between windows do to its classes is measured as well, if that is unknown. Its weights and everything
    else but its name stay as they are. Training does the same at its end.

    Args:
        model: a bundle, the folder of a run, or `default`.
        output: path of the bundle, NAME.safetensors; NAME becomes the model's name.
        config: a training config (YAML), or settings already read: ranges are learnt on its training side, and judged
            on its validation side.
        data: CSV of labelled rasters, instead of the config's data.
        overwrite: replace a bundle that exists.
        reporter: gets notices, and the progress of `reading`, `integers` and `seams`.

    Raises:
        ModelError: if the bundle cannot be read, or does not fit the config's bands or classes.
        SpecError: if the processor does not multiply integers of 8 bits natively, or the network is not geoseg's own.
        LabelError: if labels cannot be used, or there are none.
        SceneError: if an image cannot be read.
        OutputError: if the bundle exists or cannot be written.
    """
    path, log = Path(output), NoticeLog(reporter)
    check_bundle_path(path, overwrite=overwrite)
    loaded = load_model(existing_model(model))
    if not isinstance(loaded.module, SegmentationNetwork):
        raise SpecError(
            f"{model}: its network is none of geoseg's own, and cannot compute with integers: take a bundle"
        )
    if not multiplies_integers():
        raise SpecError(
            "this processor does not multiply integers of 8 bits natively (VNNI, AMX), so that what they do to the "
            "classes cannot be measured: run this on one that does"
        )
    if not gains_by_integers(loaded.module):
        raise SpecError(
            f"{loaded.spec.network.architecture} {loaded.spec.network.encoder} goes on with floats between its "
            "convolutions, and is no faster with integers: leave it as it is"
        )
    settings = resolve_settings(config, data, {})
    made = with_integers(loaded, settings, log)
    known = made.spec.int8
    if known is None:
        raise SpecError("no labelled pixel lies in a window of the validation side: give a config with one")
    if made.spec.seams is None:
        made = with_seams(made, settings, "auto", log)
    spec = made.spec.model_copy(update={"name": path.stem})
    save_model(made.module, spec, path, half=is_half(made.module), ranges=made.ranges)
    if not known.fits:
        log.notice(
            f"integers move the mean IoU from {known.miou_float:.4f} to {known.miou:.4f}: predict takes them with "
            "--precision int8 alone"
        )
    return QuantizeResult(path, spec.name, known, known.fits, tuple(log.lines))


def with_integers(model: Model, settings: TrainSpec, reporter: Reporter) -> Model:
    """The model with ranges, as far as this machine and the labels of a config allow it.

    Raises:
        GeosegError: as `quantize`.
    """
    sides = {}
    with gdal_settings(), workspace(Path(tempfile.gettempdir()) / "geoseg-quantize") as scratch:
        for split in ("train", "val"):
            wanted = EvaluateSpec(scoring=ScoringSpec(split=split))
            sides[split] = one_judge(model, settings, None, wanted, reporter).side
        return fit_int8(model, Sides(**sides), scratch, reporter)
