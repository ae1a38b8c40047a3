"""Make what all tools share, with geoseg's interpreter: scene, weights, geoseg's bundle, and the reference.

    python make_case.py CASE.json HEIGHT WIDTH

What exists already is kept. The reference is the class map of one forward pass over the whole scene in fp32, mirrored
beyond its edges as geoseg does it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import rasterio
import torch
from case import Case, build, load
from rasterio.windows import Window
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from predict import SAMPLE, make_scene

GREYS = 0.3, 0.7
"""The darkest and the brightest class of the 1 x 1 convolution."""
STEPS, BATCH, CROP = 250, 4, 192
CORNER = 300, 400
"""Height and width of the upper left corner, which holds no data."""
MARGIN, MULTIPLE = 32, 32
RANGED = 512
"""Side of the windows from which ranges are learnt."""
ROWS = 1000
"""Rows that the 1 x 1 convolution takes at once."""


def write_scene(path: Path, height: int, width: int) -> None:
    """The sample scene, mirrored side by side, with a corner without data."""
    draft = make_scene(path.with_name("draft.tif"), height, width)
    with rasterio.open(draft, "r+") as scene:
        scene.nodata = 0
        scene.write(np.zeros((3, *CORNER), np.uint8), window=Window(0, 0, CORNER[1], CORNER[0]))
    draft.rename(path)


def sample() -> tuple[Tensor, Tensor]:
    """The sample scene divided by 255 (C, H, W) and its classes (H, W); water counts as forest, to make it five."""
    with rasterio.open(SAMPLE / "scene.tif") as scene, rasterio.open(SAMPLE / "scene_labels.tif") as labels:
        image, classes = scene.read([1, 2, 3]), labels.read(1)
    return torch.from_numpy(image.astype(np.float32) / 255), torch.from_numpy(classes.clip(max=4).astype(np.int64))


def train(network: nn.Module) -> nn.Module:
    """Teach a network the sample scene, in a minute or two, so that its class map has a meaning."""
    image, classes = sample()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        rows = rng.integers(0, image.shape[1] - CROP, BATCH)
        cols = rng.integers(0, image.shape[2] - CROP, BATCH)
        crops = [(slice(row, row + CROP), slice(col, col + CROP)) for row, col in zip(rows, cols, strict=True)]
        logits = network(torch.stack([image[:, y, x] for y, x in crops]))
        loss = nn.functional.cross_entropy(logits, torch.stack([classes[y, x] for y, x in crops]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"trained: loss {loss.item():.3f}")
    return network.eval()


def tell_greys(network: nn.Conv2d) -> nn.Conv2d:
    """Have a 1 x 1 convolution find the nearest of some greys: logits that rank the squared distances to them."""
    greys = torch.linspace(*GREYS, network.out_channels)
    with torch.no_grad():
        network.weight.copy_((2 / 3 * greys)[:, None, None, None].expand_as(network.weight))
        network.bias.copy_(-(greys**2))
    return network


def write_weights(case: Case) -> None:
    """Weights as a state dict."""
    torch.manual_seed(0)
    network = build(case.network, case.classes)
    teach = {"unet": train, "pointwise": tell_greys}[case.network]
    torch.save(teach(network).state_dict(), case.model_file("pt"))


def write_bundle(case: Case) -> None:
    """The same weights as geoseg's model file: division by 255 becomes its normalisation."""
    from geoseg import ClassSpec, Model, ModelSpec, NetworkSpec, NormalizationSpec, save_model
    from geoseg.models.build import build_network
    from geoseg.models.quantization.network import find_ranges
    from geoseg.training.run.fit_seams import find_seams

    encoder = {"unet": "resnet18", "pointwise": ""}[case.network]
    spec = ModelSpec(
        name=case.network, network=NetworkSpec(architecture=case.network, encoder=encoder),
        bands=("red", "green", "blue"), normalization=NormalizationSpec(mean=(0,) * 3, std=(255,) * 3),
        classes=tuple(ClassSpec(id=i, name=f"class {i}", color="#808080") for i in range(case.classes)),
        resolution_m=0.6,
    )  # fmt: skip
    module = build_network(spec)
    module.body.load_state_dict(load(case).state_dict())
    shown = crops(case)
    seams = find_seams(Model(spec, module.eval()), [crop[0].numpy() for crop in shown], "cpu")
    spec = spec.model_copy(update={"seams": seams})
    save_model(module, spec, case.model_file("safetensors"), ranges=find_ranges(module, shown))


def crops(case: Case) -> list[Tensor]:
    """Windows of the scene, from which ranges for integers of 8 bits are learnt, as training learns them."""
    with rasterio.open(case.scene) as scene:
        places = [
            (row, col) for row in range(0, scene.height - RANGED, 1000) for col in range(0, scene.width - RANGED, 1000)
        ]
        read = [scene.read(window=Window(col, row, RANGED, RANGED)) for row, col in places]
    return [torch.from_numpy(image)[None] for image in read]


def write_reference(case: Case, path: Path) -> None:
    """The class map of one forward pass over the whole scene; a 1 x 1 convolution may take it in parts."""
    network = load(case)
    with rasterio.open(case.scene) as scene:
        image = scene.read()
    with torch.inference_mode():
        if case.network == "pointwise":
            parts = [forward(network, image[:, row : row + ROWS]) for row in range(0, image.shape[1], ROWS)]
            np.save(path, np.concatenate(parts))
        else:
            height, width = image.shape[1:]
            beyond = [-(-(side + 2 * MARGIN) // MULTIPLE) * MULTIPLE - side - MARGIN for side in (height, width)]
            padded = np.pad(image, ((0, 0), (MARGIN, beyond[0]), (MARGIN, beyond[1])), mode="reflect")
            np.save(path, forward(network, padded)[MARGIN : MARGIN + height, MARGIN : MARGIN + width])


def forward(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """Classes (H, W) of band values (C, H, W)."""
    scores = network(torch.from_numpy(image.astype(np.float32) / 255)[None])
    return scores[0].argmax(0).numpy().astype(np.uint8)


def main() -> None:
    """Make what is missing."""
    case, height, width = Case(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(case.threads)
    scene, reference = Path(case.scene), Path(case.scene).with_suffix(".npy")
    scene.parent.mkdir(parents=True, exist_ok=True)
    if not scene.exists():
        write_scene(scene, height, width)
    if not case.model_file("pt").exists():
        write_weights(case)
    if not case.model_file("safetensors").exists():
        write_bundle(case)
    if not reference.exists():
        write_reference(case, reference)


if __name__ == "__main__":
    main()
