"""How fast ONNX Runtime and PyTorch compute a body here: measured once, and remembered beside the graphs.

In: a body that either can compute, images. Out: seconds of both.
"""

from __future__ import annotations

import time
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body
from geoseg.models.onnx_engine.body import OnnxEngine, digest_of
from geoseg.models.onnx_engine.cache import has_cached, read_cached, write_cached
from geoseg.models.operator_fusion.maps import plain

clock = time.perf_counter
"""Time in seconds."""
_GAIN = 0.95
"""ONNX Runtime is taken below this share of PyTorch's time; a smaller gain may be chance."""
_END = ".speed"
_ROUNDS = 3
_MOST_S = 10.0
"""No further round is begun after so many seconds."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Speed(BaseModel):
    """Time of a batch by either engine."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    torch: Seconds
    """Seconds of PyTorch, in fp32."""
    onnx: Seconds | None
    """Seconds of ONNX Runtime; None if it cannot compute the network."""

    @property
    def share(self) -> float | None:
        """ONNX Runtime's time over PyTorch's; None if it cannot compute the network."""
        return None if self.onnx is None else self.onnx / self.torch

    @property
    def favours_onnx(self) -> bool:
        """Whether ONNX Runtime is the faster one by more than the measurement may err."""
        return self.share is not None and self.share < _GAIN


def speed_name(body: Body, engine: OnnxEngine, windows: tuple[int, int], threads: int) -> str:
    """Name under which a speed is remembered: another one for other weights, windows, threads, processors, versions.

    Args:
        body: the body as the model holds it.
        engine: how ONNX Runtime would run it.
        windows: largest side of the windows in pixels, and number of windows at once.
        threads: threads of either engine.
    """
    about = ["speed", engine.decoded, windows, threads]
    return f"{digest_of(body, engine.identity, about)}{_END}"


def are_any_remembered() -> bool:
    """Whether any speed is remembered; found without the libraries."""
    return has_cached(_END)


def remembered(name: str) -> Speed | None:
    """The speed of a name; None if there is none, or what is there is damaged."""
    content = read_cached(name)
    try:
        return None if content is None else Speed.model_validate_json(content)
    except ValidationError:
        return None


def remember(name: str, speed: Speed) -> None:
    """Keep a speed, if the cache can be written."""
    write_cached(name, speed.model_dump_json().encode())


def first_seconds(body: Body, image: Tensor, *, decoded: bool) -> float:
    """Seconds for a first batch (B, C, H, W), which takes longer than those after it."""
    return _seconds(body, image, decoded=decoded)


def measure(body: Body, other: Body, image: Tensor, *, decoded: bool) -> Speed:
    """Measure both engines in turns, and take the best time of each.

    Args:
        body: the body of PyTorch, which has seen such a batch before.
        other: the body of ONNX Runtime.
        image: a batch (B, C, H, W).
        decoded: whether the decoded features are wanted besides the logits.
    """
    try:
        _seconds(other, image, decoded=decoded)  # makes its graph
    except ModelError:
        return Speed(torch=_seconds(body, image, decoded=decoded), onnx=None)
    start = clock()
    found: list[tuple[float, float]] = []
    while not found or (len(found) < _ROUNDS and clock() - start < _MOST_S):
        found.append((_seconds(body, image, decoded=decoded), _seconds(other, image, decoded=decoded)))
    torch_s, onnx_s = (min(one) for one in zip(*found, strict=True))
    return Speed(torch=torch_s, onnx=onnx_s)


def _seconds(body: Body, image: Tensor, *, decoded: bool) -> float:
    with torch.inference_mode():
        start = clock()
        plain(body.classify(image) if decoded else body(image))
        return clock() - start
