"""ONNX: normalisation and softmax inside, for ONNX Runtime, Deepness in QGIS, geoai, and geoseg itself.

Deepness and geoai divide band values by 255, whatever their type, and Deepness' classes are the largest outputs after
all below a threshold have become 0. So the graph takes values / 255 and gives probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.core.version import __version__
from geoseg.models.model import Model
from geoseg.models.onnx_files.described import OnnxUse
from geoseg.models.onnx_files.runtime import start_session
from geoseg.models.onnx_files.sources import METADATA_KEY, USE_KEY
from geoseg.models.onnx_files.tracing import OPSET, TOLERANCE, traced
from geoseg.models.padding import natively_padded
from geoseg.outputs.exports import Exported, ExportOptions
from geoseg.outputs.exports.local import body_of, branch_notice
from geoseg.spec import ModelSpec, NormalizationSpec

UNIT = 255.0
"""By which values are divided before they are put in."""
INPUT, OUTPUT = "image", "probabilities"
_LEAST_PROBE_PX = 64
_MOST_REASON = 300
FIXED_ONLY = "Deepness (QGIS) opens models of a fixed size only: for it, export with --size, e.g. --size 512"


class UnitGraph(nn.Module):
    """Values / 255 (B, C, H, W) -> probabilities (B, K, H, W)."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, normalization: NormalizationSpec):
        super().__init__()
        self.body = body
        for name, values in (("mean", normalization.mean), ("std", normalization.std)):
            self.register_buffer(name, torch.tensor([one / UNIT for one in values]).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Classify values / 255 (B, C, H, W)."""
        logits: Tensor = self.body((image - self.mean) / self.std)
        return logits.softmax(dim=1)


class Onnx:
    """Writes .onnx."""

    title = "ONNX"
    options = frozenset({"size", "geoai"})

    def make(self, model: Model, path: Path, options: ExportOptions) -> Exported:
        """The graph, compared with PyTorch on images of other sizes, and geoai's side file if it is wanted.

        Raises:
            ModelError: if the network cannot be exported, or not with free sizes.
        """
        if model.spec.network.semantic_normalization:
            raise ModelError(
                "semantic normalisation, which this network was trained with, has no operators in ONNX: export to .pt2 "
                "instead"
            )
        graph = UnitGraph(natively_padded(body_of(model)), model.spec.normalization).eval()
        probes = _probes(model, options.size)
        content = _described(_traced(graph, probes[0], options), model.spec.without_branch(), options)
        for probe in probes[1:]:
            _compare(content, graph, probe, options)
        files = {path.name: content}
        if options.geoai:
            files[f"{path.name}.json"] = _geoai(model.spec, options)
        notices = branch_notice(model) if options.size else (*branch_notice(model), FIXED_ONLY)
        return Exported(files, notices)


def _probes(model: Model, size: int | None) -> list[Tensor]:
    """Images (B, C, H, W) on which a graph is traced, the first, and compared."""
    multiple = model.spec.network.multiple
    least = max(_LEAST_PROBE_PX, body_of(model).sides.least)
    side = -(-least // multiple) * multiple
    shapes = [(2, size, size), (1, size, size)] if size else [(2, side, 2 * side), (1, 3 * side, side), (3, side, side)]
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(b, len(model.spec.bands), h, w, generator=generator) for b, h, w in shapes]


def _traced(graph: nn.Module, probe: Tensor, options: ExportOptions) -> bytes:
    """The graph as ONNX, with a free batch, and free sides unless they are fixed.

    Raises:
        ModelError: if it has operators that ONNX lacks.
    """
    axes = {0: "batch"} if options.size else {0: "batch", 2: "height", 3: "width"}
    try:
        return traced(graph, probe, INPUT, [OUTPUT], axes)
    except ModelError:
        raise
    except Exception as error:  # the exporter raises whatever an operator leads to
        raise _failed(one_line(error), options) from None


def _compare(content: bytes, graph: nn.Module, probe: Tensor, options: ExportOptions) -> None:
    """Compare an exported graph with PyTorch on images (B, C, H, W).

    Raises:
        ModelError: if it fails or differs.
    """
    session = start_session(content, torch.device("cpu"), torch.get_num_threads(), "the exported graph")
    with torch.inference_mode():
        wanted = graph(probe).numpy()
    try:
        (found,) = session.run(None, {INPUT: probe.numpy()})
    except Exception as error:  # the runtime's errors have no class in common
        raise _failed(one_line(error), options) from None
    difference = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf
    if difference > TOLERANCE:
        raise _failed(f"its probabilities differ from PyTorch's by {difference:.2g}", options)


def _failed(reason: str, options: ExportOptions) -> ModelError:
    remedy = "take another form" if options.size else "give a fixed --size, e.g. 512, or take another form"
    return ModelError(f"this network cannot be exported to ONNX: {shown(reason, _MOST_REASON, quoted=False)}: {remedy}")


def _described(content: bytes, spec: ModelSpec, options: ExportOptions) -> bytes:
    """A graph with all metadata."""
    import onnx

    bands = len(spec.bands)
    fixed = {} if options.size is None else {"tile": options.size, "overlap": min(spec.overlap, options.size // 2)}
    own = spec.model_copy(update=fixed)
    scaling = NormalizationSpec(mean=(0.0,) * bands, std=(UNIT,) * bands)
    graph = onnx.load_model_from_string(content)
    graph.producer_name, graph.producer_version = "geoseg", __version__
    graph.doc_string = spec.card.what_for
    graph.graph.name = spec.name
    _name_sides(graph.graph.output[0], ("batch", len(spec.classes), options.size or "height", options.size or "width"))
    onnx.helper.set_model_props(graph, {
        METADATA_KEY: own.model_dump_json(),
        USE_KEY: OnnxUse(scaling=scaling, activation="softmax").model_dump_json(),
        **{name: json.dumps(value) for name, value in deepness_metadata(own).items()},
        "licence": spec.card.licence,
        "credits": spec.card.credits,
    })  # fmt: skip
    written: bytes = graph.SerializeToString()
    return written


def _name_sides(port: Any, sides: Sequence[int | str]) -> None:
    """State the sides of an output: of fixed ones the tracer says only that they are free."""
    from onnx.helper import make_tensor_value_info

    port.CopyFrom(make_tensor_value_info(port.name, port.type.tensor_type.elem_type, sides))


def deepness_metadata(spec: ModelSpec) -> dict[str, Any]:
    """What Deepness reads, by its names: resolution in cm, overlap in per cent; the network itself standardises.

    A threshold of 0 leaves the probabilities as they are.
    """
    bands = len(spec.bands)
    resolution = {} if spec.resolution_m is None else {"resolution": round(100 * spec.resolution_m, 4)}
    return {
        "model_type": "Segmentor",
        "class_names": {str(i): one.name for i, one in enumerate(spec.classes)},
        "tile_size": spec.tile,
        "tiles_overlap": round(100 * spec.overlap / spec.tile),
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1.0] * bands,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    } | resolution


def _geoai(spec: ModelSpec, options: ExportOptions) -> bytes:
    """geoai's side file."""
    side = options.size or spec.tile
    values = {
        "model_name": spec.name,
        "task": "semantic-segmentation",
        "input_height": side,
        "input_width": side,
        "input_channels": len(spec.bands),
        "opset_version": OPSET,
        "output_names": [OUTPUT],
        "id2label": {str(i): one.name for i, one in enumerate(spec.classes)},
        "num_labels": len(spec.classes),
        "licence": spec.card.licence,
        "credits": spec.card.credits,
    }
    return json.dumps(values, indent=2, ensure_ascii=False).encode()


EXPORT = Onnx()
