"""Sources with different legends train one model: where labels stand for several classes, these are learnt together."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from support.rasters import TRANSFORM, write_raster
from support.reporters import Heard
from torch import nn

from geoseg.commands.tile import tile
from geoseg.geo.grid import Window
from geoseg.losses.combined import SegmentationLoss
from geoseg.spec import IGNORE, LossSpec, TrainSpec, parse_spec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.windows.random_windows import Sampling, TrainingWindows

NAMES = ("grass", "building", "road")
COLOURS = np.array([[40, 180], [200, 60], [120, 120]])
"""Values of both bands for each class."""
BUILT = 3
"""Index of the set of building and road."""


def write(folder: Path, name: str, *, built: bool, seed: int, grass: float = 0.4) -> tuple[str, str]:
    """An image of 64 x 64 px with squares of classes, and its labels, in which 9 stands for building and road."""
    rng = np.random.default_rng(seed)
    other = (1 - grass) / 2
    classes = np.kron(rng.choice(3, (8, 8), p=[grass, other, other]), np.ones((8, 8), int))
    values = COLOURS[classes].transpose(2, 0, 1) + rng.normal(0, 12, (2, 64, 64))
    apart = TRANSFORM @ Affine.translation(1000 * seed, 0)
    write_raster(folder / f"{name}.tif", values.clip(0, 255).astype(np.uint8), transform=apart)
    labels = np.where(classes > 0, 9, 0) if built else classes
    write_raster(folder / f"{name}_l.tif", labels.astype(np.uint8), nodata=255, transform=apart)
    return f"{name}.tif", f"{name}_l.tif"


def spec_of(folder: Path, rows: str, **split: Any) -> TrainSpec:
    (folder / "tiles.csv").write_text(rows)
    data = {
        "tiles": str(folder / "tiles.csv"),
        "bands": ["one", "two"],
        "band_indexes": [1, 2],
        "legends": {"coarse": {"label_values": {0: "grass", 9: ["building", "road"]}}},
    }
    values = {
        "name": "test",
        "data": data | ({"split": split} if split else {}),
        "classes": [{"id": index, "name": name, "color": "#000000"} for index, name in enumerate(NAMES)],
        "network": {"architecture": "pointwise"},
        "window": 32,
        "augment": {"warp": 0},
    }
    return parse_spec(TrainSpec, values, source="test")


def read(folder: Path, heard: Heard | None = None, **options: Any) -> TrainingData:
    """Two images of the coarse legend, one for training and one for validation, and two with all classes."""
    rows = ["image,label,split,legend"]
    for number, (built, split) in enumerate([(True, "train"), (True, "val"), (False, "train"), (False, "val")]):
        pair = write(folder, f"i{number}", built=built, seed=number)
        rows.append(",".join((*pair, split, "coarse" if built else "")))
    return read_training_data(spec_of(folder, "\n".join(rows)), reporter=heard or Heard(), **options)


def labels_of(side: SplitSide) -> np.ndarray:
    return np.concatenate([one.read_labels(Window(0, 0, one.height, one.width)).ravel() for one in side.rasters])


def test_sets_are_learnt_and_in_no_score_and_no_count(tmp_path: Path) -> None:
    heard = Heard()
    data = read(tmp_path, heard)
    train, val = labels_of(data.train), labels_of(data.val)
    partial = int((train == BUILT).sum())
    assert partial == data.train.cells.partial.sum() > 1000
    np.testing.assert_array_equal(data.train.class_counts, np.bincount(train[train < BUILT], minlength=3))
    np.testing.assert_array_equal(data.val.class_counts, np.bincount(val[val < BUILT], minlength=3))
    assert set(np.unique(val).tolist()) == {0, 1, 2, IGNORE}
    share = (partial + data.val.cells.partial.sum()) / (4 * 64 * 64)
    assert f"{share:.1%} of the labelled pixels are of one of several classes (building or road)" in heard.lines[0]
    scored = read(tmp_path, only="train").train
    assert set(np.unique(labels_of(scored)).tolist()) == {0, 1, 2, IGNORE}


def test_pixels_whose_label_is_a_set_count_in_the_statistics_of_bands(tmp_path: Path) -> None:
    data = read(tmp_path)
    values = np.concatenate(
        [one.read(Window(0, 0, one.height, one.width))[0].reshape(2, -1) for one in data.train.rasters], axis=1
    )
    np.testing.assert_allclose(data.normalization.mean, values.mean(axis=1), rtol=1e-4)


def test_an_image_with_nothing_but_sets_is_learnt_from_and_never_kept_for_validation(tmp_path: Path) -> None:
    rows = ["image,label,legend"]
    for number in range(6):
        pair = write(tmp_path, f"i{number}", built=number < 3, seed=number, grass=0.0 if number < 3 else 0.4)
        rows.append(",".join((*pair, "coarse" if number < 3 else "")))
    data = read_training_data(spec_of(tmp_path, "\n".join(rows), by="random", val_share=0.4))
    assert (labels_of(data.train) == BUILT).sum() == 3 * 64 * 64
    assert {data.train.images, data.val.images} == {5, 1} or {data.train.images, data.val.images} == {4, 2}
    windows = TrainingWindows(
        data.train.rasters, data.train.cells, Sampling(32, 32, 60, 0.0, 0), data.normalization.mean
    )
    shown = [(windows[index][1] == BUILT).all() for index in range(60)]
    assert 0.3 < np.mean(shown) < 0.9  # drawn by area, as any labelled pixels are


def pixels_of(side: SplitSide) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, C) and labels (N,) of all pixels of a side."""
    wholes = [(one, Window(0, 0, one.height, one.width)) for one in side.rasters]
    values = [one.read(whole)[0].reshape(2, -1).T for one, whole in wholes]
    return np.concatenate(values), labels_of(side)


def test_a_network_learns_all_classes_of_two_legends(tmp_path: Path) -> None:
    data = read(tmp_path)
    (values, labels), (unseen, truth) = pixels_of(data.train), pixels_of(data.val)
    is_full = (np.arange(len(labels)) % 40 == 0) | (labels == BUILT)  # of the other legend few pixels, and no grass
    labels = np.where(is_full & ((labels > 0) | (np.arange(len(labels)) < 64 * 64)), labels, IGNORE)
    mean, std = np.array(data.normalization.mean), np.array(data.normalization.std)

    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((image - mean) / std).float().T[None, :, :, None]

    torch.manual_seed(0)
    network = nn.Conv2d(2, 3, kernel_size=1)
    loss = SegmentationLoss(LossSpec(cross_entropy=1, dice=0), [1, 1, 1], ((1, 2),))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(network(tensor(values)), torch.from_numpy(labels.astype(np.int64))[None, :, None]).backward()
        optimizer.step()
    found = network(tensor(unseen)).argmax(dim=1).ravel().numpy()
    for index in range(3):
        assert (found == index)[truth == index].mean() > 0.95


def test_tiles_leave_sets_out(tmp_path: Path) -> None:
    read(tmp_path)
    spec = spec_of(tmp_path, (tmp_path / "tiles.csv").read_text())
    tile(spec, tmp_path / "tiles", size=64)
    for path in (tmp_path / "tiles" / "labels").glob("*.tif"):
        with rasterio.open(path) as dataset:
            assert set(np.unique(dataset.read(1)).tolist()) <= {0, 1, 2, 255}
