"""Bytes are normalised by looking up, to the last bit as all other values are."""

from __future__ import annotations

import pytest
import torch

from geoseg.models import byte_normalization
from geoseg.models.segmentation import Normalize
from geoseg.spec import NormalizationSpec

LAST = torch.channels_last


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (2, 1, 5, 4), (3, 7, 2, 11)])
def test_bytes_are_normalised_as_their_values_are(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_normalization, "FEW", 0)
    random = torch.Generator().manual_seed(0)
    means, stds = ((torch.rand(shape[1], generator=random) * 99 + 1).tolist() for _ in range(2))
    normalize = Normalize(NormalizationSpec(mean=means, std=stds))
    image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    wanted = (image.float() - normalize.mean) / normalize.std
    for given in (image, image.contiguous(memory_format=LAST), image.flip(-1)[..., 1:], image.float()):
        found = normalize(given)
        assert torch.equal(found, wanted if given.shape == image.shape else wanted.flip(-1)[..., 1:])
        assert found.is_contiguous(memory_format=LAST)
