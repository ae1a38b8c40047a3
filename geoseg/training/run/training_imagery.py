"""What the training imagery of a model looks like, found once the model is trained.

In: a trained network, and the rasters that it was trained on. Out: an ImagerySpec for its bundle. Of large data, crops
that are evenly spread over the labelled cells, and over the target, are read, always the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from geoseg.core.events import Reporter, Stage
from geoseg.data.mosaic import Mosaic
from geoseg.geo.grid import Window
from geoseg.inference.batches import read_padded
from geoseg.models.model import Model
from geoseg.models.runner import Runner
from geoseg.raster.curves import Floats
from geoseg.raster.distributions import distributions_of
from geoseg.raster.imagery import CROP_PX, describe_bands, learn_spread, values_of
from geoseg.raster.validity import Mask, Values
from geoseg.spec import ImagerySpec, SpreadSpec
from geoseg.training.data.split_sides import SplitSide

MOST_CROPS = 256
"""Crops that are read at most."""
_BLOCK_CROPS, _FEWEST_PLACES = 4, 4
"""Side of a block in crops, which is a place where there are fewer rasters than places are needed."""

SizesM = tuple[float, float] | None
"""Smallest and largest ground resolution in metres per pixel; None where that is unknown."""


@dataclass(frozen=True)
class _Crop:
    """A crop of the training imagery."""

    place: int
    """Number of its place."""
    image: Values
    """Band values (C, h, w)."""
    valid: Mask
    """Which pixels hold data and are on the training side (h, w)."""


def learn_imagery(
    model: Model, sides: Sequence[SplitSide], sizes_m: SizesM, device: str, reporter: Reporter
) -> ImagerySpec | None:
    """Describe the imagery that a model was trained on; None where none of it can be read as crops with data.

    Args:
        model: the trained model.
        sides: rasters for training, with the model's bands: those with labels, those of the target; as many crops of
            each count.
        sizes_m: their ground resolution.
        device: where the network runs.
        reporter: gets the progress of `imagery` in crops.

    Raises:
        SceneError: if an image cannot be read.
    """
    crops = _crops(sides, model.spec.normalization.mean, reporter)
    first = next(crops, None)
    if first is None:
        return None
    runner, described = Runner(model.module, device, "fp32"), _Described()
    parts = (described.passed_on(crop, runner) for crop in chain([first], crops))
    dtype = str(first.image.dtype)
    found = distributions_of(parts, len(model.spec.bands), dtype)
    return ImagerySpec(
        values=tuple(map(values_of, found)),
        resolution_m=sizes_m,
        bands=_spread(described.bands, described.places),
        features=_spread(described.features, described.places),
    )


@dataclass(frozen=True)
class _Described:
    """What is kept of the crops: all of them might not fit into memory."""

    bands: list[Floats] = field(default_factory=list)
    """Mean and standard deviation of each band (2C,), of each crop."""
    features: list[Floats] = field(default_factory=list)
    """Features of the network (F,), of each crop."""
    places: list[int] = field(default_factory=list)
    """Number of the place of each crop."""

    def passed_on(self, crop: _Crop, runner: Runner) -> tuple[Values, Mask]:
        """Describe a crop, and return its values and its mask."""
        self.bands.append(describe_bands(crop.image, crop.valid))
        self.features.append(runner.features(crop.image[None], crop.valid[None])[0].cpu().numpy().astype(np.float64))
        self.places.append(crop.place)
        return crop.image, crop.valid


def _spread(vectors: list[Floats], places: list[int]) -> SpreadSpec | None:
    return learn_spread(np.stack(vectors), np.array(places)) if vectors[0].size else None


def _crops(sides: Sequence[SplitSide], fill: Sequence[float], reporter: Reporter) -> Iterator[_Crop]:
    """Crops that hold data and cells of a side, at least half of each on that side."""
    chosen = [_chosen(side, MOST_CROPS // len(sides)) for side in sides]
    stage = Stage(reporter, "imagery", sum(map(len, chosen)))
    places = 0
    for side, crops in zip(sides, chosen, strict=True):
        numbers = [places + number for number in _places(crops)]
        for (which, row, col), place in zip(crops.tolist(), numbers, strict=True):
            image, valid = _read(side.rasters[which], row * CROP_PX, col * CROP_PX, fill)
            if 2 * np.count_nonzero(valid) >= valid.size:
                yield _Crop(place, image, valid)
            stage.advance(1)
        places = max(numbers, default=-1) + 1


def _chosen(side: SplitSide, most: int) -> NDArray[np.int64]:
    """Raster, row and column (N, 3), in crops, of crops that are evenly spread over the cells of a side."""
    lattice = np.unique(side.cells.places // (1, CROP_PX, CROP_PX), axis=0)
    count = min(most, len(lattice))
    found: NDArray[np.int64] = lattice[[(2 * i + 1) * len(lattice) // (2 * count) for i in range(count)]]
    return found


def _places(chosen: NDArray[np.int64]) -> Sequence[int]:
    """Number of the place of each crop (N, 3): its raster, of few rasters a block of it."""
    if len(np.unique(chosen[:, 0])) >= _FEWEST_PLACES:
        return [int(which) for which in chosen[:, 0]]
    blocks = chosen // (1, _BLOCK_CROPS, _BLOCK_CROPS)
    return [int(number) for number in np.unique(blocks, axis=0, return_inverse=True)[1].ravel()]


def _read(mosaic: Mosaic, row: int, col: int, fill: Sequence[float]) -> tuple[Values, Mask]:
    """A crop from a corner on, moved inwards at the edges: values without holes, and the mask of what counts."""
    height, width = min(CROP_PX, mosaic.height), min(CROP_PX, mosaic.width)
    window = Window(min(row, mosaic.height - height), min(col, mosaic.width - width), height, width)
    image, valid = read_padded(mosaic, window, fill)
    return image, valid & mosaic.own(window)
