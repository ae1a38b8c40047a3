"""Whether this machine multiplies 8-bit integers natively, and PyTorch's oneDNN does it right."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

_PROBES = ("_is_vnni_supported", "_is_avx512_vnni_supported", "_is_amx_tile_supported")
"""Functions of torch.cpu, by version."""


@cache
def multiplies_integers() -> bool:
    """Whether the processor has VNNI or AMX, which sum products of 8-bit integers in 32 bits.

    Others sum pairs of them in 16 bits, which overflows.
    """
    probes: list[Any] = [getattr(torch.cpu, name, None) for name in _PROBES]
    return any(probe() for probe in probes if probe is not None) and _convolves()


def _convolves() -> bool:
    """Whether a convolution whose sums are large gives what it should."""
    values = torch.full((1, 64, 4, 4), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    weights, scales = torch.full((16, 64, 1, 1), 127, dtype=torch.int8), torch.full((16,), 1 / 127)
    places, zeros = ([1, 1], [0, 0], [1, 1], 1), torch.zeros(16, dtype=torch.int64)
    try:
        packed = torch.ops.onednn.qconv_prepack(weights, scales, 1.0, 0, *places, None)
        found = torch.ops.onednn.qconv2d_pointwise(
            values, 1.0, 0, packed, scales, zeros, torch.zeros(16), *places, 1.0, 0, torch.float32, "none", [], ""
        )
    except (AttributeError, RuntimeError):  # a PyTorch without oneDNN
        return False
    return bool(torch.allclose(found, torch.tensor(64 * 255.0), rtol=1e-4))
