from dataclasses import dataclass

import numpy as np
import pytest
from PIL import ImageFont

from geoseg.outputs.preview import (
    _INK,
    _MUTED,
    _PAPER,
    Caption,
    _length_label,
    _one_line,
    _percent,
    _round_length,
    draw_preview,
)
from geoseg.outputs.report.colours import contrast
from geoseg.outputs.thumbnail import NODATA_GREY, Thumbnail, stretch
from geoseg.outputs.thumbnail import thumbnail_size as size_of


@dataclass(frozen=True)
class Named:
    id: int
    name: str
    color: str


FIELD_AND_WATER = [Named(0, "field", "#d9a45b"), Named(7, "water", "#2b8cbe")]


def _cell_means(image, valid, hp, wp):
    """The slow, obvious thumbnail."""
    _, height, width = image.shape
    mean, any_valid = np.zeros((len(image), hp, wp)), np.zeros((hp, wp), bool)
    for i in range(hp):
        for j in range(wp):
            rows = slice(i * height // hp, (i + 1) * height // hp)
            cols = slice(j * width // wp, (j + 1) * width // wp)
            inside = valid[rows, cols]
            any_valid[i, j] = inside.any()
            if any_valid[i, j]:
                mean[:, i, j] = image[:, rows, cols][:, inside].mean(axis=1)
    return mean, any_valid


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(10, 20, (10, 20)), (40, 40, (40, 40)), (41, 41, (40, 40)), (7100, 40000, (7, 40)), (1, 4000, (1, 40))],
)
def test_thumbnail_size(height, width, expected):
    assert size_of(height, width, side=40) == expected


@pytest.mark.parametrize(
    ("height", "width", "side"), [(97, 61, 13), (50, 30, 49), (20, 33, 64), (3, 101, 10), (1, 1, 8)]
)
@pytest.mark.parametrize("block", [7, 16, 128])
def test_thumbnail_is_the_mean_of_valid_pixels_whatever_the_blocks(height, width, side, block):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 4000, (2, height, width)).astype(np.float32)
    valid = rng.random((height, width)) > 0.3
    valid[: height // 3] = False
    image[:, ~valid] = np.nan  # must never get into a mean
    corners = [(r, c) for r in range(0, height, block) for c in range(0, width, block)]
    thumbnail = Thumbnail(height, width, 2, side)
    for at in rng.permutation(len(corners)):
        row, col = corners[at]
        part = np.s_[row : row + block, col : col + block]
        thumbnail.feed(row, col, image[:, part[0], part[1]], valid[part])
    mean, any_valid = thumbnail.take()
    expected, expected_valid = _cell_means(image, valid, thumbnail.height, thumbnail.width)
    np.testing.assert_array_equal(any_valid, expected_valid)
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    assert mean.dtype == np.float32


def test_stretch_leaves_photos_nearly_alone_and_spreads_dark_data():
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 256, (3, 40, 40)).astype(np.uint8)
    everywhere = np.ones((40, 40), bool)
    assert np.abs(stretch(photo, everywhere).astype(int) - photo.transpose(1, 2, 0)).max() <= 4
    reflectance = photo.astype(np.uint16) * 10 + 300
    spread = stretch(reflectance, everywhere)
    assert spread.min() == 0
    assert spread.max() == 255


def test_stretch_keeps_the_colours_of_photos():
    """A scene that is mostly green stays green: its red is not stretched up to the same white."""
    green = np.stack([np.linspace(40, 110, 900), np.linspace(60, 160, 900), np.linspace(30, 90, 900)])
    shown = stretch(green.reshape(3, 30, 30), np.ones((30, 30), bool))
    assert (shown[..., 1] > shown[..., 0]).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_stretch_takes_any_number_of_bands_and_paints_nodata_grey(bands):
    image = np.random.default_rng(2).normal(size=(bands, 6, 5)).astype(np.float32)
    image[0, 0, 0] = np.nan
    valid = np.ones((6, 5), bool)
    valid[1] = False
    shown = stretch(image, valid)
    assert shown.shape == (6, 5, 3)
    assert (shown[0, 0] == NODATA_GREY).all()
    assert (shown[1] == NODATA_GREY).all()


@pytest.mark.parametrize("value", [0, -3.5, 17, 65535])
def test_stretch_of_a_flat_band_is_mid_grey(value):
    shown = stretch(np.full((1, 4, 4), value, np.float32), np.ones((4, 4), bool))
    assert ((shown >= 126) & (shown <= 129)).all()


def test_stretch_of_nothing_is_grey():
    assert (stretch(np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4), bool)) == NODATA_GREY).all()


@pytest.mark.parametrize(
    ("height", "width"), [(71, 2475), (2475, 71), (1, 1), (17, 31), (600, 800), (1000, 1), (1, 1000)]
)
@pytest.mark.parametrize("classes", [2, 24])
@pytest.mark.parametrize("pixel_size_m", [None, 0.3])
def test_preview_of_any_shape(height, width, classes, pixel_size_m):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    ids = rng.integers(0, classes, (height, width)).astype(np.uint8)
    named = [Named(i, f"class {i} " + "with a long name " * (i % 5), f"#{i * 9:02x}8040") for i in range(classes)]
    page = draw_preview(
        image,
        ids,
        named,
        shares={0: 1.0},
        caption=Caption("a scene\nwith a break " * 9, ("EPSG:1", "w" * 400), ("a line " * 90, "x\ny")),
        pixel_size_m=pixel_size_m,
    )
    assert page.mode == "RGB"
    assert max(page.size) >= 400
    assert page.width <= 2 * max(height, width, 640) + 400


def test_preview_shows_the_image_its_classes_and_nodata():
    image = np.full((400, 400, 3), 100, np.uint8)
    ids = np.zeros((400, 400), np.uint8)
    ids[:200], ids[300:] = 7, 255
    page = np.asarray(
        draw_preview(
            image, ids, FIELD_AND_WATER, shares={0: 0.5, 7: 0.5}, caption=Caption("x"), pixel_size_m=1
        ).convert("RGB")
    ).reshape(-1, 3)
    colours = {tuple(colour) for colour in page}
    water = tuple(round(100 * 0.4 + band * 0.6) for band in (0x2B, 0x8C, 0xBE))
    assert {(100, 100, 100), water, NODATA_GREY, (0x2B, 0x8C, 0xBE), (0xD9, 0xA4, 0x5B)} <= colours


def test_the_text_of_a_preview_can_be_read():
    for ink in (_INK, _MUTED):
        assert contrast(ink, _PAPER) >= 4.5


def test_preview_without_classes_or_with_unknown_ids():
    ids = np.full((5, 5), 3, np.uint8)
    draw_preview(np.zeros((5, 5, 3), np.uint8), ids, [], shares={}, caption=Caption(""), pixel_size_m=float("nan"))


@pytest.mark.parametrize(
    ("longest", "expected"), [(0.06, 0.05), (1, 1), (4.9, 2), (5, 5), (99, 50), (100, 100), (2600, 2000)]
)
def test_round_length(longest, expected):
    assert _round_length(longest) == pytest.approx(expected)


@pytest.mark.parametrize(("metres", "label"), [(0.05, "5 cm"), (50, "50 m"), (1000, "1 km"), (2e6, "2,000 km")])
def test_length_label(metres, label):
    assert _length_label(metres) == label


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0 %"), (0.0001, "< 0.1 %"), (0.00051, "0.1 %"), (0.1234, "12.3 %"), (1, "100.0 %")]
)
def test_percent(share, text):
    assert _percent(share) == text


@pytest.mark.parametrize("text", ["0.1 × the scene's", "Wälder", "forêt", "12 m²", "smørbær", "2.5 µm → 3 °, ±1 · x"])
def test_texts_are_written_in_letters_that_the_font_has(text):
    font = ImageFont.load_default(24)
    assert isinstance(font, ImageFont.FreeTypeFont)
    missing = bytes(font.getmask("\uffff"))
    written = _one_line(text)
    assert len(written) >= len(text)
    assert all(bytes(font.getmask(letter)) != missing for letter in written if letter != " ")
