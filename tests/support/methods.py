"""Training methods on small batches: what the tests of all methods and of single ones share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from geoseg.models.build import build_network
from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, TrainSpec, parse_spec
from geoseg.training.methods.method import LABELLED, METHODS, UNLABELLED, Method, Setup, make_method
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import UNLABELLED as NO_LABEL
from geoseg.training.windows.random_windows import WindowBatch
from support.labelled_tiles import SMALL, write_tiles
from support.models import make_spec

STILL: dict[str, Any] = dict.fromkeys(
    (
        "warp",
        "gamma",
        "contrast",
        "brightness",
        "saturation",
        "band_gain",
        "band_shift",
        "band_mix",
        "noise",
        "blur_px",
    ),
    0,
)


def small_model() -> ModelSpec:
    """The spec of a network of 1 × 1 convolutions for the small tiles."""
    classes = [ClassSpec(**c) for c in SMALL["classes"]]
    network = NetworkSpec(architecture="pointwise")
    return make_spec(bands=("red", "green", "blue"), network=network).model_copy(update={"classes": tuple(classes)})


def small_method(name: str, folder: Path) -> dict[str, Any]:
    """A method and its parameters, as in a config."""
    return {"name": name, **METHODS.get(name).example(small_model(), folder)}


def small_data(name: str) -> dict[str, Any]:
    """The data settings of a run with a method: with images without labels or with tags, if it learns from them."""
    if METHODS.get(name).learns_tags:
        return SMALL["data"] | {"tiles": "tagged.csv", "tags_column": "tags"}
    kind = METHODS.get(name)
    setting = "target" if kind.needs_target else "unlabelled"
    return SMALL["data"] | ({setting: "more.tif"} if UNLABELLED in kind.needs else {})


def write_data(folder: Path) -> None:
    """Labelled tiles, and an image without labels beside them, which has tags in another list."""
    write_tiles(folder, splits="train val more")
    rows = (folder / "tiles.csv").read_text().splitlines()
    (folder / "tiles.csv").write_text("\n".join(rows[:-1]))
    tagged = [f"{row},{tags}" for row, tags in zip(rows[:-1], ("tags", "", ""), strict=True)]
    (folder / "tagged.csv").write_text("\n".join([*tagged, "more.tif,,train,grass;water"]))


def make(
    name: str, folder: Path, model: ModelSpec | None = None, data: dict[str, Any] | None = None, **parameters: Any
) -> tuple[Method, Setup]:
    """A method with a network, by default of 1 × 1 convolutions, whose running mean is the network itself."""
    model = model or small_model()
    method = small_method(name, folder) | parameters
    torch.manual_seed(0)
    network = build_network(model)
    settings = {
        "method": method,
        "augment": STILL,
        "data": data or small_data(name),
        "network": model.network.model_dump(),
    }
    spec = parse_spec(TrainSpec, SMALL | settings, source="test")
    augment = Augment(spec.augment, 0.0, 255.0, torch.zeros(3), keeps_plain=True)
    setup = Setup(network, network, spec, (500, 500), augment, model, 100)
    return make_method(setup), setup


def a_batch() -> dict[str, WindowBatch]:
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = (image[:, 0] > 128).to(torch.uint8)
    without = torch.full_like(labels, NO_LABEL)
    labels[:, :8] = NO_LABEL
    return {LABELLED: WindowBatch(image, labels), UNLABELLED: WindowBatch(image, without)}
