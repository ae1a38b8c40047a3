import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rasters import write_raster

from geoseg.geo.grid import Window
from geoseg.raster.resample import ResampledScene
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands


@pytest.fixture
def open_scene(tmp_path):
    opened = []

    def make(values, **profile):
        scene = Scene.open(write_raster(tmp_path / f"{len(opened)}.tif", values, **profile))
        scene = SceneBands.select(scene, range(1, ((values.ndim == 3 and len(values)) or 1) + 1))
        opened.append(scene)
        return scene

    yield make
    for scene in opened:
        scene.__exit__()


def whole(source):
    return source.read(Window(0, 0, source.height, source.width))


def area_average(values, height, width):
    """Average by brute force on a grid fine enough that every edge falls on it."""
    h, w = values.shape
    fine = np.kron(values.astype(float), np.ones((height, width)))
    return fine.reshape(height, h, width, w).mean(axis=(1, 3))


@pytest.mark.parametrize(("height", "width"), [(10, 15), (7, 11), (1, 1), (20, 30), (13, 30)])
def test_coarser_is_the_exact_area_average(open_scene, height, width):
    values = np.random.default_rng(1).integers(0, 255, (20, 30)).astype(np.uint8)
    image, valid = whole(ResampledScene(open_scene(values), height, width))
    np.testing.assert_allclose(image[0], area_average(values, height, width), atol=1e-3)
    assert valid.all()


@pytest.mark.parametrize("size", [101, 333, 997, 2500])
def test_a_ramp_stays_in_place(open_scene, size):
    """Coordinates come back at the pixels' centres, whatever the ratio, to 2e-3 of a pixel."""
    ramp = np.tile(np.arange(1000, dtype=np.float32), (4, 1))
    image, _ = whole(ResampledScene(open_scene(ramp), 4, size))
    centres = (np.arange(size) + 0.5) * 1000 / size - 0.5
    np.testing.assert_allclose(image[0, 0], np.clip(centres, 0, 999), atol=2e-3 * max(1, 1000 / size))


def test_missing_pixels_do_not_bleed_into_the_average(open_scene):
    values = np.full((8, 8), 100, np.uint16)
    values[:4, :5] = 9999
    image, valid = whole(ResampledScene(open_scene(values, nodata=9999), 4, 4))
    np.testing.assert_allclose(image[0][valid], 100)
    np.testing.assert_array_equal(valid[0], [False, False, True, True])


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 60), st.integers(3, 60), st.integers(1, 120), st.integers(1, 120), st.integers(0, 99))
def test_windows_equal_the_whole_and_lead_back_to_every_pixel_once(native_h, native_w, height, width, cut):
    class Plain:
        height, width = native_h, native_w
        bands = (1,)
        has_wide_blocks = False
        values = np.random.default_rng(0).random((1, native_h, native_w)).astype(np.float32)

        def read(self, window):
            return self.values[:, *window.slices], np.ones((window.height, window.width), bool)

    source = ResampledScene(Plain(), height, width)
    image, _ = whole(source)
    row, col = cut * height // 100, cut * width // 100
    covered = np.zeros((native_h, native_w), int)
    for window in (
        Window(0, 0, row, col), Window(0, col, row, width - col),
        Window(row, 0, height - row, col), Window(row, col, height - row, width - col),
    ):  # fmt: skip
        covered[source.scene_window(window).slices] += 1
        if window.pixels:
            np.testing.assert_allclose(source.read(window)[0], image[:, *window.slices], atol=1e-5)
    assert (covered == 1).all()


class Empty:
    """A scene of a size."""

    bands = (1,)
    has_wide_blocks = False

    def __init__(self, height, width):
        self.height, self.width = height, width


def on_scene(source, logits, valid, window):
    """Logits of a window with its lap, on the scene's pixels."""
    lapped = Window(window.row, window.col, window.height + 1, window.width + 1).clip(source.height, source.width)
    bands = list(source.to_scene(logits[:, *lapped.slices], valid[lapped.slices], window))
    assert [band.row for band, _ in bands] == sorted(band.row for band, _ in bands)
    return source.scene_window(window), torch.cat([found for _, found in bands], dim=1)


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 60), st.integers(3, 60), st.integers(1, 90), st.integers(1, 90), st.integers(0, 99))
def test_logits_are_linear_between_the_centres_of_pixels_whatever_the_windows(native_h, native_w, height, width, cut):
    """A plane of logits comes back as the same plane on the scene's pixels, half-pixel exact, flat beyond the frame."""
    source = ResampledScene(Empty(native_h, native_w), height, width)
    rows, cols = (torch.arange(n) + 0.5 for n in (height, width))
    logits = torch.stack([torch.zeros(height, width), rows[:, None] * 0.1 - cols * 0.05])
    valid = torch.ones(height, width, dtype=bool)
    y, x = ((torch.arange(n) + 0.5) * m / n for n, m in ((native_h, height), (native_w, width)))
    expected = y.clamp(0.5, height - 0.5)[:, None] * 0.1 - x.clamp(0.5, width - 0.5) * 0.05
    row, col = cut * height // 100, cut * width // 100
    found = torch.full((native_h, native_w), torch.nan)
    for window in (
        Window(0, 0, row, col), Window(0, col, row, width - col),
        Window(row, 0, height - row, col), Window(row, col, height - row, width - col),
    ):  # fmt: skip
        if window.pixels:
            native, part = on_scene(source, logits, valid, window)
            found[native.slices] = part[1] - part[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_pixels_without_data_do_not_count_on_the_way_back():
    source = ResampledScene(Empty(4, 12), 2, 6)
    logits = torch.zeros(2, 2, 6)
    logits[1, :, :3], logits[:, :, 3:] = 5.0, torch.nan
    valid = torch.zeros(2, 6, dtype=bool)
    valid[:, :3] = True
    native, found = on_scene(source, logits, valid, Window(0, 0, 2, 6))
    assert (native.height, native.width) == (4, 12)
    assert (found[1, :, :6] > found[0, :, :6]).all()


def test_the_logarithm_of_0_counts_as_a_very_low_logit():
    source = ResampledScene(Empty(1, 8), 1, 2)
    logits = torch.tensor([[[0.0, -torch.inf]], [[-torch.inf, 0.0]]])
    _, found = on_scene(source, logits, torch.ones(1, 2, dtype=bool), Window(0, 0, 1, 2))
    assert found.argmax(dim=0)[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.isfinite().all()
