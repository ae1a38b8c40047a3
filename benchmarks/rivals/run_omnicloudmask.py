"""OmniCloudMask: predict_from_array, made for clouds, with our network in place of its own.

It standardises each window by its own mean and deviation, so that our network's classes come out wrong: time and
memory count, agreement does not.
"""

from pathlib import Path

import numpy as np
import rasterio
from case import Case, Counted, load, write_classes
from omnicloudmask import predict_from_array

PACKAGE = "omnicloudmask"


def predict(case: Case) -> Path:
    """Read, predict, and write: OmniCloudMask's part is the middle."""
    with rasterio.open(case.scene) as scene:
        image = scene.read()
    classes = predict_from_array(
        image, patch_size=case.tile, patch_overlap=case.overlap, batch_size=case.batch_size,
        custom_models=Counted(load(case)), pred_classes=case.classes, inference_device="cpu", mosaic_device="cpu",
        no_data_value=0,
    )  # fmt: skip
    return write_classes(case, classes[0].astype(np.uint8))
