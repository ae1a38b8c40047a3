"""geoai: predict_geotiff, which blends with spline weights in accumulators as large as the scene."""

from pathlib import Path

from case import NODATA, Case, Counted, load
from geoai.inference import predict_geotiff

PACKAGE = "geoai-py"


def predict(case: Case) -> Path:
    """A class raster, argmax of the blended scores."""
    output = predict_geotiff(
        Counted(load(case)), case.scene, str(case.output_file()), tile_size=case.tile, overlap=case.overlap,
        batch_size=case.batch_size, num_classes=case.classes, output_dtype="uint8", output_nodata=NODATA,
        blend_mode="spline", preprocess_fn=lambda tile: tile / 255.0,
        postprocess_fn=lambda scores: scores.argmax(0)[None], device="cpu", verbose=False,
    )  # fmt: skip
    return Path(output)
