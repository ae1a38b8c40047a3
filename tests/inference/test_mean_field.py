"""Mean field inference in a dense CRF: as if all pairs of pixels in the window were summed one by one."""

import numpy as np
import pytest

from geoseg.inference.mean_field import mean_field
from geoseg.spec.crf import CrfSpec

RADIUS, ITERATIONS = 2, 3
SPEC = CrfSpec(crf=True, crf_radius=RADIUS, crf_iterations=ITERATIONS, crf_appearance_px=1.5, crf_smoothness_px=1.0)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def kernel_weight(offset, difference, spec):
    """Weight of a pair by its offset in pixels and its difference in units of the appearance kernel."""
    window = [(y, x) for y in range(-RADIUS, RADIUS + 1) for x in range(-RADIUS, RADIUS + 1) if (y, x) != (0, 0)]

    def gaussian(at, std):
        return np.exp(-(at[0] ** 2 + at[1] ** 2) / (2 * std**2))

    appearance = gaussian(offset, spec.crf_appearance_px) / sum(gaussian(at, spec.crf_appearance_px) for at in window)
    smoothness = gaussian(offset, spec.crf_smoothness_px) / sum(gaussian(at, spec.crf_smoothness_px) for at in window)
    alike = np.exp(-np.mean(difference**2) / 2)
    return spec.crf_appearance * appearance * alike + spec.crf_smoothness * smoothness


def brute_force(logits, image, valid, spec, temperature=1.0):
    """All pairs of pixels with data that are at most the radius apart, in float64."""
    classes, height, width = logits.shape
    pixels = [(y, x) for y in range(height) for x in range(width) if valid[y, x]]
    weights = np.zeros((len(pixels), len(pixels)))
    for i, a in enumerate(pixels):
        for j, b in enumerate(pixels):
            offset = b[0] - a[0], b[1] - a[1]
            if i != j and max(map(abs, offset)) <= RADIUS:
                weights[i, j] = kernel_weight(offset, image[:, *a] - image[:, *b], spec)
    own = np.stack([logits[:, *at] for at in pixels], axis=1).astype(np.float64)
    found = own
    for _ in range(spec.crf_iterations):
        sent = softmax(found / temperature)
        received = sent @ weights.T  # of each class, by pixel
        against = received.sum(axis=0) - received  # Potts: what all other classes send
        found = own - temperature * against
    result = np.zeros((classes, height, width))
    for at, values in zip(pixels, softmax(found / temperature).T, strict=True):
        result[:, *at] = values
    return result


def padded(values, halo):
    return np.pad(values, ((0, 0),) * (values.ndim - 2) + ((halo, halo),) * 2)


@pytest.fixture
def block():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 9, 11)).astype(np.float32)
    image = rng.normal(size=(3, 9, 11)).astype(np.float32)
    return logits, image, rng.random((9, 11)) > 0.2


@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("weights", [{}, {"crf_appearance": 0}, {"crf_smoothness": 0}])
def test_probabilities_are_those_of_a_sum_over_all_pairs(block, temperature, weights):
    logits, image, valid = block
    spec = SPEC.model_copy(update=weights)
    found = mean_field(*(padded(values, spec.crf_halo) for values in block), spec, temperature)
    expected = brute_force(logits, image, valid, spec, temperature)
    np.testing.assert_allclose((softmax(found / temperature) * valid), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{"crf_iterations": 0}, {"crf_appearance": 0, "crf_smoothness": 0}])
def test_no_iterations_or_no_weights_change_no_bit(block, settings):
    logits, image, valid = block
    spec = SPEC.model_copy(update=settings)
    assert not spec.changes_pixels
    np.testing.assert_array_equal(mean_field(logits, image, valid, spec, 1.0), logits)


def test_a_part_with_its_halo_has_the_logits_of_the_whole_to_the_last_bit():
    rng = np.random.default_rng(1)
    halo = SPEC.crf_halo
    whole = [
        padded(values, halo)
        for values in (
            rng.normal(size=(3, 40, 50)).astype(np.float32),
            rng.normal(size=(2, 40, 50)).astype(np.float32),
            rng.random((40, 50)) > 0.1,
        )
    ]
    expected = mean_field(*whole, SPEC, 1.0)
    for row, col, height, width in ((0, 0, 40, 17), (11, 17, 20, 33), (23, 5, 17, 9)):
        part = [values[..., row : row + height + 2 * halo, col : col + width + 2 * halo] for values in whole]
        np.testing.assert_array_equal(mean_field(*part, SPEC, 1.0), expected[:, row : row + height, col : col + width])


def test_pixels_without_data_neither_send_nor_matter(block):
    logits, image, valid = block
    halo = SPEC.crf_halo
    other = np.where(valid, logits, np.nan).astype(np.float32), np.where(valid, image, np.inf).astype(np.float32)
    found = mean_field(*(padded(values, halo) for values in (*other, valid)), SPEC, 1.0)
    expected = mean_field(*(padded(values, halo) for values in block), SPEC, 1.0)
    np.testing.assert_array_equal(found[:, valid], expected[:, valid])


def test_a_weight_is_by_how_much_a_unanimous_window_of_one_colour_raises_a_logit():
    spec = SPEC.model_copy(update={"crf_iterations": 1})
    side = 2 * RADIUS + 1
    logits = np.zeros((2, side, side), np.float32)
    logits[0] = 50
    logits[:, RADIUS, RADIUS] = 0
    found = mean_field(logits, np.ones((1, side, side), np.float32), np.ones((side, side), bool), spec, 1.0)
    weight = spec.crf_appearance + spec.crf_smoothness
    np.testing.assert_allclose(found[:, 0, 0], [weight, 0], atol=1e-4)


def test_noisy_classes_of_two_colours_are_cleaned_along_their_edge():
    rng = np.random.default_rng(2)
    truth = (np.add.outer(np.arange(40), np.arange(40)) > 40).astype(int)
    image = (truth + rng.normal(0, 0.05, truth.shape))[None].astype(np.float32) * 4
    blurred = truth * 2.0 - 1 + rng.normal(0, 1.2, truth.shape)
    logits = np.stack([-blurred, blurred]).astype(np.float32)
    spec = CrfSpec(crf=True, crf_appearance=8)
    found = mean_field(
        *(padded(values, spec.crf_halo) for values in (logits, image, np.ones(truth.shape, bool))), spec, 1.0
    )
    before, after = ((values.argmax(axis=0) != truth).mean() for values in (logits, found))
    assert before > 0.15
    assert after < 0.005
