"""habitat-mapper: half-overlapping tiles through ONNX Runtime, blended in a register that rolls over the scene."""

from functools import partial
from pathlib import Path

import habitat_mapper.model
import numpy as np
import onnxruntime
import torch
from case import Case, Counted, load
from habitat_mapper.config import ModelConfig
from habitat_mapper.model import ONNXModel
from habitat_mapper.processing import ImageProcessor

PACKAGE = "habitat-mapper"
ENGINE = "onnxruntime-gpu"
SESSION = onnxruntime.InferenceSession


def prepare(case: Case) -> None:
    """Export the network to ONNX."""
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    torch.onnx.export(
        load(case), torch.zeros(1, 3, case.tile, case.tile), case.model_file("onnx"), input_names=["input"],
        output_names=["output"], dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip


class CountedONNX(ONNXModel):
    """Its model, counting the pixels that it forwards."""

    def _predict(self, batch: np.ndarray) -> np.ndarray:
        Counted.pixels += batch.shape[0] * batch.shape[2] * batch.shape[3]
        return super()._predict(batch)


def predict(case: Case) -> Path:
    """Classify, without its median filter; one tile at a time, as larger batches stop it at nodata."""
    limit_threads(case.threads)
    model = case.model_file("onnx")
    config = ModelConfig(
        name=case.network, revision="20260101", dependencies=[str(model)], model_filename=model.name, input_channels=3,
        activation="softmax", normalization=None, max_pixel_value=255, nodata_value=255,
    )  # fmt: skip
    processor = ImageProcessor.from_model(
        CountedONNX(config), crop_size=case.tile, batch_size=1, blur_kernel_size=0, quiet=True
    )
    processor.run(case.scene, str(case.output_file()))
    return case.output_file()


def limit_threads(threads: int) -> None:
    """Have its sessions compute with as many threads as the others; it has no setting of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    habitat_mapper.model.ort.InferenceSession = partial(SESSION, sess_options=options)
