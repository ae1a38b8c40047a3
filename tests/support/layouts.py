"""Networks of other libraries, and the logits that bundles made of them give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from geoseg import load_model
from geoseg.models.families.building import family_of


def with_some_statistics(model: Any) -> Any:
    """A network in evaluation mode, each of whose statistics differs from those of a fresh one."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) / 4)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval()


def random_image(bands: int = 3, side: int = 64) -> torch.Tensor:
    """Values of 8 bits (1, bands, side, side)."""
    return torch.randint(0, 256, (1, bands, side, side), generator=torch.Generator().manual_seed(1)).float()


def logits_of(bundle: Path, image: torch.Tensor) -> torch.Tensor:
    """Logits of a bundle, padded with zeros and laid out band by band, as those of other libraries."""
    model = load_model(bundle)
    network = model.spec.network
    body = family_of(network).build(network, len(model.spec.bands), len(model.spec.classes)).eval()
    body.load_state_dict(model.module.get_submodule("body").state_dict())
    normalize: Any = model.module.get_submodule("normalize")
    return body(normalize(image).contiguous())
