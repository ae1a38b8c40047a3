"""One model learns from many images: where they differ in what their pixels or values are, the user is notified."""

import numpy as np
import pytest
from affine import Affine
from support.rasters import write_raster
from support.reporters import Watching

from geoseg.data.consistency import ImageProperties
from geoseg.spec import ScalingSpec, TrainSpec, parse_spec
from geoseg.training.data.training_data import TrainingData, read_training_data

A, B = ScalingSpec(scale=(0.0001,), offset=(0.0,)), ScalingSpec(scale=(0.0001,), offset=(-0.1,))


def terms_of(*images: tuple[float | None, ScalingSpec | None], guess: bool = False) -> ImageProperties:
    terms = ImageProperties()
    for number, (size, scaling) in enumerate(images):
        terms.add(f"{number}.tif", size, scaling, is_guess=guess)
    return terms


def test_images_that_are_alike_need_no_word():
    terms = terms_of((None, A), (0.5, A), (0.6, A))
    assert terms.notices(None) == []
    assert (terms.resolution_m, terms.size_range_m, terms.scaling) == (0.5, None, A)


@pytest.mark.parametrize(("given", "kept"), [(None, "no resolution"), (2.0, "2 m, as data.resolution_m says")])
def test_pixels_of_different_size_are_told_with_the_extremes(given, kept):
    terms = terms_of((0.5, None), (10, None), (2, None))
    (line,) = terms.notices(given)
    assert "from 0.5 m (0.tif) to 10 m (1.tif)" in line
    assert kept in line
    assert (terms.resolution_m, terms.size_range_m) == (None, (0.5, 10))


def test_scales_of_their_own_and_none_are_told():
    first, second = terms_of((1, A), (1, B), (1, None)).notices(None)
    assert "1.tif has scale and offset of their own: values are converted to value x 0.0001" in first
    assert "2.tif has no scale and offset: values are taken as they are" in second
    assert len(terms_of((1, B), (1, B), guess=True).notices(None)) == 1


def learnt(folder, *, shift: int, offset: float, size_m: float = 1.0, notices: list[str] | None = None) -> TrainingData:
    """Training data of two images, of which the second is written in other terms or has other pixels."""
    random = np.random.default_rng(0)
    for number, (added, own_offset, size) in enumerate([(0, 0.0, 1.0), (shift, offset, size_m)]):
        values = random.integers(2000, 3000, (64, 64)).astype(np.uint16)
        place = {"transform": Affine(size, 0, 1000 * number, 0, -size, 0)}
        write_raster(folder / f"{number}.tif", values + added, scales=(0.0001,), offsets=(own_offset,), **place)
        write_raster(folder / f"{number}_l.tif", random.integers(0, 2, (64, 64)).astype(np.uint8), **place)
    scenes = [
        {"image": str(folder / f"{i}.tif"), "label": str(folder / f"{i}_l.tif"), "split": split}
        for i, split in enumerate(("val", "train"))
    ]
    values = {
        "name": "test",
        "data": {"scenes": scenes, "bands": ["value"], "dtype": "uint16"},
        "classes": [{"id": i, "name": f"c{i}", "color": "#000000"} for i in range(2)],
        "network": {"architecture": "pointwise"},
        "window": 32,
    }
    said = [] if notices is None else notices
    return read_training_data(parse_spec(TrainSpec, values, source="test"), reporter=Watching(lines=said))


def test_values_are_converted_to_the_scaling_of_the_first_image(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    notices: list[str] = []
    same = learnt(tmp_path / "a", shift=0, offset=0.0)
    other = learnt(tmp_path / "b", shift=1000, offset=-0.1, notices=notices)
    assert other.normalization == same.normalization
    assert same.scaling == other.scaling == A
    assert any("1.tif has scale and offset of their own" in line for line in notices)


def test_mixed_pixels_leave_no_resolution(tmp_path):
    notices: list[str] = []
    data = learnt(tmp_path, shift=0, offset=0.0, size_m=10.0, notices=notices)
    assert (data.resolution_m, data.size_range_m) == (None, (1.0, 10.0))
    assert any("from 1 m (0.tif) to 10 m (1.tif)" in line for line in notices)
