"""Land-cover segmentation of GeoTIFFs of any size: class rasters and clean polygons in one command.

The public names load on first use, so that `import geoseg` costs nothing.
"""

from typing import TYPE_CHECKING

from geoseg.core.large_pages import use_large_pages
from geoseg.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from geoseg.commands.compare import Comparison, compare
    from geoseg.commands.evaluate import EvaluateResult, evaluate
    from geoseg.commands.evaluate_model import ModelEvaluation, evaluate_model
    from geoseg.commands.export_model import ExportResult, export_model
    from geoseg.commands.import_model import ImportResult, import_model
    from geoseg.commands.init import InitResult, init
    from geoseg.commands.leave_out import LeaveOutResult, leave_out
    from geoseg.commands.predict import PredictResult, predict
    from geoseg.commands.predict_many import ManyResult, predict_many
    from geoseg.commands.quantize import QuantizeResult, quantize
    from geoseg.commands.sample import SampleResult, sample
    from geoseg.commands.scene_tasks import SceneFailure
    from geoseg.commands.soup import SoupResult, soup
    from geoseg.commands.suggest import SuggestResult, suggest
    from geoseg.commands.tile import TileResult, tile
    from geoseg.commands.train import TrainResult, train
    from geoseg.commands.vectorize import VectorizeResult, vectorize
    from geoseg.core.errors import GeosegError, LabelError, ModelError, OutputError, SceneError, SpecError
    from geoseg.core.version import __version__
    from geoseg.models.bundle import load_model, save_model
    from geoseg.models.model import Model
    from geoseg.scenes import SceneRef, find_scenes
    from geoseg.spec import (
        ClassSpec,
        DataSpec,
        ModelCard,
        ModelSpec,
        NetworkSpec,
        NormalizationSpec,
        PredictSpec,
        TrainSpec,
    )

__all__ = [
    "ClassSpec",
    "Comparison",
    "DataSpec",
    "EvaluateResult",
    "ExportResult",
    "GeosegError",
    "ImportResult",
    "InitResult",
    "LabelError",
    "LeaveOutResult",
    "ManyResult",
    "Model",
    "ModelCard",
    "ModelError",
    "ModelEvaluation",
    "ModelSpec",
    "NetworkSpec",
    "NormalizationSpec",
    "OutputError",
    "PredictResult",
    "PredictSpec",
    "QuantizeResult",
    "SampleResult",
    "SceneError",
    "SceneFailure",
    "SceneRef",
    "SoupResult",
    "SpecError",
    "SuggestResult",
    "TileResult",
    "TrainResult",
    "TrainSpec",
    "VectorizeResult",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_model",
    "export_model",
    "find_scenes",
    "import_model",
    "init",
    "leave_out",
    "load_model",
    "predict",
    "predict_many",
    "quantize",
    "sample",
    "save_model",
    "soup",
    "suggest",
    "tile",
    "train",
    "vectorize",
]

use_large_pages()

_HOMES = {
    "geoseg.core.errors": ("GeosegError", "LabelError", "ModelError", "OutputError", "SceneError", "SpecError"),
    "geoseg.models.bundle": ("load_model", "save_model"),
    "geoseg.models.model": ("Model",),
    "geoseg.commands.compare": ("Comparison", "compare"),
    "geoseg.commands.evaluate": ("EvaluateResult", "evaluate"),
    "geoseg.commands.evaluate_model": ("ModelEvaluation", "evaluate_model"),
    "geoseg.commands.leave_out": ("LeaveOutResult", "leave_out"),
    "geoseg.commands.export_model": ("ExportResult", "export_model"),
    "geoseg.commands.predict_many": ("ManyResult", "predict_many"),
    "geoseg.commands.scene_tasks": ("SceneFailure",),
    "geoseg.commands.predict": ("PredictResult", "predict"),
    "geoseg.commands.import_model": ("ImportResult", "import_model"),
    "geoseg.commands.init": ("InitResult", "init"),
    "geoseg.commands.quantize": ("QuantizeResult", "quantize"),
    "geoseg.commands.sample": ("SampleResult", "sample"),
    "geoseg.commands.soup": ("SoupResult", "soup"),
    "geoseg.commands.suggest": ("SuggestResult", "suggest"),
    "geoseg.commands.tile": ("TileResult", "tile"),
    "geoseg.commands.train": ("TrainResult", "train"),
    "geoseg.commands.vectorize": ("VectorizeResult", "vectorize"),
    "geoseg.scenes": ("SceneRef", "find_scenes"),
    "geoseg.spec": (
        "ClassSpec",
        "DataSpec",
        "ModelCard",
        "ModelSpec",
        "NetworkSpec",
        "NormalizationSpec",
        "PredictSpec",
        "TrainSpec",
    ),
    "geoseg.core.version": ("__version__",),
}

if not TYPE_CHECKING:  # type checkers would believe that there is any name
    __getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
