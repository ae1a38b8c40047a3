"""ONNX Runtime: a session for a model, on a device of PyTorch's, with PyTorch's number of threads."""

from __future__ import annotations

from typing import Any

import torch

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.models.onnx_files.reading import INSTALL

CPU = "CPUExecutionProvider"
_OF_DEVICE = {
    "cuda": ("CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
}
"""Execution providers that compute on a kind of PyTorch's devices."""
_ELSEWHERE = frozenset({
    *_OF_DEVICE["cuda"], *_OF_DEVICE["mps"], "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider",
    "AzureExecutionProvider",
})  # fmt: skip
"""Providers that are not taken for the CPU: those of other devices, and one that sends values to a server."""
_ONLY_FATAL = 4
"""Severity of the messages that the runtime prints: what matters is raised."""
MOST_REASON = 300
"""Most characters of the runtime's own message in an error."""


def runtime() -> Any:
    """The library.

    Raises:
        ModelError: if it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ModelError(f"ONNX models need ONNX Runtime, which is missing: {INSTALL}") from None
    return onnxruntime


def providers_for(device: torch.device) -> list[Any]:
    """Execution providers for a device: of a GPU its own, of the CPU all that the installed runtime offers for it, such
    as OpenVINO's; none if it offers none."""
    offered = runtime().get_available_providers()
    if device.type not in _OF_DEVICE:
        return [name for name in offered if name not in _ELSEWHERE]
    fitting = [name for name in offered if name in _OF_DEVICE[device.type]][:1]
    options = {"device_id": device.index or 0} if device.type == "cuda" else {}
    return [(name, options) for name in fitting] + ([CPU] if fitting else [])


def start_session(content: bytes, device: torch.device, threads: int, source: str) -> Any:
    """A session that runs a model.

    Args:
        content: the whole model.
        device: where it runs.
        threads: threads of the CPU.
        source: the model's path, for messages.

    Raises:
        ModelError: if the runtime cannot run it, or not there.
    """
    library = runtime()
    providers = providers_for(device)
    if not providers:
        raise ModelError(
            f"device {device}: the ONNX Runtime installed here has none for it: take --device cpu, or install the "
            "runtime for that device, e.g. onnxruntime-gpu, in place of onnxruntime"
        )
    options = library.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _ONLY_FATAL
    try:
        return library.InferenceSession(content, options, providers=providers)
    except Exception as error:  # the runtime's errors have no class in common
        reason = shown(one_line(error), MOST_REASON, quoted=False)
        raise ModelError(
            f"{source}: ONNX Runtime {library.__version__} cannot run it: {reason}: take another copy of it, a newer "
            "runtime, or export it for an older opset"
        ) from None
