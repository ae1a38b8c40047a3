"""What tests of both ways to see more than a window share: small networks, a scene of colours, stopped runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from geoseg.commands.predict import PredictResult, predict
from geoseg.commands.train import train
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.spec import ContextLevel, ContextSpec, NetworkSpec, NormalizationSpec, RefineSpec
from geoseg.spec.surroundings import BRANCH_SPECS
from support.models import make_spec
from support.rasters import write_raster
from support.reporters import Watching

SETTINGS: dict[str, Any] = {
    "polygons": False, "preview": False, "stac": False, "tile": 64, "overlap": 16, "precision": "fp32"
}  # fmt: skip
SMALL = NetworkSpec(
    architecture="unet",
    encoder="tu-test_resnet",
    arguments={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    multiple=8,
)
POINT = NetworkSpec(architecture="pointwise", multiple=8)
LEVELS = ContextLevel(ratio=4, size=64), ContextLevel(ratio="scene", size=32)
FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "context": {"context": ContextSpec(levels=LEVELS, network=SMALL, channels=4)},
    "refine": {"refine": RefineSpec(ratios=(2, 8), channels=8)},
}
FIELDS |= {kind: {"surroundings": BRANCH_SPECS.get(kind).example()} for kind in BRANCH_SPECS if kind not in FIELDS}
"""Small settings of each kind of branch, as fields of a model."""
VARIANTS = FIELDS | {
    "context of the local network": {"context": ContextSpec(init="local", levels=LEVELS, channels=4)},
}
"""The same, and further settings of these kinds that make networks of their own."""


def colours(path: Path) -> Path:
    """A scene of random colours, each on 14 x 13 pixels."""
    values = np.random.default_rng(0).integers(1, 255, (3, 20, 16)).repeat(14, axis=1).repeat(13, axis=2)
    return write_raster(path, values.astype(np.uint8), nodata=0)


def small_model() -> Model:
    """A model of windows of 128 px with random weights, for scenes of three colours."""
    torch.manual_seed(0)
    spec = make_spec(
        network=SMALL,
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
        tile=128,
        overlap=32,
    )
    return Model(spec, build_network(spec).eval())


def class_values(result: PredictResult) -> NDArray[Any]:
    """The class raster of a prediction (h, w)."""
    with rasterio.open(result.paths["landcover"]) as raster:
        values: NDArray[Any] = raster.read(1)
    return values


def scores(scene: Path, folder: Path, model: Model, **settings: Any) -> tuple[NDArray[Any], PredictResult]:
    """Probabilities (K, H, W) of a scene, and what else came of it."""
    folder.mkdir(exist_ok=True)
    result = predict(scene, folder, model=model, scores=folder / "scores.tif", **SETTINGS | settings)
    with rasterio.open(folder / "scores.tif") as dataset:
        return dataset.read(), result


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    return load_file(bundle)


class CrossEntropy:
    """The simplest criterion."""

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels)

    of_windows = of_hard_pixels = __call__


def in_training(net: ContextSegmenter) -> ContextSegmenter:
    """As a run trains it."""
    net.train()
    for module in net.frozen_parts:
        module.eval().requires_grad_(False)
    return net


def check_resuming(config: Path, folder: Path) -> None:
    """A run that is stopped in its second epoch and resumed ends with the weights of one that was not."""
    whole = train(config, folder / "whole")

    def stop(state: Any) -> None:
        if state.stage == "training" and state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, folder / "parts", reporter=Watching(stop))
    parts = train(config, folder / "parts", resume=True)
    one, other = weights(whole.bundle), weights(parts.bundle)
    assert all(torch.equal(one[name], other[name]) for name in one)


def check_going_on(first: Path, config: Path, folder: Path) -> None:
    """A run that starts from a bundle, learning next to nothing, has all of its weights, and says so."""
    notices: list[str] = []
    second = train(config, folder, reporter=Watching(lines=notices))
    was, now = weights(first), weights(second.bundle)
    assert all(torch.allclose(was[name], now[name], atol=1e-3) for name in was if name.endswith("weight"))
    assert any(line.startswith("all weights of small") and "new" not in line for line in notices)
