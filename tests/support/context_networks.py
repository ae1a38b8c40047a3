"""Small networks with a context branch, and what lies around their windows."""

from __future__ import annotations

from typing import Any

import torch

from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.build import build_network
from geoseg.models.surroundings import Views
from geoseg.spec import ContextSpec, ModelSpec, NetworkSpec, parse_spec
from support.models import make_spec

SMALL_ENCODER = "tu-test_resnet"  # all that an encoder has, in a hundredth of the time
TINY = {"architecture": "unet", "encoder": SMALL_ENCODER, "multiple": 8}
TINY["arguments"] = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}


def context_spec(**changes: Any) -> ContextSpec:
    values = {"levels": [{"ratio": 4, "size": 32}, {"ratio": "scene", "size": 32}], "network": TINY, "channels": 8}
    return parse_spec(ContextSpec, values | changes, source="test")


def local_spec(**changes: Any) -> ContextSpec:
    """Two levels seen by a copy of the local network."""
    levels = [{"ratio": 4, "size": 64}, {"ratio": "scene", "size": 32}]
    return parse_spec(ContextSpec, {"init": "local", "levels": levels, "channels": 8} | changes, source="test")


def model_spec(architecture: str = "unet", encoder: str = SMALL_ENCODER, **changes: Any) -> ModelSpec:
    arguments = changes.pop("arguments", {})
    return make_spec(
        3,
        bands=("red", "green"),
        network=NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments),
        context=changes.pop("context", context_spec()),
        tile=changes.pop("tile", 64),
        overlap=0,
        **changes,
    )


def network(**changes: Any) -> ContextSegmenter:
    torch.manual_seed(0)
    built = build_network(model_spec(**changes))
    assert isinstance(built, ContextSegmenter)
    return built


def some_views(count: int = 2, levels: int = 2, size: int = 32) -> Views:
    generator = torch.Generator().manual_seed(1)
    images = tuple(torch.rand(count, 3, size, size, generator=generator) for _ in range(levels))
    return Views(images, tuple(torch.tensor([[0.3, 0.4, 0.5, 0.6]] * count) for _ in range(levels)))


def awake(net: ContextSegmenter, std: float = 1.0) -> ContextSegmenter:
    """With a branch that has an effect: what starts at 0 in its fusion is random."""
    for name, parameter in net.context.fusion.named_parameters():
        if not parameter.any() and not name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=std)
    return net
