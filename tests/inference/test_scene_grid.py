"""Classes of a scene that the network sees at another resolution: on the scene's own grid, without stairs or seams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from support.executors import Apart
from support.models import make_spec
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.inference.windows import bounded, make_grid
from geoseg.models.model import Model
from geoseg.spec import ClassifySpec

QUICK: dict[str, Any] = {"polygons": False, "stac": False, "device": "cpu"}
FINE = Affine(0.15, 0, 3e5, 0, -0.15, 4.3e6)


class Contrast(torch.nn.Module):
    """Two classes: the brighter a pixel, the likelier the second."""

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        light = (image[:, :1] - 127.5) / 10
        return torch.cat([-light, light], dim=1)


def contrast_model(resolution_m: float = 0.6) -> Model:
    return Model(make_spec(2, resolution_m=resolution_m), Contrast().eval())


def classify(scene: Path, out: Path, **settings: Any) -> np.ndarray:
    result = predict(scene, out, model=contrast_model(), **{"preview": False} | QUICK | settings)
    with rasterio.open(result.paths["landcover"]) as raster:
        return raster.read(1)


def half_plane(size: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """An image with a straight edge, its pixels shaded by the area on the bright side; and the edge's row by column."""
    fine = (np.arange(8 * size) + 0.5) / 8
    edge = 0.3 * size + slope * fine
    bright = fine[:, None] > edge
    shaded = bright.reshape(size, 8, size, 8).mean(axis=(1, 3))
    return np.rint(255 * shaded).astype(np.uint8), 0.3 * size + slope * (np.arange(size) + 0.5)


@pytest.mark.parametrize("slope", [0.37, -0.21, 1 / 3])
@pytest.mark.parametrize("tile", [32, 512])
def test_a_straight_edge_has_no_stairs_of_the_models_pixels(tmp_path, slope, tile):
    """It stays within a pixel of the scene, a quarter of the model's; classes taken as they are would be two off."""
    image, edge = half_plane(240, slope)
    classes = classify(write_raster(tmp_path / "s.tif", image, transform=FINE), tmp_path, tile=tile)
    first = 240 - classes.sum(axis=0)
    inside = (edge > 8) & (edge < 232)
    assert np.abs(first - edge)[inside].max() <= 1
    assert np.abs((first - edge)[inside].mean()) < 0.1


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("size_m", [0.15, 0.23, 1.3])
@pytest.mark.parametrize("holes", [False, True])
def test_windows_leave_no_seam(tmp_path, size_m, holes):
    values = noise(330, 270)
    if holes:
        values[values == 0], values[90:200, 40:150] = 1, 0
        values[250:, :130] = 0
    scene = write_raster(
        tmp_path / "s.tif", values, transform=Affine(size_m, 0, 3e5, 0, -size_m, 4.3e6), nodata=0 if holes else None
    )
    whole = classify(scene, tmp_path / "whole", tile=2048)
    pieces = classify(scene, tmp_path / "pieces", tile=32, overlap=8)
    assert (whole != pieces).mean() < 1e-4  # sums in another order
    np.testing.assert_array_equal(whole == 255, values == 0 if holes else np.zeros_like(holes))


@pytest.mark.parametrize(("ratio", "tile"), [(1, 1024), (4, 1024), (8, 1024), (16, 512), (60, 256)])
def test_windows_get_smaller_where_each_stands_for_many_pixels_of_the_scene(ratio, tile):
    model = bounded(make_spec(), ratio)
    assert make_grid(9000, 9000, model).tile == tile
    assert make_grid(9000, 9000, model, ClassifySpec(tile=2048)).tile == 2048


def test_without_overlap_every_pixel_has_its_class(tmp_path):
    scene = write_raster(tmp_path / "s.tif", noise(200, 200), transform=FINE)
    whole = classify(scene, tmp_path / "whole", tile=2048)
    assert (whole != classify(scene, tmp_path / "pieces", tile=32, overlap=0)).mean() < 0.1


def test_workers_that_share_a_scene_find_the_same_classes(tmp_path):
    scene = write_raster(tmp_path / "s.tif", noise(700, 300), transform=FINE)
    alone = classify(scene, tmp_path / "alone", tile=32, overlap=8)
    shared = classify(scene, tmp_path / "shared", tile=32, overlap=8, scheduler=Apart())
    np.testing.assert_array_equal(alone, shared)


def test_the_preview_is_as_sharp_as_the_scene(tmp_path):
    values = np.full((400, 400), 20, np.uint8)
    values[:, ::2] = 220
    scene = write_raster(tmp_path / "s.tif", values, transform=FINE)
    from PIL import Image

    predict(scene, tmp_path, model=contrast_model(), tile=64, **QUICK)
    picture = np.asarray(Image.open(tmp_path / "s_landcover.png").convert("L"), int)
    row = picture[picture.shape[0] // 3]
    assert np.abs(np.diff(row)).max() > 150
