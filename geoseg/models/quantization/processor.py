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
    """Whether a convolution whose sums are large gives what it should, and adds to other integers."""
    values = torch.full((1, 64, 4, 4), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    added = torch.full((1, 16, 4, 4), 7, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    weights, scales = torch.full((16, 64, 1, 1), 127, dtype=torch.int8), torch.full((16,), 1 / 127)
    places, zeros, bias = ([1, 1], [0, 0], [1, 1], 1), torch.zeros(16, dtype=torch.int64), torch.full((16,), -16200.0)
    try:
        packed = torch.ops.onednn.qconv_prepack(weights, scales, 1.0, 0, *places, None)
        given, run = (values, 1.0, 0, packed, scales, zeros), torch.ops.onednn.qconv2d_pointwise
        found = run(*given, bias, *places, 1.0, 0, torch.float32, "none", [], "")
        summed = run.binary(*given, added, bias, *places, 1.0, 0, torch.uint8, 1.0, 0, "sum", 1.0, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # a PyTorch without oneDNN, or with other functions
        return False
    wanted = 64 * 255 - 16200.0
    return bool((found - wanted).abs().max() < 1) and bool((summed == wanted + 7).all())
