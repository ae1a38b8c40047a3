"""ONNX models, run by ONNX Runtime: geoseg's own, and those of other tools with their metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.models.onnx_files.described import describe
from geoseg.models.onnx_files.reading import read_onnx

if TYPE_CHECKING:
    from geoseg.models.model import Model
    from geoseg.spec import ModelSpec


class OnnxFiles:
    """Opens ONNX files."""

    media_type = "application/octet-stream; framework=onnx"
    artifact_type = "torch.onnx.export"
    framework = "ONNX"

    def read_spec(self, path: Path) -> ModelSpec:
        """The spec, from the metadata and the files beside it.

        Raises:
            ModelError: if it is no ONNX file, or they don't say what the model is.
        """
        return describe(read_onnx(path)).spec

    def open(self, path: Path) -> Model:
        """The model, in the arithmetic in which it was exported.

        Raises:
            ModelError: if it is no ONNX file, is damaged, refers to files outside its folder, or cannot be run.
        """
        file = read_onnx(path)
        described = describe(file)
        from geoseg.models.model import Model
        from geoseg.models.onnx_files.network import OnnxNetwork

        return Model(described.spec, OnnxNetwork(file, described).eval())

    def example(self, folder: Path) -> Path:
        """Write a convolution of 1 × 1 and a softmax, with Deepness' metadata, and its bands beside it."""
        from onnx import TensorProto, helper, save_model

        graph = helper.make_graph(
            [
                helper.make_node("Conv", ["image", "weight"], ["logits"]),
                helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            ],
            "example",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2, "height", "width"])],
            [helper.make_tensor("weight", TensorProto.FLOAT, [2, 3, 1, 1], [2.0, 1.0, -1.0, -1.0, 0.5, 2.0])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {"class_names": json.dumps({"0": "land", "1": "water"})})
        path = folder / "example.onnx"
        save_model(model, path)
        path.with_name("example.onnx.yaml").write_text("bands: [red, green, blue]\n", encoding="utf-8")
        return path


BACKEND = OnnxFiles()
