"""Tree energy: what its loss is made of, which pixels count, and that points teach more with it than without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from support.branches import check_resuming
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.methods import STILL
from support.models import make_spec
from support.networks import buildable
from support.reporters import Watching
from torch import nn
from torch.nn import functional

from geoseg.commands.train import train
from geoseg.core.errors import SpecError
from geoseg.losses.trees.tree_filter import tree_filter
from geoseg.models.build import build_network
from geoseg.models.decoded_features import DecodedFeatures
from geoseg.models.families.body import Body, Features
from geoseg.models.families.building import family_of
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.window_padding import Sides
from geoseg.spec import IGNORE, ClassSpec, NetworkSpec, NormalizationSpec, TrainSpec, parse_spec
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, make_method
from geoseg.training.methods.tree_energy import Cells
from geoseg.training.run.progress import TrainProgress
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import UNLABELLED, WindowBatch

POINT = NetworkSpec(architecture="pointwise")
UNET = NetworkSpec(
    architecture="unet",
    encoder="tu-test_resnet",
    arguments={"encoder_depth": 2, "decoder_channels": [16, 16]},
    multiple=4,
)


def make_setup(method: Any, network: NetworkSpec = POINT, side: int = 32, **settings: Any) -> Setup:
    torch.manual_seed(0)
    normalization = NormalizationSpec(mean=(110.0,) * 3, std=(40.0,) * 3)
    model = make_spec(bands=("red", "green", "blue"), network=network, normalization=normalization)
    model = model.model_copy(update={"classes": tuple(ClassSpec(**c) for c in SMALL["classes"])})
    values = SMALL | {"method": method, "augment": STILL, "window": side} | settings
    spec = parse_spec(TrainSpec, values, source="test")
    augment = Augment(spec.augment, 0.0, 255.0, torch.zeros(3), keeps_plain=True)
    built = build_network(model).train()
    return Setup(built, built, spec, (500, 500), augment, model, 100)


def a_batch(label: int | None = None, side: int = 32) -> dict[str, WindowBatch]:
    """Noise: classes by the first band, or one label everywhere."""
    image = torch.randint(0, 255, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    classes = (image[:, 0] > 128).to(torch.uint8)
    return {LABELLED: WindowBatch(image, classes if label is None else torch.full_like(classes, label))}


def step(method: Method, batch: dict[str, WindowBatch]) -> StepLoss:
    return method.loss(batch, torch.Generator().manual_seed(1))


def some_windows(side: int = 10) -> LabelledWindows:
    """Without a label in the lower half; no data in the first column."""
    plain = 255 * torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, side, side, dtype=torch.int64)
    labels[:, side // 2 :], labels[:, :, 0] = IGNORE, IGNORE
    unlabelled = labels == IGNORE
    unlabelled[:, :, 0] = False
    return LabelledWindows(plain + 20, labels, unlabelled=unlabelled, plain=plain)


# ------------------------------------------------------------------------------------------------------------ the loss


def test_the_loss_is_the_distance_to_averages_along_both_trees() -> None:
    windows = some_windows()
    logits, embedded = torch.randn(2, 4, 10, 10), torch.rand(2, 5, 10, 10)
    found = Cells.of(windows, 1, 0.0, 255.0).energy(logits, embedded, 0.02)
    data = torch.ones(2, 10, 10, dtype=torch.bool)
    data[:, :, 0] = False
    assert windows.plain is not None
    low = tree_filter(logits.softmax(dim=1), windows.plain / 255, data, 0.02)
    differences = (logits.softmax(dim=1) - tree_filter(low, embedded, data)).abs().sum(dim=1)
    assert found.item() == pytest.approx(differences[:, 5:, 1:].mean().item(), rel=1e-5)


def test_cells_average_their_pixels_and_leave_out_those_that_lack_data() -> None:
    cells = Cells.of(some_windows(), 4, 0.0, 255.0)
    assert cells.size == (3, 3)
    assert cells.holds_data[0].tolist() == [[False, True, True]] * 3
    assert cells.unlabelled[0].tolist() == [[0, 0, 0], [0, 0.75, 0.75], [0, 1, 1]]
    plain = some_windows().plain
    assert plain is not None
    torch.testing.assert_close(cells.image[:, :, 1, 1], plain[:, :, 4:8, 4:8].mean(dim=(2, 3)) / 255)
    torch.testing.assert_close(cells.image[:, :, 2, 2], plain[:, :, 8:, 8:].mean(dim=(2, 3)) / 255)


def test_as_many_bands_of_equal_values_give_the_same_loss() -> None:
    windows = some_windows()
    assert windows.plain is not None
    gray = windows.plain[:, :1]
    logits, embedded = torch.randn(2, 4, 10, 10), torch.rand(2, 5, 10, 10)
    losses = [
        Cells.of(LabelledWindows(gray, windows.labels, unlabelled=windows.unlabelled, plain=bands), 1, 0.0, 255.0)
        .energy(logits, embedded, 0.02)
        .item()
        for bands in (gray, gray.expand(-1, 3, -1, -1), gray.expand(-1, 12, -1, -1))
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_equal_probabilities_everywhere_have_no_loss() -> None:
    logits = torch.randn(2, 4, 1, 1).expand(2, 4, 10, 10)
    found = Cells.of(some_windows(), 2, 0.0, 255.0).energy(logits, torch.rand(2, 5, 5, 5), 0.02)
    assert found.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("label", [None, IGNORE])
def test_without_pixels_that_lack_a_label_alone_the_loss_is_that_of_supervised_training(label: int | None) -> None:
    losses = {}
    for method in ("supervised", "tree_energy"):
        setup = make_setup(method)
        losses[method] = step(make_method(setup), a_batch(label))
        losses[method].value.backward()
        assert all(parameter.grad is not None for parameter in setup.network.parameters())
    assert losses["tree_energy"].value.item() == losses["supervised"].value.item()
    assert losses["tree_energy"].figures["tree"] == 0
    assert losses["tree_energy"].figures["without_label"] == 0


def test_network_and_embedding_learn_from_pixels_without_a_label() -> None:
    setup = make_setup({"name": "tree_energy", "weight": 2}, UNET)
    method = make_method(setup)
    loss = step(method, a_batch(UNLABELLED))
    loss.value.backward()
    assert loss.figures["labelled"].item() == pytest.approx(0, abs=1e-6)
    assert loss.value.item() == pytest.approx(2 * loss.figures["tree"].item(), rel=1e-5)
    assert loss.figures["without_label"] == 1
    for parameter in (*setup.network.parameters(), *method.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


# -------------------------------------------------------------------------------------------------------- the features


class Halved(Body):
    """A network that takes multiples of 8 pixels, and whose decoder halves them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.upsampling = nn.Upsample(scale_factor=2.0)

    head = property(lambda self: self.upsampling)
    channels = property(lambda self: 3)
    stages = property(lambda self: (3,))
    sides = property(lambda self: Sides(8))

    def encode(self, image: torch.Tensor) -> Features:
        return Features([image])

    def decode(self, features: Features) -> torch.Tensor:
        return functional.avg_pool2d(features.maps[0], 2)


def test_features_are_those_of_the_head_without_the_padding_of_windows() -> None:
    body, image = Halved(), torch.rand(3, 3, 30, 38)
    decoded = DecodedFeatures(body)
    body(image)
    assert torch.equal(decoded.take(2, image.shape[-2:]), functional.avg_pool2d(image, 2)[:2])
    with pytest.raises(RuntimeError, match="no features"):
        decoded.take(2, image.shape[-2:])


def test_nothing_is_kept_of_a_network_that_is_scored() -> None:
    body = Halved()
    decoded = DecodedFeatures(body)
    with torch.no_grad():
        body(torch.rand(1, 3, 8, 8))
    body.eval()(torch.rand(1, 3, 8, 8))
    with pytest.raises(RuntimeError, match="no features"):
        decoded.take(1, (8, 8))


@pytest.mark.parametrize("name", [buildable(name) for name in ("unet", "fcn8s", "ddrnet23", "segmenter", "maskformer")])
def test_networks_of_all_kinds_give_features(name: str) -> None:
    example = family_of(NetworkSpec(architecture=name)).example(name)
    method = make_method(make_setup({"name": "tree_energy", "channels": 8}, example, side=64))
    batch = a_batch(side=64)
    batch[LABELLED].labels[:, 8:] = UNLABELLED
    step(method, batch).value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.get_submodule("embedding").parameters())


# ---------------------------------------------------------------------------------------------------------------- runs


def write_points(folder: Path) -> None:
    """Tiles with labels of two short lines alone on the training side."""
    write_tiles(folder)
    with rasterio.open(folder / "train_labels.tif", "r+") as labels:
        values = labels.read(1)
        values[:18], values[20:] = 255, 255
        values[:, 10:38] = 255
        labels.write(values, 1)


def test_a_run_shows_the_parts_of_its_loss_and_is_resumed_exactly(tmp_path: Path) -> None:
    write_points(tmp_path)
    check_resuming(write_config(tmp_path, method={"name": "tree_energy", "stride": 2, "channels": 4}), tmp_path)
    rows = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(last["tree"]) > 0
    assert float(last["labelled"]) > 0
    assert 0.5 < float(last["without_label"]) < 1


@pytest.mark.parametrize(
    "branch",
    [
        {"context": {"levels": [{"ratio": 4, "size": 32}], "channels": 4, "network": {"architecture": "pointwise"}}},
        {"refine": {"ratios": [2, 4], "channels": 8}},
    ],
)
def test_networks_that_see_more_than_windows_learn_from_these(tmp_path: Path, branch: dict[str, Any]) -> None:
    write_points(tmp_path)
    figures: list[dict[str, float]] = []

    def keep(state: Any) -> None:
        if isinstance(state, TrainProgress) and state.scores is not None:
            figures.append(dict(state.figures))

    config = write_config(tmp_path, method={"name": "tree_energy", "channels": 4}, tile=32, overlap=8, **branch)
    train(config, tmp_path / "run", epochs=1, reporter=Watching(keep))
    assert figures[0]["tree"] > 0


def test_frozen_features_are_refused_before_training(tmp_path: Path) -> None:
    write_points(tmp_path)
    refine = {"ratios": [2, 4], "channels": 8}
    first = train(write_config(tmp_path, refine=refine, tile=32, overlap=8), tmp_path / "first", epochs=1).bundle
    config = write_config(
        tmp_path,
        method="tree_energy",
        refine=refine | {"freeze_local": True},
        init_from=str(first),
        tile=32,
        overlap=8,
    )
    with pytest.raises(SpecError, match=r"features .* are frozen in this run: set freeze_local to false"):
        train(config, tmp_path / "run")


# -------------------------------------------------------------------------------------------------------------- points


def shaded(seed: int, side: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (3, S, S), labels (S, S) of three points for each class, and the classes of all pixels.

    The third band shows the class. The first one, a light from the right, varies twice as much; all points of one class
    lie in its shadow, and all points of the other in its light.
    """
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.normal(size=(1, 1, side + 24, side + 24)))
    smooth = functional.avg_pool2d(noise, 25, stride=1)[0, 0].numpy()
    classes = (smooth > np.median(smooth)).astype(np.uint8)
    columns = np.broadcast_to(np.arange(side), (side, side))
    image = np.stack([40 + 160 * columns / side, np.full((side, side), 90), 60 + 80 * classes])
    labels = np.full((side, side), UNLABELLED, np.uint8)
    for index, part in enumerate((columns < side / 3, columns >= 2 * side / 3)):
        places = np.argwhere((classes == index) & part)
        for row, col in places[rng.choice(len(places), 3, replace=False)]:
            labels[row, col] = index
    return (image + rng.normal(0, 3, image.shape)).round().astype(np.uint8), labels, classes


def trained_miou(method: Any, seed: int) -> float:
    """mIoU of four shaded images, after a classifier of single pixels has learnt from their points."""
    image, labels, classes = (np.stack(parts) for parts in zip(*(shaded(10 * seed + i) for i in range(4)), strict=True))
    batch = {LABELLED: WindowBatch(torch.from_numpy(image), torch.from_numpy(labels))}
    setup = make_setup(method, side=64, loss={"cross_entropy": 1, "dice": 0})
    trained = make_method(setup)
    optimizer = torch.optim.AdamW([*setup.network.parameters(), *trained.parameters()], lr=0.02)
    for _ in range(100):
        loss = step(trained, batch)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
    found = setup.network(torch.from_numpy(image).float()).argmax(dim=1).numpy()
    shares = [((found == k) & (classes == k)).sum() / ((found == k) | (classes == k)).sum() for k in (0, 1)]
    return float(np.mean(shares))


@pytest.mark.parametrize("seed", [0, 1])
def test_points_teach_more_with_tree_energy_than_alone(seed: int) -> None:
    """Objects that are partly in light and partly in shadow join the two; points alone are explained by the light."""
    tree = {"name": "tree_energy", "weight": 2, "stride": 2, "channels": 16}
    assert trained_miou(tree, seed) > trained_miou("supervised", seed) + 0.05
