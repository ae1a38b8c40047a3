"""A network of PyTorch as an ONNX graph, by tracing it. In: a module and an image for it. Out: the bytes of a graph."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.onnx_files.reading import INSTALL

OPSET = 17
TOLERANCE = 1e-3
"""Largest difference of probabilities from PyTorch's that counts as rounding."""
Axes = Mapping[int, str]
"""Names of axes that are free, by number."""


def traced(graph: nn.Module, probe: Tensor, name: str, outputs: Sequence[str], free: Axes | None = None) -> bytes:
    """A module as an ONNX graph.

    Args:
        graph: takes one image (B, C, H, W).
        probe: an image on which it is traced.
        name: name of the input.
        outputs: names of the outputs.
        free: axes of the input and the outputs that are free; by default none.

    Raises:
        ModelError: if the library onnx is not installed.
        Exception: whatever the exporter raises of an operator that ONNX lacks.
    """
    axes = {} if free is None else {port: dict(free) for port in (name, *outputs)}
    out: Any = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer: what it takes for constant is compared afterwards
            torch.onnx.export(
                graph, (probe,), out, dynamo=False, opset_version=OPSET, input_names=[name],
                output_names=list(outputs), dynamic_axes=axes,
            )  # fmt: skip
    except ImportError:
        raise ModelError(f"a graph in ONNX needs the library onnx: {INSTALL}") from None
    content: bytes = out.getvalue()
    return content
