"""Models that give back what they are shown, and bundles with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.model import Model
from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, NormalizationSpec


class Echo(torch.nn.Module):
    """Class = value of the first band."""

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        index = image[:, 0].round().long().clamp(0, self.classes - 1)
        return 40 * torch.nn.functional.one_hot(index, self.classes).permute(0, 3, 1, 2).float()


class CountingEcho(Echo):
    """An echo that remembers how many pixels it has seen."""

    seen = 0

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        self.seen += image.shape[0] * image.shape[2] * image.shape[3]
        return super().forward(image)


def class_specs(count: int) -> list[ClassSpec]:
    return [
        ClassSpec(id=i, name=f"class {i}", color=f"#{(37 * i) % 256:02x}80{(91 * i) % 256:02x}") for i in range(count)
    ]


def make_spec(classes: int = 4, **fields: Any) -> ModelSpec:
    bands = fields.pop("bands", ("value",))
    values = {
        "name": "test",
        "network": NetworkSpec(architecture="pointwise", multiple=8),
        "bands": bands,
        "normalization": NormalizationSpec(mean=(0.0,) * len(bands), std=(1.0,) * len(bands)),
        "classes": class_specs(classes),
    }
    return ModelSpec(**values | fields)


def echo_model(classes: int = 4, **fields: Any) -> Model:
    return Model(make_spec(classes, **fields), Echo(classes).eval())


def save_bundle(path: Path, **fields: Any) -> Path:
    """Write a bundle with random weights that fits the given bands and type."""
    torch.manual_seed(0)
    spec = make_spec(**fields)
    return save_model(build_network(spec), spec, path)
