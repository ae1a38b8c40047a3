"""Logits become float32, class by class, whatever layout and arithmetic they come in."""

from __future__ import annotations

import pytest
import torch

from geoseg.models import logits_layout
from geoseg.models.logits_layout import class_by_class


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("cached", [1, 100, 2**18])
def test_all_values_stay(
    dtype: torch.dtype, layout: torch.memory_format, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits_layout, "_CACHED", cached)
    logits = torch.randn(2, 5, 13, 7, generator=torch.Generator().manual_seed(0)).to(dtype, memory_format=layout)
    found = class_by_class(logits)
    assert torch.equal(found, logits.float())
    assert found.is_contiguous()
