"""Image and labels move together; colours vary without leaving their range."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.methods import STILL

from geoseg.spec import IGNORE, AugmentSpec
from geoseg.spec.augment import STRONG_COLOURS
from geoseg.training.windows.augment import HOLE_SIDES, Augment, draw_matrices, draw_rectangles
from geoseg.training.windows.colour_changes import Variation
from geoseg.training.windows.resampling import quarter_turns, resample
from geoseg.training.windows.visible import visible_bands


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 16, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels 0 to 9 at random, and an image that shows them as 20 times their value."""
    labels = torch.randint(10, (count, side, side), generator=generator())
    return labels.unsqueeze(1) * 20.0, labels


def augment(**settings: object) -> Augment:
    return Augment(AugmentSpec.model_validate(STILL | settings), 0.0, 255.0, torch.zeros(1))


def vary_colors(values: torch.Tensor, spec: AugmentSpec, generator: torch.Generator) -> torch.Tensor:
    """Values from 0 to 1, varied."""
    varied = values.clone()
    Variation.of((len(values), values.shape[1]), spec, generator).vary_(varied, 0.0, 1.0, generator)
    return varied


def test_nothing_turned_on_changes_nothing() -> None:
    image, labels = batch()
    moved, moved_labels = augment(d4=False)(image, labels, 8, generator())
    assert torch.allclose(moved, image, atol=1e-2)
    assert torch.equal(moved_labels, labels)


def test_d4_moves_image_and_labels_together() -> None:
    image, labels = batch()
    moved, moved_labels = augment()(image, labels, 8, generator())
    assert torch.equal((moved[:, 0] / 20).round().long(), moved_labels)
    assert not torch.equal(moved_labels, labels)


def test_d4_gives_all_eight_positions_exactly() -> None:
    labels = torch.arange(4).reshape(1, 2, 2).expand(200, 2, 2)
    _, moved = augment()(labels.unsqueeze(1).float(), labels, 2, generator())
    square = np.arange(4).reshape(2, 2)
    turned = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}
    assert {m.numpy().tobytes() for m in moved} == turned


def test_warping_keeps_image_and_labels_together() -> None:
    labels = (torch.arange(64) >= 32).long().expand(8, 64, 64)
    image, moved = augment(warp=1.0)(labels.unsqueeze(1) * 200.0, labels, 32, generator())
    inside = moved != IGNORE
    agree = ((image[:, 0] > 100) == (moved == 1))[inside]
    assert agree.float().mean() > 0.97


def test_what_lies_beyond_is_filled_and_ignored() -> None:
    image, labels = torch.full((1, 2, 4, 4), 9.0), torch.ones(1, 4, 4, dtype=torch.long)
    twice_as_wide = torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]])
    moved, moved_labels = resample(image, labels, twice_as_wide, 4, torch.tensor([3.0, 5.0]))
    assert moved[0, :, 0, 0].tolist() == [3.0, 5.0]
    assert moved_labels[0, 0, 0] == IGNORE
    assert moved_labels[0, 1:3, 1:3].eq(1).all()


def test_scale_is_the_ground_size_of_a_pixel() -> None:
    spec = AugmentSpec.model_validate(STILL | {"warp": 1.0, "turn_deg": 0.0, "scale": (2.0, 2.0), "d4": False})
    assert draw_matrices(spec, 1, 0.25, generator())[0].tolist() == [[0.5, 0, 0], [0, 0.5, 0]]


@pytest.mark.parametrize(
    ("warp", "scale", "side"), [(0.5, (0.7, 1.4), 90), (0.5, (0.5, 0.9), 64), (0.0, (0.7, 1.4), 64)]
)
def test_read_side_covers_the_coarsest_window(warp: float, scale: tuple[float, float], side: int) -> None:
    assert AugmentSpec(warp=warp, scale=scale).read_side(64) == side


@pytest.mark.parametrize("side", [32, 64, 96, 128, 192, 256, 320, 512])
def test_windows_that_are_not_warped_stay_sharp(side: int) -> None:
    spec = AugmentSpec.model_validate(STILL | {"warp": 1.0, "turn_deg": 0.0, "scale": (1.0, 1.0), "d4": False})
    read = AugmentSpec(scale=(0.7, 1.4)).read_side(side)
    labels = torch.randint(10, (1, read, read), generator=generator())
    image = labels.unsqueeze(1) * 20.0
    moved, kept = Augment(spec, 0.0, 255.0, torch.zeros(1))(image, labels, side, generator())
    margin = (read - side) // 2
    inside = slice(margin, margin + side)
    assert torch.equal(kept, labels[:, inside, inside])
    assert torch.allclose(moved, image[:, :, inside, inside], atol=0.1)


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_colours_stay_in_range_for_any_band_count(bands: int) -> None:
    values = torch.rand(12, bands, 16, 16, generator=generator())
    varied = vary_colors(values, AugmentSpec(), generator())
    assert varied.shape == values.shape
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert (varied - values).abs().mean(dim=(1, 2, 3)).min() > 1e-3


def test_holes_are_filled_and_do_not_count() -> None:
    image, labels = batch(count=64, side=32)
    shown, kept = augment(d4=False, cutout=0.5)(image, labels, 32, generator())
    holes = kept == IGNORE
    assert torch.equal(kept[~holes], labels[~holes])
    assert torch.allclose(shown[:, 0][~holes], image[:, 0][~holes], atol=1e-2)
    assert (shown[:, 0][holes] == 0).all()
    assert 0.3 < holes.flatten(1).any(dim=1).float().mean() < 0.7


def test_what_is_mixed_in_brings_its_labels() -> None:
    image, labels = batch(count=64, side=32)
    mixed, mixed_labels = augment(d4=False, cutmix=0.5)(image, labels, 32, generator())
    assert torch.equal((mixed[:, 0] / 20).round().long(), mixed_labels)
    changed = (mixed_labels != labels).flatten(1).any(dim=1)
    assert 0.3 < changed.float().mean() < 0.7
    assert ((mixed_labels == labels) | (mixed_labels == labels.roll(1, 0))).all()


def test_a_hole_is_one_rectangle_of_a_tenth_to_a_third_of_each_side() -> None:
    holes = draw_rectangles(1.0, 200, 60, HOLE_SIDES, generator())
    for hole in holes:
        rows, columns = hole.any(dim=1), hole.any(dim=0)
        assert torch.equal(hole, rows[:, None] & columns)
        assert 5 <= rows.sum() <= 21
        assert 5 <= columns.sum() <= 21
    assert not draw_rectangles(0.0, 200, 60, HOLE_SIDES, generator()).any()


def test_the_generator_decides_everything() -> None:
    image, labels = batch()
    one, other, another = (
        Augment(AugmentSpec(), 0, 255, torch.zeros(1))(image, labels, 8, generator(s)) for s in (1, 1, 2)
    )
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[0], another[0])


def test_saturation_varies_visible_bands_alone() -> None:
    image = torch.rand(8, 4, 16, 16, generator=generator()) * 100 + 60
    labels = torch.zeros(8, 16, 16, dtype=torch.long)
    spec = AugmentSpec.model_validate(STILL | {"saturation": 0.3, "d4": False})
    changed = {}
    for visible in ((2, 1, 0), (), None):
        varied, _ = Augment(spec, 0.0, 255.0, torch.zeros(4), visible)(image.clone(), labels, 16, generator())
        changed[visible] = [not torch.allclose(varied[:, i], image[:, i], atol=0.1) for i in range(4)]
        if visible is not None:
            torch.testing.assert_close(varied[:, :3].mean(1), image[:, :3].mean(1), atol=0.1, rtol=0)
    assert changed == {(2, 1, 0): [True, True, True, False], (): [False] * 4, None: [True] * 4}


@pytest.mark.parametrize(
    ("names", "visible"),
    [
        (("red", "green", "blue", "nir"), (0, 1, 2)),
        (("nir", "red", "green"), (1, 2)),
        (("nir", "swir16"), ()),
        (("value", "other", "third"), None),
        (("B04", "B03", "B02", "B8A"), (0, 1, 2)),
    ],
)
def test_visible_bands_are_known_by_their_names(names, visible) -> None:
    assert visible_bands(names) == visible


def test_plain_windows_have_the_geometry_of_the_varied_ones_and_their_own_colours() -> None:
    image, labels = batch(side=32)
    settings = STILL | {"gamma": 0.5, "noise": 0.1, "cutmix": 0.5, "warp": 1.0}
    varied = Augment(AugmentSpec.model_validate(settings), 0.0, 255.0, torch.zeros(1), keeps_plain=True)
    matrices = draw_matrices(varied.spec, len(image), 0.75, generator())
    found = varied.with_views(image, labels, matrices, (), 24, generator())
    still = augment(cutmix=0.5, warp=1.0)
    matrices = draw_matrices(still.spec, len(image), 0.75, generator())
    moved, _ = resample(image, labels, matrices, 24, torch.zeros(1))
    assert found.plain is not None
    pasted = (found.plain != moved).flatten(1).any(dim=1)
    assert 0 < pasted.sum() < len(image)
    assert torch.equal(found.plain[~pasted], moved[~pasted])
    assert not torch.allclose(found.image, found.plain, atol=1.0)


def test_recolouring_leaves_the_image_that_it_was_given() -> None:
    image, _ = batch()
    kept = image.clone()
    varied = augment(gamma=0.5, noise=0.1).recolored(image, generator())
    assert torch.equal(image, kept)
    assert varied.shape == image.shape
    assert not torch.allclose(varied, image, atol=1.0)
    assert 0 <= varied.min() <= varied.max() <= 255
    assert torch.allclose(augment().recolored(image, generator()), image, atol=1e-2)


def test_randomised_colours_raise_spreads_and_none_leave_all_as_they_are() -> None:
    spec = AugmentSpec(gamma=0.9)
    assert spec.colours is spec
    strong = spec.model_copy(update={"randomise_colours": 1.0}).colours
    half = spec.model_copy(update={"randomise_colours": 0.5}).colours
    for name, spread in STRONG_COLOURS.items():
        assert getattr(strong, name) == max(spread, getattr(spec, name))
        assert getattr(spec, name) <= getattr(half, name) <= getattr(strong, name)
    values = torch.rand(64, 3, 8, 8, generator=generator())
    usual, varied = (vary_colors(values, one, generator()).sub(values).abs().mean() for one in (spec, strong))
    assert varied > 1.3 * usual


@pytest.mark.parametrize("fill", [101.37, 101.0])
def test_pixels_without_data_keep_their_values_under_randomised_colours(fill: float) -> None:
    spec = AugmentSpec(randomise_colours=1.0, warp=0.0, d4=False)
    augmented = Augment(spec.colours, 0.0, 255.0, torch.full((3,), 101.37), keeps_fill=spec.keeps_fill)
    image = torch.randint(0, 255, (4, 3, 16, 16), generator=generator()).float()
    image[:, :, :5] = fill
    labels = torch.zeros(4, 16, 16, dtype=torch.long)
    found, _ = augmented(image.clone(), labels, 16, generator())
    assert torch.allclose(found[:, :, :5], image[:, :, :5], atol=1e-3)
    assert not torch.allclose(found[:, :, 5:], image[:, :, 5:], atol=10)
    view = torch.cat([image, (image[:, :1] != fill).float()], dim=1)
    identity = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]]).expand(4, 2, 3)
    (shown,) = augmented.with_views(image, labels, identity, (view,), 16, generator()).views
    assert torch.equal(shown[:, :, :5], view[:, :, :5])
    assert torch.equal(augmented.recolored(image, generator())[:, :, :5], image[:, :, :5])


def test_without_colours_values_are_left_but_for_noise_and_blur() -> None:
    spec = AugmentSpec(d4=False, warp=0.0, randomise_colours=1.0).without_colours
    assert not spec.colours.varies_colours
    assert (spec.noise, spec.blur_px) == (AugmentSpec().noise, AugmentSpec().blur_px)
    still = replace(augment(), spec=spec.model_copy(update={"noise": 0.0, "blur_px": 0.0}))
    image, labels = batch()
    view = torch.rand(len(image), image.shape[1] + 1, 4, 4)
    matrices = torch.eye(2, 3).expand(len(image), 2, 3)
    found = still.with_views(image, labels, matrices, (view,), image.shape[-1], generator())
    torch.testing.assert_close(found.image, image.float(), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.views[0], view)


@pytest.mark.parametrize("read", [8, 12])
def test_quarter_turns_are_copies_of_what_interpolation_gives(read: int) -> None:
    labels = torch.randint(10, (64, read, read), generator=generator())
    image = torch.stack([labels * 20.0, labels + 3.0], dim=1)
    matrices = draw_matrices(AugmentSpec(warp=0.5), 64, 8 / read, generator())
    turns = list(quarter_turns(matrices, 8, read))
    assert len(set(turns)) == 9  # with None for those that are warped
    moved, kept = resample(image, labels, matrices, 8, torch.zeros(2))
    slightly = matrices + torch.tensor([0, 0, 1e-6])  # the same, to nearly all digits, but not copied
    assert not any(quarter_turns(slightly, 8, read))
    interpolated, near = resample(image, labels, slightly, 8, torch.zeros(2))
    copied = torch.tensor([turn is not None for turn in turns])
    assert torch.equal(kept[copied], near[copied])
    assert torch.equal(moved[copied, 0], kept[copied] * 20.0)
    torch.testing.assert_close(moved, interpolated, atol=0.01, rtol=0)


@pytest.mark.parametrize(("side", "read"), [(8, 11), (8, 6)])
def test_windows_whose_pixels_lie_between_those_that_were_read_are_interpolated(side: int, read: int) -> None:
    matrices = torch.eye(2, 3).unsqueeze(0) * side / read
    assert list(quarter_turns(matrices, side, read)) == [None]
