"""Every registered way to match values keeps its contract, and is what its definition says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.rasters import write_raster

from geoseg.core.errors import SpecError
from geoseg.geo.grid import Window
from geoseg.raster.curves import Curve, Curves
from geoseg.raster.distributions import MOST_PX, Distribution, find_distributions
from geoseg.raster.matchings import MATCHINGS
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import Mask, Values

every = pytest.mark.parametrize("name", MATCHINGS.names)
RANDOM = np.random.default_rng(0)


def of(values: np.ndarray) -> Distribution:
    """The distribution of some values of a type."""
    dtype = values.dtype.name
    return find_distributions(Held(values.reshape(1, 1, -1)), dtype)[0]


class Held:
    """Bands in memory, which count the pixels that are read."""

    has_wide_blocks = False

    def __init__(self, values: np.ndarray, valid: np.ndarray | None = None):
        self.values, self.valid, self.read_px = values, valid, 0
        self.bands = tuple(range(1, len(values) + 1))
        _, self.height, self.width = values.shape

    def read(self, window: Window) -> tuple[Values, Mask]:
        self.read_px += window.pixels
        held = np.ones((window.height, window.width), bool) if self.valid is None else self.valid[window.slices]
        return self.values[:, *window.slices].copy(), held.copy()


class Endless:
    """One band of any size, of which no value lies in memory; data may be in the upper left corner only."""

    bands = (1,)

    def __init__(self, height: int, width: int, *, has_wide_blocks: bool = False, corner: int | None = None):
        self.height, self.width, self.has_wide_blocks, self._corner = height, width, has_wide_blocks, corner
        self.windows: list[Window] = []

    def read(self, window: Window) -> tuple[Values, Mask]:
        assert window == window.clip(self.height, self.width)
        assert window.pixels <= max(2**18, self.width * self.has_wide_blocks)
        self.windows.append(window)
        rows, cols = np.mgrid[window.slices]
        valid = np.ones(rows.shape, bool) if self._corner is None else (rows < self._corner) & (cols < self._corner)
        return ((rows + cols) % 256).astype(np.uint8)[None], valid


@every
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_values_that_are_those_of_the_reference_stay(name: str, dtype: str) -> None:
    values = RANDOM.normal(100, 20, 5000).clip(0, 255).astype(dtype)
    curve = MATCHINGS.get(name).curve(of(values), of(values))
    np.testing.assert_allclose(curve.apply(values), values, rtol=1e-3 if dtype == "float32" else 1e-6, atol=1e-6)


@every
def test_gain_and_offset_are_undone(name: str) -> None:
    reference = RANDOM.normal(100, 20, 20_000).clip(0, 255).round().astype(np.uint16)
    seen = reference * np.uint16(30) + np.uint16(1000)
    found = MATCHINGS.get(name).curve(of(seen), of(reference)).apply(seen)
    np.testing.assert_allclose(found, reference, atol=1e-3)


@every
def test_order_and_the_limits_of_the_reference_are_kept(name: str) -> None:
    seen, reference = RANDOM.gamma(2, 900, 9000).astype(np.uint16), RANDOM.normal(240, 30, 9000).clip(0, 255)
    curve = MATCHINGS.get(name).curve(of(seen), of(reference.astype(np.uint8)))
    every_value = curve.apply(np.arange(65536))
    assert (np.diff(every_value) >= 0).all()
    assert every_value.min() >= 0
    assert every_value.max() <= 255


@every
def test_a_band_of_one_value_becomes_one_of_the_reference(name: str) -> None:
    reference = RANDOM.normal(100, 20, 5000).clip(0, 255).astype(np.uint8)
    found = MATCHINGS.get(name).curve(of(np.full(9, 7, np.uint8)), of(reference)).apply(np.array([7]))
    assert found[0] == pytest.approx(np.mean(reference), abs=2)


def test_histogram_undoes_any_rising_curve_and_moments_only_a_line() -> None:
    reference = RANDOM.normal(100, 20, 50_000).clip(1, 255).round().astype(np.uint8)
    seen = (((reference / 255) ** 2.2) * 65535).astype(np.uint16)
    errors = {
        name: np.abs(MATCHINGS.get(name).curve(of(seen), of(reference)).apply(seen) - reference).mean()
        for name in ("histogram", "moments")
    }
    assert errors["histogram"] < 1e-3 < 1 < errors["moments"]


def test_an_unknown_way_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'histogram'"):
        MATCHINGS.get("histogramm")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_small_types_are_counted_exactly(dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = RANDOM.integers(limits.min, limits.max, 3000, endpoint=True).astype(dtype)
    found, (own, counts) = of(values), np.unique(values, return_counts=True)
    np.testing.assert_array_equal(found.values, own)
    np.testing.assert_array_equal(found.counts, counts)
    assert found.limits == (limits.min, limits.max)


def test_other_types_are_counted_in_narrow_bins_of_the_right_order() -> None:
    values = np.concatenate([RANDOM.normal(0, 3, 4000), RANDOM.normal(0, 1e-3, 4000), [0, -0.0]]).astype(np.float32)
    found = of(values)
    assert found.counts.sum() == len(values)
    assert (np.diff(found.values) > 0).all()
    assert found.mean == pytest.approx(values.mean(dtype=float))
    assert found.deviation == pytest.approx(values.std(dtype=float), rel=1e-3)


def test_pixels_without_data_are_left_out(tmp_path: Path) -> None:
    values = RANDOM.integers(1, 200, (2, 40, 50)).astype(np.uint16)
    values[:, :10] = 0
    valid = values[0] > 0
    path = write_raster(tmp_path / "s.tif", values, nodata=0)
    with Scene.open(path) as scene:
        found = find_distributions(SceneBands.select(scene, [1, 2]), "uint16")
    for band, one in zip(values, found, strict=True):
        np.testing.assert_array_equal(one.values, np.unique(band[valid]))
        assert one.counts.sum() == valid.sum()


@pytest.mark.parametrize("size", [(40_000, 50_000), (300, 2_000_000), (2_000_000, 300)])
@pytest.mark.parametrize("has_wide_blocks", [False, True])
def test_of_a_large_raster_spread_blocks_are_read_each_once(size: tuple[int, int], has_wide_blocks: bool) -> None:
    bands = Endless(*size, has_wide_blocks=has_wide_blocks)
    find_distributions(bands, "uint8")
    assert len(set(bands.windows)) == len(bands.windows)
    assert MOST_PX / 4 < sum(window.pixels for window in bands.windows) <= MOST_PX
    for start, stop, length in (
        (min(w.row for w in bands.windows), max(w.row + w.height for w in bands.windows), size[0]),
        (min(w.col for w in bands.windows), max(w.col + w.width for w in bands.windows), size[1]),
    ):
        assert start < 0.1 * length < 0.9 * length < stop


def test_a_large_raster_that_is_nearly_empty_is_read_as_a_whole() -> None:
    bands = Endless(12_000, 12_000, corner=200)
    (found,) = find_distributions(bands, "uint8")
    assert found.counts.sum() == 200**2


def test_a_table_gives_what_the_curve_gives() -> None:
    curve = Curve(np.array([-30000.0, 0, 20.5, 31000]), np.array([0.0, 5, 7, 90]))
    for dtype in ("uint8", "int16", "uint16"):
        limits = np.iinfo(dtype)
        image = RANDOM.integers(limits.min, limits.max, (2, 5, 6), endpoint=True).astype(dtype)
        found = Curves((curve, curve), dtype).apply(image)
        np.testing.assert_array_equal(found, np.stack([curve.apply(band) for band in image]))
        np.testing.assert_array_equal(found, Curves((curve, curve), "float32").apply(image))
