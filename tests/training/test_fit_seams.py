"""What seams between windows do to classes, as training measures it, is what they do in a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from scipy.ndimage import gaussian_filter
from support.labelled_tiles import write_config, write_tile
from support.models import make_spec
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.commands.soup import soup
from geoseg.commands.train import train
from geoseg.core.events import SILENT
from geoseg.geo.grid import Window
from geoseg.inference.sparing_grids import changed_share
from geoseg.inference.windows import BORDER, make_grid
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.spec import ClassifySpec, NetworkSpec, NormalizationSpec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.run.fit_seams import SQUARES, fit_seams
from geoseg.training.windows.random_windows import LabelledCells


@dataclass
class Raster:
    """Values (C, h, w) in memory, all of them valid."""

    values: np.ndarray

    @property
    def height(self) -> int:
        return self.values.shape[1]

    @property
    def width(self) -> int:
        return self.values.shape[2]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = window.slices
        return self.values[:, rows, cols].copy(), np.ones((window.height, window.width), bool)


def side(*rasters: Raster) -> SplitSide:
    """Rasters with a labelled cell each 64 pixels."""
    places = [
        (number, row, col)
        for number, raster in enumerate(rasters)
        for row in range(0, raster.height, 64)
        for col in range(0, raster.width, 64)
    ]
    cells = LabelledCells(np.array(places), np.ones((len(places), 2), np.int64))
    return SplitSide(rasters, cells, len(rasters))  # type: ignore[arg-type]


def blobs(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(1, height, width))
    smooth = sum(gaussian_filter(noise, (0, size, size)) * size for size in (2, 6))
    return np.clip(128 + 60 * smooth, 0, 255).astype(np.uint8)


def network(architecture: str, encoder: str = "resnet18", **arguments: object) -> Model:
    torch.manual_seed(2)
    spec = make_spec(
        4,
        network=NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments, multiple=32),
        normalization=NormalizationSpec(mean=(128.0,), std=(60.0,)),
    )
    return Model(spec, build_network(spec).eval())


def test_a_network_without_surroundings_has_no_seams() -> None:
    spec = make_spec(4)
    found = fit_seams(Model(spec, build_network(spec).eval()), side(Raster(blobs(600, 700))), "cpu", SILENT).spec.seams
    assert found is not None
    assert found.changed == (0,) * 5
    assert found.pixels == SQUARES * 512


def test_a_convolutional_network_changes_what_a_prediction_in_windows_changes(tmp_path: Path) -> None:
    model = network("unet", encoder_depth=3, decoder_channels=[16, 16, 16])
    values = blobs(1000, 1100)
    known = fit_seams(model, side(Raster(values)), "cpu", SILENT).spec.seams
    assert known is not None
    assert known.changed[0] > known.changed[1] > known.changed[4]
    scene = write_raster(tmp_path / "scene.tif", values)
    settings = ClassifySpec(tile=256, overlap=32)
    result = predict(
        scene, tmp_path, model=model, tile=256, overlap=32, precision="fp32", device="cpu", polygons=False,
        preview=False, stac=False,
    )  # fmt: skip
    padded = np.pad(values, ((0, 0), (BORDER, BORDER + 24), (BORDER, BORDER + 20)), mode="reflect")
    with torch.inference_mode():
        whole = model.module(torch.from_numpy(padded).float()[None])[0].argmax(dim=0).numpy()
    with rasterio.open(result.paths["landcover"]) as raster:
        differs = (raster.read(1) != whole[BORDER : BORDER + 1000, BORDER : BORDER + 1100]).mean()
    expected = changed_share(make_grid(1000, 1100, model.spec, settings), known)
    assert 0.6 * expected < differs < 1.4 * expected


@pytest.mark.parametrize("height", [255, 100])
def test_nothing_is_said_of_small_rasters(height: int) -> None:
    model = network("unet", encoder_depth=3, decoder_channels=[16, 16, 16])
    assert fit_seams(model, side(Raster(blobs(height, 900))), "cpu", SILENT).spec.seams is None


def test_a_network_that_sees_whole_windows_keeps_its_own() -> None:
    model = network("pspnet", encoder_depth=3)
    assert fit_seams(model, side(Raster(blobs(600, 700))), "cpu", SILENT).spec.seams is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiles of 260 pixels, a config, and the bundle of a run."""
    folder = tmp_path_factory.mktemp("seams")
    lines = ["image,label,split"]
    for number, split in enumerate(("train", "val")):
        values = blobs(260, 300)
        write_tile(folder / f"{split}.tif", np.repeat(values, 3, axis=0), left=1000.0 * number)
        write_tile(folder / f"{split}_labels.tif", np.where(values > 128, 9, 3).astype(np.uint8), left=1000.0 * number)
        lines.append(f"{split}.tif,{split}_labels.tif,{split}")
    (folder / "tiles.csv").write_text("\n".join(lines))
    config = write_config(folder, epochs=1)
    return train(config, folder / "run", device="cpu").bundle, config


def test_training_and_soups_say_what_seams_do(trained: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, config = trained
    known = load_model(bundle).spec.seams
    assert known is not None
    assert known.overlaps == (32, 64, 96, 128, 192)
    other = train(config, tmp_path / "other", device="cpu", init_from=bundle, seed=1).bundle
    made = soup([bundle, other], tmp_path / "soup.safetensors", config=config, device="cpu")
    assert load_model(made.bundle).spec.seams == known  # of a pointwise network: no pixel
    assert load_model(soup([bundle, other], tmp_path / "blind.safetensors").bundle).spec.seams is None
