"""An ONNX model as a module of PyTorch. In: band values (B, C, H, W). Out: logits (B, K, H, W).

Windows that are smaller than images of a fixed size are padded by replication, and batches filled up to a fixed number.
Probabilities become their logarithms, of which a softmax gives the probabilities again.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geoseg.core.errors import ModelError, shown
from geoseg.core.files import one_line
from geoseg.core.system_errors import lacks_memory
from geoseg.models.onnx_files.described import Described
from geoseg.models.onnx_files.reading import OnnxFile
from geoseg.models.onnx_files.runtime import MOST_REASON, providers_for, start_session
from geoseg.models.other_runtime import OtherRuntime
from geoseg.models.padding import replicated
from geoseg.models.surroundings import NO_CONTEXT, Context

_SUMS_TO_ONE = 1e-3
"""Largest difference from 1 of a sum of probabilities."""


class OnnxNetwork(OtherRuntime):
    """An ONNX model. What it is and how it is used counts among its state, so that no work goes on with another's."""

    mean: Tensor
    std: Tensor

    def __init__(self, file: OnnxFile, described: Described):
        """Read a model with its weights.

        Raises:
            ModelError: if it cannot be read, or ONNX Runtime cannot run it.
        """
        super().__init__()
        self._content, self._source, self._described = file.content(), str(file.path), described
        self._classes = len(described.spec.classes)
        self._input, self._output = file.input, file.output(described.use.output)
        self.precision = "fp16" if self._input.dtype == "float16" else "fp32"
        self.weights_count = file.weights_count
        self._sessions: dict[tuple[str, int], Any] = {}
        self._most = described.sizes.batch
        scaling = described.use.scaling
        self.register_buffer("mean", torch.tensor(scaling.mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(scaling.std, dtype=torch.float32).view(-1, 1, 1))
        digest = hashlib.sha256(self._content + described.use.model_dump_json().encode()).digest()
        self.register_buffer("digest", torch.tensor(list(digest), dtype=torch.uint8))
        self._session(torch.device("cpu"))

    def __getstate__(self) -> dict[str, Any]:
        """The state without sessions, which live in one process."""
        return self.__dict__ | {"_sessions": {}}

    def runs_on(self, device: torch.device) -> bool:
        """Whether the installed runtime has a provider for a device."""
        return bool(providers_for(device))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W).

        Raises:
            ModelError: if the windows are larger than images of a fixed size, or the output is not as described.
        """
        size = image.shape[-2:]
        values = self._padded((image.float() - self.mean) / self.std)
        scores = torch.cat([self._run(part) for part in torch.split(values, self._most or len(values))])
        if scores.shape[-2:] != values.shape[-2:]:
            scores = functional.interpolate(scores, values.shape[-2:], mode="bilinear", align_corners=False)
        return self._logits(scores[:, :, : size[0], : size[1]].float())

    def _padded(self, values: Tensor) -> Tensor:
        """Values (B, C, H, W), padded at the bottom and right where images have a fixed size."""
        sizes, (height, width) = self._described.sizes, values.shape[-2:]
        down, across = (sizes.height or height) - height, (sizes.width or width) - width
        if min(down, across) < 0:
            raise ModelError(
                f"{self._source} takes images of {sizes.height or 'any'} x {sizes.width or 'any'} pixels, not of "
                f"{height} x {width}: leave --tile out, and scales above 1 of --tta-scales"
            )
        return replicated(values, (0, across), (0, down)) if down or across else values

    def _run(self, values: Tensor) -> Tensor:
        """The output (b, K or 1, h, w) for a batch of scaled values (b, C, H, W)."""
        count, sizes = len(values), self._described.sizes
        if sizes.batch and count < sizes.batch:
            values = torch.cat([values, values[-1:].expand(sizes.batch - count, -1, -1, -1)])
        given = values.permute(0, 2, 3, 1) if sizes.bands_last else values
        array = np.ascontiguousarray(given.cpu().numpy(), self._input.dtype)
        session = self._session(values.device)
        try:
            (out,) = session.run([self._output.name], {self._input.name: array})
        except Exception as error:  # the runtime's errors have no class in common
            if lacks_memory(error):
                raise
            if len(values) == 1 or sizes.batch:
                raise self._refused(values, error) from None
            return self._run_singly(values)
        if len(out) != len(values) > 1 and not sizes.batch:
            return self._run_singly(values)
        return self._channels_first(torch.from_numpy(out[:count]).to(values.device, torch.float32))

    def _run_singly(self, values: Tensor) -> Tensor:
        """The output for images one by one, from now on: a graph traced on one may say that it takes any number."""
        scores = torch.cat([self._run(one) for one in torch.split(values, 1)])
        self._most = 1
        return scores

    def _refused(self, values: Tensor, error: Exception) -> ModelError:
        """The error for a graph that fails on windows (b, C, h, w)."""
        height, width = values.shape[-2:]
        return ModelError(
            f"{self._source} does not take windows of {height} x {width} pixels: "
            f"{shown(one_line(error), MOST_REASON, quoted=False)}: take it with images of a fixed size, for which "
            "windows are padded, or give another --tile"
        )

    def _session(self, device: torch.device) -> Any:
        key = str(device), torch.get_num_threads()
        if key not in self._sessions:
            self._sessions[key] = start_session(self._content, device, key[1], self._source)
        return self._sessions[key]

    def _channels_first(self, out: Tensor) -> Tensor:
        if out.ndim == 3:
            out = out.unsqueeze(1)
        wanted = {1, self._classes} if self._classes == 2 else {self._classes}
        if out.ndim == 4 and out.shape[1] not in wanted and out.shape[3] in wanted:
            out = out.permute(0, 3, 1, 2)
        if out.ndim != 4 or out.shape[1] not in wanted:
            raise ModelError(
                f"{self._source} gives {tuple(out.shape)}, no score of each of {self._classes} classes (B, K, H, W): "
                "name as many classes as it has channels"
            )
        return out

    def _logits(self, scores: Tensor) -> Tensor:
        """Logits (B, K, H, W) of what comes out (B, K or 1, H, W)."""
        use = self._described.use
        if use.activation == "logits":
            self._check_logits(scores)
            return scores if self._classes == scores.shape[1] else self._of_one(scores, torch.zeros_like(scores))
        if self._classes == scores.shape[1]:
            return scores.log()
        return self._of_one(scores.log(), (1 - scores).log())

    def _of_one(self, inside: Tensor, outside: Tensor) -> Tensor:
        """Logits (B, 2, H, W) of a class and what is outside it, (B, 1, H, W) each, equal at the threshold."""
        threshold = self._described.use.threshold
        return torch.cat([outside + np.log(threshold / (1 - threshold)), inside], dim=1)

    def _check_logits(self, scores: Tensor) -> None:
        """Refuse probabilities that are taken for logits: their softmax would be all but uniform."""
        if (
            scores.shape[1] > 1
            and bool(scores.min() >= 0)
            and bool(((scores.sum(dim=1) - 1).abs() <= _SUMS_TO_ONE).all())
        ):
            raise ModelError(
                f"{self._source} gives probabilities, though its last operator is no softmax: write `activation: "
                f"softmax` in {self._source}.yaml"
            )
