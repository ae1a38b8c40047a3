"""What seams between windows do to a model's classes, on its validation side.

In: a model, and the side that judges it. Out: the model with the number of pixels to which two windows, blended across
their overlap as in a prediction, give another class than one pass over both, for several overlaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geoseg.core.events import Reporter, Stage
from geoseg.geo.grid import Window
from geoseg.inference.batches import read_padded
from geoseg.inference.blend import handover
from geoseg.models.model import Model
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.raster.readable import Readable
from geoseg.raster.validity import Values
from geoseg.spec.seams import SeamsSpec
from geoseg.training.data.split_sides import SplitSide

OVERLAPS = 32, 64, 96, 128, 192
"""Overlaps that are tried, in pixels, each rounded up to the network's stride."""
SIDE_PX = 512
"""Side of the squares that are compared, rounded up to the network's stride; a seam runs through the middle of each."""
LEAST_PX = 256
"""Shorter side of the rasters that are looked at: reflected, they fill a square without repeating themselves often."""
SQUARES = 8
"""Squares that are compared, at most."""
FAR_PX = 224
"""Distance from a window's border behind which it should change nothing."""
MOST_FAR = 0.0005
"""Share of the pixels behind it that may change; of networks that see the whole window more do."""


def fit_seams(model: Model, side: SplitSide, device: str, reporter: Reporter) -> Model:
    """The model with what seams do to its classes; as it is if it sees more than its windows, or whole windows at once,
    or if no raster is large enough.

    Args:
        model: the trained model.
        side: labelled rasters that it did not learn from.
        device: auto, cpu, cuda, cuda:1 or mps.
        reporter: gets the progress of `seams` in squares.

    Raises:
        SceneError: if an image cannot be read.
        SpecError: if this machine has no such device.
    """
    multiple = model.spec.network.multiple
    squares = _squares(side, -(-SIDE_PX // multiple) * multiple)
    if model.spec.branch.kind != "plain" or not isinstance(model.module, SegmentationNetwork) or not squares:
        return model
    known = find_seams(model, _read(squares, model, Stage(reporter, "seams", len(squares))), device)
    return model if known is None else replace(model, spec=model.spec.model_copy(update={"seams": known}))


def find_seams(model: Model, images: Iterable[Values], device: str) -> SeamsSpec | None:
    """What seams do to a model's classes in square images (C, n, n), some at least.

    None if its network sees whole windows at once.
    """
    multiple, found = model.spec.network.multiple, list[_Comparison]()
    runner = Runner(model.module, device, "fp32", RunnerOptions(multiple=multiple))
    overlaps = sorted({-(-overlap // multiple) * multiple for overlap in OVERLAPS})
    for number, image in enumerate(images):
        values = image if number % 2 else image.transpose(0, 2, 1)  # seams across, and seams along
        found.append(_compare(runner, np.ascontiguousarray(values)[None], overlaps, multiple))
    if float(np.mean([one.far for one in found])) > MOST_FAR:
        return None
    changed = tuple(float(f"{value:.4g}") for value in np.mean([one.changed for one in found], axis=0))
    return SeamsSpec(overlaps=tuple(overlaps), changed=changed, pixels=sum(one.height for one in found))


@dataclass(frozen=True)
class _Square:
    """A part of a raster, or a raster that is reflected beyond its edges."""

    raster: Readable
    window: Window


def _squares(side: SplitSide, length: int) -> list[_Square]:
    """Squares about labelled cells that lie evenly spread in the list of these."""
    cells = [place for place in side.cells.places.tolist() if _is_large(side.rasters[place[0]])]
    numbers = [(2 * i + 1) * len(cells) // (2 * SQUARES) for i in range(SQUARES)] if len(cells) > SQUARES else None
    chosen = cells if numbers is None else [cells[number] for number in numbers]
    return [_square(side.rasters[which], row, col, length) for which, row, col in chosen]


def _read(squares: Sequence[_Square], model: Model, stage: Stage) -> Iterator[Values]:
    for square in squares:
        yield read_padded(square.raster, square.window, model.spec.normalization.mean)[0]
        stage.advance(1)


def _is_large(raster: Readable) -> bool:
    return min(raster.height, raster.width) >= LEAST_PX


def _square(raster: Readable, row: int, col: int, length: int) -> _Square:
    """The square about a pixel, inside the raster as far as that goes."""
    top, left = (_start(at, length, most) for at, most in ((row, raster.height), (col, raster.width)))
    return _Square(raster, Window(top, left, length, length))


def _start(at: int, length: int, most: int) -> int:
    return (most - length) // 2 if most < length else min(max(at - length // 2, 0), most - length)


@dataclass(frozen=True)
class _Comparison:
    """What a seam down the middle of a square changes."""

    changed: tuple[float, ...]
    """Pixels that differ for each pixel along the seam, with each overlap."""
    far: float
    """Share of the pixels far from the windows' borders that differ with the widest one."""
    height: int
    """Length of the seam."""


def _compare(runner: Runner, image: np.ndarray, overlaps: Sequence[int], multiple: int) -> _Comparison:
    """Compare one pass over an image (1, C, H, W) with two windows that overlap in its middle."""
    whole, height, width = _classes(_probabilities(runner, image)), *image.shape[2:]
    changed, differs = [], torch.zeros(0)
    for overlap in overlaps:
        start = (width - overlap) // 2 // multiple * multiple
        differs = (_classes(_blended(runner, image, start, overlap)) != whole).float().cpu()
        changed.append(float(differs.sum()) / height)
    start = (width - overlaps[-1]) // 2 // multiple * multiple
    far = torch.cat([differs[:, : start + overlaps[-1] - FAR_PX], differs[:, start + FAR_PX :]], dim=1)
    return _Comparison(tuple(changed), float(far.mean()) if far.numel() else 0.0, height)


def _blended(runner: Runner, image: np.ndarray, start: int, overlap: int) -> Tensor:
    """Probabilities (K, H, W) of two windows side by side that share `overlap` columns from `start` on."""
    end = start + overlap
    left = _probabilities(runner, np.ascontiguousarray(image[..., :end]))
    right = _probabilities(runner, np.ascontiguousarray(image[..., start:]))
    rising = handover(overlap).to(left.device)
    between = (1 - rising) * left[..., start:] + rising * right[..., :overlap]
    return torch.cat([left[..., :start], between, right[..., overlap:]], dim=-1)


def _probabilities(runner: Runner, image: np.ndarray) -> Tensor:
    return runner(image)[0].softmax(dim=0)


def _classes(probabilities: Tensor) -> Tensor:
    return probabilities.argmax(dim=0)
