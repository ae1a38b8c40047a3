import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.geo.grid import Grid
from geoseg.inference.blend import Blender, SeamsInMemory, handover, seam_of

grids = st.builds(
    lambda height, width, tile, part, border: Grid(height, width, tile, tile * part // 100, 8, border),
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from([16, 32, 64]),
    st.integers(0, 50),
    st.sampled_from([0, 8]),
)


def random_windows(grid, seed):
    generator = torch.Generator().manual_seed(seed)
    return {(p.i, p.j): torch.randn(3, p.window.height, p.window.width, generator=generator) for p in grid.places()}


def blend_whole(grid, windows):
    """Blend all windows in one array of the padded scene's size, with the weights spelled out pixel by pixel."""
    total = np.zeros((3, grid.rows.end, grid.cols.end))
    weight = np.zeros(total.shape[1:])
    for (i, j), logits in windows.items():
        rows, cols = axis_weights(grid.rows, i), axis_weights(grid.cols, j)
        where = (slice(grid.rows.starts[i], None), slice(grid.cols.starts[j], None))
        part = total[:, *where][:, : grid.rows.sizes[i], : grid.cols.sizes[j]]
        part += logits.double().softmax(dim=0).numpy() * np.outer(rows, cols)
        weight[where][: grid.rows.sizes[i], : grid.cols.sizes[j]] += np.outer(rows, cols)
    inside = slice(grid.border, grid.border + grid.height), slice(grid.border, grid.border + grid.width)
    return total[:, *inside], weight[inside]


def axis_weights(axis, i):
    rising = handover(axis.ramp).double().numpy()
    weights = np.ones(axis.sizes[i])
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
    """Probabilities of the scene, fed window by window."""
    out = torch.full((3, grid.height, grid.width), torch.nan)
    blender = Blender(grid)
    for place in grid.places():
        block = blender.feed(place, windows[place.i, place.j].clone())
        assert block.window == place.core or not place.core.pixels
        out[:, *block.window.slices] = block.logits
    return out.softmax(dim=0).numpy()


@settings(deadline=None)
@given(grids, st.integers(0, 1000))
def test_streaming_equals_blending_the_whole_scene(grid, seed):
    windows = random_windows(grid, seed)
    whole, weight = blend_whole(grid, windows)
    assert (weight == 1).all()
    np.testing.assert_allclose(stream(grid, windows), whole, atol=2e-6)


def test_logits_pass_through_where_one_window_decides():
    grid = Grid(300, 300, 128, 16, 8)
    windows = random_windows(grid, 0)
    blender = Blender(grid)
    for place in grid.places():
        block = blender.feed(place, windows[place.i, place.j].clone())
        inner = slice(16, -16)
        own = windows[place.i, place.j][:, *block.window.shift(-place.window.row, -place.window.col).slices]
        assert torch.equal(block.logits[:, inner, inner], own[:, inner, inner])


class Handed(SeamsInMemory):
    """Seams of a part of the tile rows: those that are left open are kept for a test to finish."""

    def __init__(self):
        super().__init__()
        self.opened = {}

    def open(self, place, seam):
        self.opened[place.i, place.j] = seam


@settings(deadline=None)
@given(grids, st.integers(0, 1000), st.data())
def test_tile_rows_blended_apart_and_joined_change_no_bit(grid, seed, data):
    windows = random_windows(grid, seed)
    cut = data.draw(st.integers(1, max(1, grid.rows.count - 1)))
    out = torch.full((3, grid.height, grid.width), torch.nan)
    parts = [range(min(cut, grid.rows.count)), range(cut, grid.rows.count)]
    seams = [Handed(), Handed()]
    for part, kept in zip(parts, seams, strict=True):
        blender = Blender(grid, kept, open_tile_row=part.start or None)
        for i in part:
            for place in grid.tile_row(i):
                block = blender.feed(place, windows[i, place.j].clone())
                out[:, *block.window.slices] = block.logits
    for (i, j), seam in seams[1].opened.items():
        place = grid.place(i, j)
        block = seam_of(grid, place, seam + seams[0].above(place))
        out[:, *block.window.slices] = block.logits
    np.testing.assert_array_equal(out.softmax(dim=0).numpy(), stream(grid, windows))


def test_a_weight_and_its_complement_sum_to_exactly_one():
    for ramp in (1, 2, 31, 64, 257):
        weights = handover(ramp)
        assert ((weights + (1 - weights)) == 1).all()
        assert torch.equal(1 - weights, weights.flip(0))


def test_a_left_out_window_costs_only_its_own_part():
    grid = Grid(64, 64, 32, 8)
    blender = Blender(grid)
    for place in list(grid.places())[1:]:
        block = blender.feed(place, torch.zeros(2, place.window.height, place.window.width))
        last = place.i == grid.rows.count - 1 and place.j == grid.cols.count - 1
        assert not last or torch.allclose(block.logits.softmax(dim=0), torch.tensor(0.5))


def test_memory_is_the_seams_only():
    grid = Grid(960, 400, 64, 16, 8, 0)
    seams = SeamsInMemory()
    blender, most = Blender(grid, seams), 0
    for place in grid.places():
        if (place.i + place.j) % 7:  # seams below windows that nobody comes for are forgotten
            blender.feed(place, torch.zeros(2, place.window.height, place.window.width))
        most = max(most, sum(seam.numel() for seam in seams._held.values()))
    assert most <= 2 * 2 * grid.rows.ramp * (grid.width + 64)
