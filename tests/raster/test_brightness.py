"""A scene is as bright as the training imagery, or darker by a factor, whatever grows in it."""

import numpy as np
import pytest
from support.imagery import COLOURS, imagery

from geoseg.core.errors import SpecError
from geoseg.geo.grid import Window
from geoseg.raster.brightness import learn_brightness, rescale_for, sample_squares, unlike_brightness
from geoseg.raster.scaling import Rescaling
from geoseg.spec import BrightnessSpec, parse_spec

FACTORS = 0.5, 0.7, 1.3, 1.4


class Held:
    """Values that are all in memory."""

    def __init__(self, values: np.ndarray, valid: np.ndarray | None = None):
        self.values, self.valid = values, np.ones(values.shape[1:], bool) if valid is None else valid
        self.height, self.width = values.shape[1:]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        return self.values[:, *window.slices], self.valid[window.slices]


def squares_of(values: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    return sample_squares(Held(values, valid))


@pytest.fixture(scope="module")
def known() -> BrightnessSpec:
    found = learn_brightness([squares_of(imagery(px=256, seed=seed)) for seed in range(1, 25)], "uint8")
    assert found is not None
    return found


@pytest.mark.parametrize("kinds", [tuple(COLOURS), *((kind,) for kind in COLOURS)], ids="+".join)
@pytest.mark.parametrize("px", [256, 512])
def test_imagery_of_the_same_brightness_stays_as_it_is(known, kinds, px):
    assert unlike_brightness(squares_of(imagery(kinds, px)), known, "uint8") is None


@pytest.mark.parametrize("kinds", [tuple(COLOURS), *((kind,) for kind in COLOURS)], ids="+".join)
@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_is_found_in_woods_fields_and_water_alone(known, kinds, factor):
    found = unlike_brightness(squares_of(imagery(kinds, factor=factor)), known, "uint8")
    assert found == pytest.approx(factor, rel=0.12)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_rescale_restores_the_values_that_were_not_clipped(known, factor):
    changed = imagery(factor=factor)
    found = unlike_brightness(squares_of(changed), known, "uint8")
    assert found is not None
    restored = Rescaling.of(*rescale_for(found, "uint8"), 255.0).apply(changed)
    usual = imagery()
    assert np.median(restored[changed < 255] / np.maximum(usual[changed < 255], 1)) == pytest.approx(1, abs=0.1)


def test_clouds_over_a_third_and_gaps_do_not_change_the_estimate(known):
    values = imagery(factor=0.7)
    values[:, :170] = 235
    valid = np.ones(values.shape[1:], bool)
    valid[:, 300:] = False
    assert unlike_brightness(squares_of(values, valid), known, "uint8") == pytest.approx(0.7, rel=0.12)


def test_a_scene_of_few_pixels_with_data_is_sampled_more_closely(known):
    values, valid = imagery(px=1024, factor=0.7), np.zeros((1024, 1024), bool)
    valid[0:192, 0:192] = True
    assert unlike_brightness(squares_of(values, valid), known, "uint8") == pytest.approx(0.7, rel=0.12)
    valid[32:] = False
    assert unlike_brightness(squares_of(values, valid), known, "uint8") is None


@pytest.mark.parametrize(
    "values",
    [
        np.stack([imagery()[0], imagery()[0] // 4, imagery()[0] // 2]),
        np.concatenate([imagery(factor=0.5, px=256), imagery(factor=1.5, px=256)], axis=1),
        np.zeros((3, 512, 512), np.uint8),
        np.full((3, 512, 512), 255, np.uint8),
        imagery(factor=0.2),
    ],
    ids=["other colours", "half dark, half bright", "black", "white", "another unit"],
)
def test_what_cannot_be_compared_stays_as_it_is(known, values):
    assert unlike_brightness(squares_of(values), known, "uint8") is None


def test_training_imagery_that_varies_leaves_scenes_that_vary_as_much():
    random = np.random.default_rng(0)
    places = [squares_of(imagery(px=256, seed=seed, factor=np.exp(0.2 * random.normal()))) for seed in range(1, 25)]
    known = learn_brightness(places, "uint8")
    assert known is not None
    assert known.variation > 0.12
    assert unlike_brightness(squares_of(imagery(factor=0.75)), known, "uint8") is None


def test_four_bands_and_16_bits_are_compared_likewise():
    def wide(seed: int, factor: float = 1.0) -> np.ndarray:
        values = imagery(px=256, seed=seed).astype(np.float64)
        return np.rint(np.concatenate([values, values[1:2] * 1.7]) * 40 * factor).astype(np.uint16)

    known = learn_brightness([squares_of(wide(seed)) for seed in range(1, 25)], "uint16")
    assert known is not None
    assert unlike_brightness(squares_of(wide(0)), known, "uint16") is None
    assert unlike_brightness(squares_of(wide(0, 0.6)), known, "uint16") == pytest.approx(0.6, rel=0.12)


@pytest.mark.parametrize(
    ("count", "bands", "dtype"), [(3, 3, "uint8"), (24, 1, "uint8"), (24, 3, "float32"), (24, 3, "int16")]
)
def test_few_places_one_band_and_values_with_another_zero_say_nothing(count, bands, dtype):
    places = [squares_of(imagery(px=256, seed=seed)[:bands]) for seed in range(count)]
    assert learn_brightness(places, dtype) is None


def test_the_same_imagery_gives_the_same_figures_and_they_pass_through_json(known):
    again = learn_brightness([squares_of(imagery(px=256, seed=seed)) for seed in range(1, 25)], "uint8")
    assert again == known == BrightnessSpec.model_validate_json(known.model_dump_json())


@pytest.mark.parametrize(
    "wrong", [{"brightness": (1.0,)}, {"colours": ((0.1,), (0.2,))}, {"colours": ((0.1, 0.2), (0.1, 0.2, 0.3))}]
)
def test_figures_that_do_not_fit_together_are_refused(wrong):
    given = {"colours": ((0.1, -0.1), (0.2, -0.2)), "brightness": (4.0, 5.0), "deviation": (0.1, 0.1)}
    rest = {"reach": 0.1, "scatter": 0.1, "variation": 0.1}
    parse_spec(BrightnessSpec, given | rest, source="test")
    with pytest.raises(SpecError):
        parse_spec(BrightnessSpec, given | rest | wrong, source="test")
