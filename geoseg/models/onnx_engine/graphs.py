"""The graph of a body for images of one size, optimised for this processor. In: a body, a size. Out: bytes, compared.

Graphs whose padding is done at the edges alone are made first; where that fails or differs, the padding is done by
operators of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.models.families.body import Body
from geoseg.models.onnx_engine.edges import with_replication
from geoseg.models.onnx_files.runtime import CPU, MOST_REASON, runtime
from geoseg.models.onnx_files.tracing import TOLERANCE, traced
from geoseg.models.padding import natively_padded, zero_padded

INPUT, LOGITS, DECODED = "image", "logits", "decoded"
_ONLY_FATAL = 4


class _Outputs(nn.Module):
    """Logits of a body, and its decoded features if they are wanted."""

    def __init__(self, body: Body, *, decoded: bool):
        super().__init__()
        self._body, self._decoded = body, decoded

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalised values (B, C, H, W) -> logits (B, K, H, W), and features (B, L, h, w)."""
        decoded, logits = self._body.classify(image)
        return (logits, decoded) if self._decoded else (logits,)


def make_graph(body: Body, shape: tuple[int, int, int], *, decoded: bool) -> bytes:
    """A graph of a body for one image of a shape (C, H, W), the same as PyTorch but for rounding.

    Args:
        body: the body, on the CPU, in evaluation mode.
        shape: bands, height and width of the images.
        decoded: whether the decoded features are a second output.

    Raises:
        ModelError: if the body cannot be exported.
    """
    probe = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = _Outputs(body, decoded=decoded)(probe.contiguous(memory_format=torch.channels_last))
    reason = ""
    for make in (_with_edges, _with_pads):
        try:
            content = make(body, probe, decoded)
            found = run_graph(open_graph(content), probe.numpy())
            if (reason := _difference(wanted, found)) == "":
                return content
        except ModelError:
            raise
        except Exception as error:  # exporter and runtime raise whatever an operator leads to
            reason = one_line(error)
    raise ModelError(
        f"this network cannot be run by ONNX Runtime: {shown(reason, MOST_REASON, quoted=False)}: take --engine torch"
    )


def open_graph(content: bytes) -> Any:
    """A session of a graph that is optimised already, with PyTorch's number of threads."""
    options = _options()
    options.graph_optimization_level = runtime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime().InferenceSession(content, options, providers=[CPU])


def run_graph(session: Any, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Logits (1, K, H, W), and the decoded features if they are an output, of an image (1, C, H, W)."""
    found: list[NDArray[np.float32]] = session.run(None, {INPUT: image})
    return found


def _with_edges(body: Body, probe: Tensor, decoded: bool) -> bytes:
    optimised = _optimised(_simple_pads(_traced(zero_padded, body, probe, decoded)))
    return with_replication(optimised, {INPUT: probe.numpy()})


def _with_pads(body: Body, probe: Tensor, decoded: bool) -> bytes:
    return _optimised(_traced(natively_padded, body, probe, decoded))


def _traced(padded: Callable[[nn.Module], nn.Module], body: Body, probe: Tensor, decoded: bool) -> bytes:
    names = [LOGITS, DECODED] if decoded else [LOGITS]
    copied = padded(body).to(memory_format=torch.contiguous_format)
    assert isinstance(copied, Body)  # it is a copy of one
    return traced(_Outputs(copied, decoded=decoded).eval(), probe, INPUT, names)


def _simple_pads(content: bytes) -> bytes:
    """A graph without empty inputs of padding operators, which keep the runtime from joining them to convolutions."""
    import onnx

    model = onnx.load_model_from_string(content)
    for node in model.graph.node:
        if node.op_type == "Pad" and len(node.input) == 3 and not node.input[2]:
            del node.input[2]
    written: bytes = model.SerializeToString()
    return written


def _optimised(content: bytes) -> bytes:
    """A graph as the runtime optimises it for this processor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        options = _options()
        options.optimized_model_filepath = str(path)
        runtime().InferenceSession(content, options, providers=[CPU])
        return path.read_bytes()


def _options() -> Any:
    options = runtime().SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = _ONLY_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # PyTorch computes in between
    return options


def _difference(wanted: tuple[Tensor, ...], found: list[NDArray[np.float32]]) -> str:
    """What of a graph's outputs differs from PyTorch's; nothing if they are the same but for rounding."""
    if [tuple(one.shape) for one in wanted] != [one.shape for one in found]:
        return "its outputs have other sizes than PyTorch's"
    logits, *features = (torch.from_numpy(one) for one in found)
    difference = float((logits.softmax(dim=1) - wanted[0].softmax(dim=1)).abs().max())
    if not difference <= TOLERANCE:
        return f"its probabilities differ from PyTorch's by {difference:.2g}"
    for one, other in zip(features, wanted[1:], strict=True):
        share = float((one - other).abs().max() / other.abs().max().clamp_min(1e-6))
        if not share <= TOLERANCE:
            return f"its features differ from PyTorch's by {share:.2g} of the largest"
    return ""
