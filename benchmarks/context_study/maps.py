"""Class maps of validation images: what each arm, and each wrong context, makes of every pixel.

In: a bundle and validation rasters. Out: class indexes of each raster, and how much of the views holds data there.
Windows are not blended: each pixel is classified in the window whose core it lies in, as `geoseg evaluate` scores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.models.model import Model
from geoseg.models.runner import Runner
from geoseg.models.surroundings import NO_CONTEXT, Context, Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, ModelSpec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.scoring.score_windows import load_scored, scored_windows
from geoseg.training.scoring.scored_batch import ScoredBatch
from geoseg.training.scoring.scored_windows import ScoredWindows

BATCH_PX = 8 * 512**2
"""Pixels forwarded at once."""

ClassMaps = list[NDArray[np.uint8]]
"""Class indexes of each raster (H, W); IGNORE where nothing was scored."""
Classify = Callable[[int, ScoredBatch], Mapping[str, Tensor]]
"""Logits (B, K, T, T) of a batch, given its number, by what the network was shown."""


@dataclass(frozen=True)
class Validation:
    """The windows of a model over the validation rasters."""

    side: SplitSide
    """Rasters and labels."""
    model: ModelSpec
    """Its tile, overlap and views are those of the windows."""

    @cached_property
    def windows(self) -> ScoredWindows:
        """The windows, to be prepared for models that refine."""
        return scored_windows(self.side, self.model)

    @cached_property
    def batches(self) -> list[ScoredBatch]:
        """All windows, read and kept; for models that do not refine."""
        return list(load_scored(self.windows, BATCH_PX))

    @property
    def places(self) -> list[list[int]]:
        """Numbers of the windows of each batch."""
        return list(load_scored(self.windows, BATCH_PX).batches)

    @property
    def truth(self) -> ClassMaps:
        """The labels."""
        from geoseg.geo.grid import Window

        return [raster.read_labels(Window(0, 0, raster.height, raster.width)) for raster in self.side.rasters]

    def blank(self, value: float, kind: type) -> list[NDArray]:
        """One array per raster."""
        return [np.full((raster.height, raster.width), value, kind) for raster in self.side.rasters]

    def put(self, maps: Sequence[NDArray], numbers: Iterable[int], values: Iterable[NDArray]) -> None:
        """Write the cores of windows, given as arrays (T, T), into maps of the rasters."""
        for number, value in zip(numbers, values, strict=True):
            which, place = self.windows.places[number]
            raster = self.side.rasters[which]
            core = place.core.clip(raster.height, raster.width)
            maps[which][core.slices] = value[core.shift(-place.window.row, -place.window.col).slices]

    def class_maps(self, classify: Classify, batches: Iterable[ScoredBatch] | None = None) -> dict[str, ClassMaps]:
        """Classify all windows."""
        found: dict[str, ClassMaps] = {}
        batches = self.batches if batches is None else batches
        for number, (indexes, batch) in enumerate(zip(self.places, batches, strict=True)):
            for name, logits in classify(number, batch).items():
                maps = found.setdefault(name, self.blank(IGNORE, np.uint8))
                self.put(maps, indexes, logits.argmax(dim=1).to(torch.uint8).numpy())
        return found

    def filled(self) -> list[NDArray[np.float32]]:
        """Share of the emptiest view that holds data, for each pixel (H, W)."""
        found = self.blank(0, np.float32)
        for indexes, batch in zip(self.places, self.batches, strict=True):
            shares = torch.stack([view[:, -1].mean(dim=(1, 2)) for view in batch.views.images]).amin(dim=0)
            self.put(found, indexes, [np.full(batch.labels.shape[1:], share, np.float32) for share in shares])
        return found


def alone(model: Model, validation: Validation) -> dict[str, ClassMaps]:
    """Windows alone, or the network in a model whose branch is left out."""
    runner = _runner(model)
    return validation.class_maps(lambda _, batch: {"": runner(batch.image.numpy())})


def in_context(model: Model, validation: Validation) -> dict[str, ClassMaps]:
    """Windows in their own context, in that of windows far away, and in views without data."""
    runner, network = _runner(model), model.module
    batches = validation.batches
    every = [
        torch.cat([batch.views.images[level] for batch in batches]) for level in range(len(model.spec.branch.levels))
    ]
    sizes = [len(batch.image) for batch in batches]
    far = list(zip(*(views.roll(len(views) // 2, 0).split(sizes) for views in every), strict=True))

    def classify(number: int, batch: ScoredBatch) -> dict[str, Tensor]:
        image, boxes = batch.image, batch.views.boxes
        shown = {
            "": batch.views.images,
            "another window's": far[number],
            "empty": tuple(torch.zeros_like(view) for view in batch.views.images),
        }
        with runner.session():
            image = image.contiguous(memory_format=torch.channels_last)
            frozen = network.frozen_outputs(LabelledWindows(image, batch.labels))
            seen = {name: network.see(Views(views, boxes)) for name, views in shown.items()}
            return {name: network.fuse(*frozen, context).float() for name, context in seen.items()}

    return validation.class_maps(classify)


def refined(model: Model, validation: Validation, fraction: float, *, controls: bool = False) -> dict[str, ClassMaps]:
    """Windows whose coarser views were classified before, at a share of forwarded windows; by `""`.

    With `controls` also: the coarser view's classes alone, the mean of both, and the module shown the coarser view of
    another window, and one that says nothing.
    """
    runner, windows = _runner(model), validation.windows
    windows.view.prepare(lambda: runner, BATCH_PX, fraction)

    def classify(_: int, batch: ScoredBatch) -> dict[str, Tensor]:
        found = {"": windows.view.classify(runner, batch)}
        return found | (_refine_controls(runner, batch) if controls else {})

    return validation.class_maps(classify, load_scored(windows, BATCH_PX))


def _refine_controls(runner: Runner, batch: ScoredBatch) -> dict[str, Tensor]:
    image, context = batch.image.numpy(), Context(*batch.views)
    coarse = runner.upsampled(context, (image.shape[-2], image.shape[-1]))
    fine = runner(image, NO_CONTEXT).log_softmax(dim=1)
    maps = context.maps[0]
    return {
        "coarse": coarse,
        "mean": torch.logaddexp(fine, coarse),
        "shuffled": runner(image, Context((maps.roll(1, 0),), context.boxes)),
        "no map": runner(image, Context((torch.full_like(maps, 1 / maps.shape[1]),), context.boxes)),
    }


def _runner(model: Model) -> Runner:
    return Runner(model.module, "cpu", "bf16")
