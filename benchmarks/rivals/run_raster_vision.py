"""Raster Vision: a learner's predictions over sliding windows, averaged as smooth labels in memory."""

from pathlib import Path

from case import Case, Counted, load
from rastervision.core.data import ClassConfig, RasterioSource, Scene, SemanticSegmentationLabels
from rastervision.pytorch_learner import (
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationLearner,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationSlidingWindowGeoDataset,
    SolverConfig,
)

PACKAGE = "rastervision-core"


def predict(case: Case) -> Path:
    """Predict, average, and save as its guide does."""
    names = [f"class {i}" for i in range(case.classes)]
    source = RasterioSource(case.scene, channel_order=[0, 1, 2], raster_transformers=[])
    windows = SemanticSegmentationSlidingWindowGeoDataset(
        Scene("scene", source), size=case.tile, stride=case.tile - case.overlap
    )
    config = SemanticSegmentationLearnerConfig(
        data=SemanticSegmentationGeoDataConfig(class_config=ClassConfig(names=names), num_workers=0),
        solver=SolverConfig(batch_sz=case.batch_size),
    )
    learner = SemanticSegmentationLearner(config, model=Counted(load(case)), training=False)
    scores = learner.predict_dataset(
        windows, raw_out=True, numpy_out=True, progress_bar=False,
        dataloader_kw={"batch_size": case.batch_size, "num_workers": 0},
    )  # fmt: skip
    labels = SemanticSegmentationLabels.from_predictions(
        windows.windows, scores, extent=source.extent, num_classes=case.classes, smooth=True
    )
    labels.save(
        case.output, crs_transformer=source.crs_transformer, discrete_output=True, smooth_output=False,
        class_config=ClassConfig(names=[*names, "null"], null_class="null"),
    )  # fmt: skip
    return case.output_file("labels.tif")
