"""Where and in which arithmetic a network runs. In: batches of band values. Out: class probabilities, on the device."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.errors import SpecError
from geoseg.models.networks import Segmenter
from geoseg.spec import Precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device of that name; auto takes cuda, then mps, then cpu.

    Raises:
        SpecError: if this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpecError(
            f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices: use --device auto or cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SpecError("device mps: this machine has none: use --device auto or cpu")
    return device


def choose_precision(name: Precision, device: torch.device) -> str:
    """Return fp32, bf16 or fp16; auto takes bf16 where the device computes in it natively, fp16 on older GPUs."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


class Runner:
    """A network on its device, ready for batches."""

    def __init__(self, segmenter: Segmenter, device: str = "auto", precision: Precision = "auto"):
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        if isinstance(segmenter, torch.nn.Module):
            segmenter.to(self.device).to(memory_format=torch.channels_last).eval()
        self._segmenter = segmenter
        self._uniform: tuple[bytes, Tensor] | None = None

    def __call__(self, image: NDArray[Any]) -> Tensor:
        """Turn band values (B, C, T, T) into probabilities (B, K, T, T), float32, on the device.

        Windows of one single colour (the black around many mosaics) all look the same: the last is remembered.
        """
        key = _uniform_key(image)
        if key is not None and self._uniform is not None and self._uniform[0] == key:
            return self._uniform[1]
        probabilities = self._forward(image)
        if key is not None:
            self._uniform = key, probabilities
        return probabilities

    def _forward(self, image: NDArray[Any]) -> Tensor:
        try:
            return self._probabilities(image)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            windows, _, height, width = image.shape
            raise SpecError(
                f"{self.device} ran out of memory with {windows} x {height} x {width} pixels at once: "
                "lower the batch size or the tile (--batch-size, --tile)"
            ) from None

    def _probabilities(self, image: NDArray[Any]) -> Tensor:
        with torch.inference_mode(), self._arithmetic():
            values = torch.from_numpy(image).to(self.device, non_blocking=True)
            logits = self._segmenter(values.float().contiguous(memory_format=torch.channels_last))
            return logits.float().softmax(dim=1)

    def _arithmetic(self) -> Any:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _uniform_key(image: NDArray[Any]) -> bytes | None:
    """What tells apart batches whose windows each have one value per band; None for all other batches."""
    first = image[:, :, :1, :1]
    if image[:, :, -1, -1].tobytes() != first.tobytes() or not (image == first).all():
        return None
    return repr((image.shape, image.dtype.str)).encode() + first.tobytes()
