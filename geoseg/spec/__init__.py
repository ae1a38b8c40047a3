"""Settings of all parts: descriptions of models, and settings of prediction, training, evaluation and tiling.

Knows neither tensors nor rasters.

The names load on first use, as a command needs the settings of few parts: each takes milliseconds to build.
"""

from typing import TYPE_CHECKING

from geoseg.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from geoseg.spec.area import AreaSpec
    from geoseg.spec.augment import AugmentSpec
    from geoseg.spec.base import IGNORE, NODATA_ID, DataType, Precision, Spec, parse_spec
    from geoseg.spec.branch import PLAIN, BranchSpec
    from geoseg.spec.brightness import BrightnessSpec
    from geoseg.spec.cache import CacheSpec
    from geoseg.spec.classes import ClassSpec
    from geoseg.spec.classify import ClassifySpec, Resolution
    from geoseg.spec.combined import CombinedSpec
    from geoseg.spec.comparison import ComparisonSpec
    from geoseg.spec.context import ContextSpec
    from geoseg.spec.data import DataSpec, LabelledRasterSpec, SplitSpec
    from geoseg.spec.evaluate import CompareSpec, EvaluateSpec, ScoringSpec
    from geoseg.spec.existing import ExistingSpec, split_existing
    from geoseg.spec.imagery import ImagerySpec, SpreadSpec
    from geoseg.spec.imported import ImportedClass, ImportSpec
    from geoseg.spec.init import InitSpec
    from geoseg.spec.legend import LegendSpec
    from geoseg.spec.levels import ContextLevel
    from geoseg.spec.loss import LossSpec
    from geoseg.spec.method import MethodSpec
    from geoseg.spec.model import ModelCard, ModelSpec, NormalizationSpec, ScalingSpec
    from geoseg.spec.network import NetworkSpec
    from geoseg.spec.output import OutputSpec
    from geoseg.spec.plain import parse_json
    from geoseg.spec.predict import PredictSpec
    from geoseg.spec.refine import RefineSpec
    from geoseg.spec.run import RunSpec
    from geoseg.spec.sample import SampleSpec
    from geoseg.spec.suggest import SuggestSpec
    from geoseg.spec.tile import TileSpec
    from geoseg.spec.train import (
        OptimizerSpec,
        ScheduleSpec,
        TrainSpec,
        load_train_spec,
        paths_from,
    )
    from geoseg.spec.vector import GeneralizeSpec, VectorizeSpec, VectorSpec
    from geoseg.spec.yaml_file import load_yaml

__all__ = [
    "IGNORE",
    "NODATA_ID",
    "PLAIN",
    "AreaSpec",
    "AugmentSpec",
    "BranchSpec",
    "BrightnessSpec",
    "CacheSpec",
    "ClassSpec",
    "ClassifySpec",
    "CombinedSpec",
    "CompareSpec",
    "ComparisonSpec",
    "ContextLevel",
    "ContextSpec",
    "DataSpec",
    "DataType",
    "EvaluateSpec",
    "ExistingSpec",
    "GeneralizeSpec",
    "ImagerySpec",
    "ImportSpec",
    "ImportedClass",
    "InitSpec",
    "LabelledRasterSpec",
    "LegendSpec",
    "LossSpec",
    "MethodSpec",
    "ModelCard",
    "ModelSpec",
    "NetworkSpec",
    "NormalizationSpec",
    "OptimizerSpec",
    "OutputSpec",
    "Precision",
    "PredictSpec",
    "RefineSpec",
    "Resolution",
    "RunSpec",
    "SampleSpec",
    "ScalingSpec",
    "ScheduleSpec",
    "ScoringSpec",
    "Spec",
    "SplitSpec",
    "SpreadSpec",
    "SuggestSpec",
    "TileSpec",
    "TrainSpec",
    "VectorSpec",
    "VectorizeSpec",
    "load_train_spec",
    "load_yaml",
    "parse_json",
    "parse_spec",
    "paths_from",
    "split_existing",
]

_HOMES = {
    "area": ("AreaSpec",),
    "augment": ("AugmentSpec",),
    "base": ("IGNORE", "NODATA_ID", "DataType", "Precision", "Spec", "parse_spec"),
    "branch": ("PLAIN", "BranchSpec"),
    "brightness": ("BrightnessSpec",),
    "cache": ("CacheSpec",),
    "classes": ("ClassSpec",),
    "classify": ("ClassifySpec", "Resolution"),
    "combined": ("CombinedSpec",),
    "comparison": ("ComparisonSpec",),
    "context": ("ContextSpec",),
    "data": ("DataSpec", "LabelledRasterSpec", "SplitSpec"),
    "evaluate": ("CompareSpec", "EvaluateSpec", "ScoringSpec"),
    "existing": ("ExistingSpec", "split_existing"),
    "imagery": ("ImagerySpec", "SpreadSpec"),
    "imported": ("ImportedClass", "ImportSpec"),
    "init": ("InitSpec",),
    "legend": ("LegendSpec",),
    "levels": ("ContextLevel",),
    "loss": ("LossSpec",),
    "method": ("MethodSpec",),
    "model": ("ModelCard", "ModelSpec", "NormalizationSpec", "ScalingSpec"),
    "network": ("NetworkSpec",),
    "output": ("OutputSpec",),
    "plain": ("parse_json",),
    "predict": ("PredictSpec",),
    "refine": ("RefineSpec",),
    "run": ("RunSpec",),
    "sample": ("SampleSpec",),
    "suggest": ("SuggestSpec",),
    "tile": ("TileSpec",),
    "train": ("OptimizerSpec", "ScheduleSpec", "TrainSpec", "load_train_spec", "paths_from"),
    "vector": ("GeneralizeSpec", "VectorizeSpec", "VectorSpec"),
    "yaml_file": ("load_yaml",),
}

if not TYPE_CHECKING:  # type checkers would believe that there is any name
    __getattr__ = lazy_names(__name__, {f"{__name__}.{module}": names for module, names in _HOMES.items()})


def __dir__() -> list[str]:
    return __all__
