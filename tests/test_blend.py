import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.blend import Blender, handover
from geoseg.grid import Grid

grids = st.builds(
    lambda height, width, tile, part, border, band: Grid(height, width, tile, tile * part // 100, 8, border, band),
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from([16, 32, 64]),
    st.integers(0, 50),
    st.sampled_from([0, 8]),
    st.sampled_from([16, 60, 1000]),
)


def random_windows(grid, seed):
    generator = torch.Generator().manual_seed(seed)
    return {(p.i, p.j): torch.rand(3, p.window.height, p.window.width, generator=generator) for p in grid.places()}


def blend_whole(grid, windows):
    """Blend all windows in one array of the padded scene's size, with the weights spelled out pixel by pixel."""
    total = np.zeros((3, grid.rows.end, grid.cols.end))
    weight = np.zeros(total.shape[1:])
    for (i, j), values in windows.items():
        rows, cols = axis_weights(grid.rows, i), axis_weights(grid.cols, j)
        where = (slice(grid.rows.starts[i], None), slice(grid.cols.starts[j], None))
        part = total[:, *where][:, : grid.rows.size, : grid.cols.size]
        part += values.numpy() * np.outer(rows, cols)
        weight[where][: grid.rows.size, : grid.cols.size] += np.outer(rows, cols)
    inside = slice(grid.border, grid.border + grid.height), slice(grid.border, grid.border + grid.width)
    return total[:, *inside], weight[inside]


def axis_weights(axis, i):
    rising = handover(axis.ramp).double().numpy()
    weights = np.ones(axis.size)
    if i:
        seam = axis.seams[i - 1] - axis.starts[i]
        weights[:seam] = 0
        weights[seam : seam + axis.ramp] *= rising
    if i < axis.count - 1:
        seam = axis.seams[i] - axis.starts[i]
        weights[seam : seam + axis.ramp] *= 1 - rising
        weights[seam + axis.ramp :] = 0
    return weights


def stream(grid, windows):
    out = np.full((3, grid.height, grid.width), np.nan, np.float32)
    blender = Blender(grid)
    for place in grid.places():
        out[:, *place.core.slices] = blender.feed(place, windows[place.i, place.j]).numpy()
    return out


@settings(deadline=None)
@given(grids, st.integers(0, 1000))
def test_streaming_equals_blending_the_whole_scene(grid, seed):
    windows = random_windows(grid, seed)
    whole, weight = blend_whole(grid, windows)
    assert (weight == 1).all()
    np.testing.assert_allclose(stream(grid, windows), whole, atol=1e-6)


@settings(deadline=None)
@given(grids, st.integers(0, 1000))
def test_bands_change_no_bit(grid, seed):
    windows = random_windows(grid, seed)
    in_one = Grid(grid.height, grid.width, grid.tile, grid.overlap, grid.multiple, grid.border, 10**6)
    np.testing.assert_array_equal(stream(grid, windows), stream(in_one, windows))


def test_a_weight_and_its_complement_sum_to_exactly_one():
    for ramp in (1, 2, 31, 64, 257):
        weights = handover(ramp)
        assert ((weights + (1 - weights)) == 1).all()
        assert torch.equal(1 - weights, weights.flip(0))


def test_a_left_out_window_costs_only_its_own_part():
    grid = Grid(64, 64, 32, 8)
    blender = Blender(grid)
    places = list(grid.places())
    for place in places[1:]:
        core = blender.feed(place, torch.ones(1, 32, 32))
        last = place.i == grid.rows.count - 1 and place.j == grid.cols.count - 1
        assert not last or (core == 1).all()


def test_memory_is_the_seams_only():
    grid = Grid(96, 4000, 64, 16, 8, 0, band_px=512)
    blender = Blender(grid)
    most = 0
    for place in grid.places():
        blender.feed(place, torch.ones(2, place.window.height, place.window.width))
        most = max(most, sum(seam.numel() for _, seam in blender._above.values()))
    assert most <= 2 * grid.rows.ramp * (512 + 64) * 2
