"""Land-cover segmentation of GeoTIFFs of any size: class rasters and clean polygons in one command.

The public names load on first use, so that `import geoseg` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.errors import GeosegError, LabelError, ModelError, OutputError, SceneError, SpecError
    from geoseg.models import Model, load_model, save_model
    from geoseg.pipelines.evaluate import EvaluateResult, evaluate
    from geoseg.pipelines.evaluate_model import ModelEvaluation, evaluate_model
    from geoseg.pipelines.many import ManyResult, SceneFailure, predict_many
    from geoseg.pipelines.predict import PredictResult, predict
    from geoseg.pipelines.tile import TileResult, tile
    from geoseg.pipelines.train import TrainResult, train
    from geoseg.pipelines.vectorize import VectorizeResult, vectorize
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
    from geoseg.version import __version__

__all__ = [
    "ClassSpec",
    "DataSpec",
    "EvaluateResult",
    "GeosegError",
    "LabelError",
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
    "SceneError",
    "SceneFailure",
    "SceneRef",
    "SpecError",
    "TileResult",
    "TrainResult",
    "TrainSpec",
    "VectorizeResult",
    "__version__",
    "evaluate",
    "evaluate_model",
    "find_scenes",
    "load_model",
    "predict",
    "predict_many",
    "save_model",
    "tile",
    "train",
    "vectorize",
]

_HOMES = {
    "geoseg.errors": ("GeosegError", "LabelError", "ModelError", "OutputError", "SceneError", "SpecError"),
    "geoseg.models": ("Model", "load_model", "save_model"),
    "geoseg.pipelines.evaluate": ("EvaluateResult", "evaluate"),
    "geoseg.pipelines.evaluate_model": ("ModelEvaluation", "evaluate_model"),
    "geoseg.pipelines.many": ("ManyResult", "SceneFailure", "predict_many"),
    "geoseg.pipelines.predict": ("PredictResult", "predict"),
    "geoseg.pipelines.tile": ("TileResult", "tile"),
    "geoseg.pipelines.train": ("TrainResult", "train"),
    "geoseg.pipelines.vectorize": ("VectorizeResult", "vectorize"),
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
    "geoseg.version": ("__version__",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
