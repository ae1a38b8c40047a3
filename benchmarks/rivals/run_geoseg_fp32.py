"""geoseg in fp32, with the windows and the overlap that its bundle asks for."""

from pathlib import Path

from case import Case, Counted

from geoseg import predict as predict_scene

PACKAGE = "geoseg"


def predict(case: Case, precision: str = "fp32") -> Path:
    """The class raster alone."""
    bundle = case.model_file("safetensors")
    result = predict_scene(
        case.scene, case.output, model=bundle, precision=precision, polygons=False, preview=False, stac=False
    )
    Counted.pixels = result.forwarded_px
    return result.paths["landcover"]
