"""A network with a context branch on its device. In: views, batches of band values. Out: features, probabilities."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.errors import SpecError
from geoseg.models.context import ContextSegmenter, Views
from geoseg.models.runner import choose_device, choose_precision
from geoseg.models.segmentation import Context
from geoseg.spec import Precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ContextRunner:
    """Sees views once, and classifies windows with what was seen."""

    def __init__(self, network: ContextSegmenter, device: str = "auto", precision: Precision = "auto"):
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        network.to(self.device).to(memory_format=torch.channels_last).eval()
        self.network = network

    def encode(self, level: int, view: NDArray[Any]) -> Tensor:
        """Features (1, F, h, w) of one view (C + 1, n, n) of a level, on the device, in the arithmetic's type."""
        with torch.inference_mode(), self._arithmetic():
            return self.network.encode(level, torch.from_numpy(view)[None].to(self.device))

    def __call__(self, image: NDArray[Any], context: Context | Views | None) -> Tensor:
        """Turn band values (B, C, T, T) into probabilities (B, K, T, T), float32, on the device.

        Args:
            image: the windows.
            context: what was seen around them, or what there is to be seen; None for the local network alone.

        Raises:
            SpecError: if the device runs out of memory.
        """
        try:
            with torch.inference_mode(), self._arithmetic():
                values = torch.from_numpy(image).to(self.device, non_blocking=True).float()
                seen = self.network.see(self._moved(context)) if isinstance(context, Views) else context
                logits = self.network(values.contiguous(memory_format=torch.channels_last), seen)
                probabilities: Tensor = logits.float().softmax(dim=1)
                return probabilities
        except torch.OutOfMemoryError:
            windows, _, height, width = image.shape
            raise SpecError(
                f"{self.device} ran out of memory with {windows} x {height} x {width} pixels at once: "
                "lower the batch size or the tile (--batch-size, --tile)"
            ) from None

    def _moved(self, views: Views) -> Views:
        return Views(*(tuple(part.to(self.device) for part in parts) for parts in views))

    def _arithmetic(self) -> Any:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])
