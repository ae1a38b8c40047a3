"""Where the training windows of a run come from: drawn anew in every epoch, or kept on disk.

In: the settings of a run, and labelled rasters. Out: batches of training windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from geoseg.core.version import __version__
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.surroundings import Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import ModelSpec, TrainSpec
from geoseg.training.data.training_data import TrainingData
from geoseg.training.loader import Loader, reading_threads
from geoseg.training.methods.method import LABELLED, METHODS, UNLABELLED, marks_unlabelled
from geoseg.training.run.run_folder import RunFolder
from geoseg.training.run.settings import Hardware
from geoseg.training.seeds import joint_seed
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.cache_identity import digest, digest_of_arrays, frozen_identity
from geoseg.training.windows.cached_windows import CachedWindows, Drawing
from geoseg.training.windows.joint_windows import JointWindows, Stream
from geoseg.training.windows.random_windows import LabelledCells, Sampling, TrainingWindows, stack_windows
from geoseg.training.windows.view_windows import ViewWindows, stack_view_windows


@dataclass(frozen=True)
class Forwarding:
    """What training windows go through."""

    network: SegmentationNetwork
    """The network with its first weights."""
    augment: Augment
    """Augmentation of training windows."""
    hardware: Hardware
    """Device and arithmetic."""
    model: ModelSpec
    """The spec of the trained model."""


@dataclass(frozen=True)
class Source:
    """Training windows and how batches are made of them."""

    windows: JointWindows
    """The windows of each kind, item by item."""
    drawn: TrainingWindows
    """The labelled ones as they are drawn, which may be once."""
    learnt_from: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the run learns from besides its data, by name: a resumed run needs the same."""

    def loader(self, spec: TrainSpec) -> Loader:
        """Batches of an epoch; those at its end that fill no optimizer step are left out."""
        count = spec.windows_per_epoch // spec.batch_size
        count -= count % spec.optimizer.accumulate  # a last step of fewer batches would be a smaller one
        # Views are averaged at first use, by one thread; cached windows are not read here.
        threads = 1 if spec.views or spec.cache is not None else reading_threads()
        return Loader(self.windows, self.windows.batches(count), self.windows.stack, threads)


def training_source(spec: TrainSpec, data: TrainingData, folder: RunFolder, through: Forwarding) -> Source:
    """The training windows that the settings ask for; nothing is drawn yet."""
    kind = METHODS.get(spec.method.name)
    has_own_stream = UNLABELLED in kind.needs
    sampling = Sampling(
        window=spec.window,
        read_side=spec.read_side,
        per_epoch=spec.windows_per_epoch,
        balance=spec.data.class_balance,
        seed=spec.seed,
        marks_unlabelled=marks_unlabelled(spec),
        unlabelled=0.0 if has_own_stream else spec.data.unlabelled_share,
    )
    if spec.cache is not None:
        return _cached(spec, data, sampling, folder, through)
    drawn, stack = _drawn(spec, data, sampling, folder, through.model)
    streams = {LABELLED: Stream(drawn, stack, spec.batch_size)}
    if has_own_stream:
        streams[UNLABELLED] = _without_labels(spec, data, sampling, through.model)
    return Source(JointWindows(streams), drawn)


def _drawn(
    spec: TrainSpec, data: TrainingData, sampling: Sampling, folder: RunFolder, model: ModelSpec
) -> tuple[TrainingWindows, Callable[[list[Any]], Any]]:
    """Windows that are drawn anew in every epoch, and what makes batches of them."""
    rasters, fill = (*data.train.rasters, *data.unlabelled.rasters), model.normalization.mean
    cells = _cells(data)
    if spec.views:
        windows = ViewWindows(rasters, cells, sampling, fill, spec.views, spec.augment, folder.path)
        return windows, stack_view_windows
    return TrainingWindows(rasters, cells, sampling, fill), stack_windows


def _without_labels(spec: TrainSpec, data: TrainingData, sampling: Sampling, model: ModelSpec) -> Stream:
    """Windows of the images without labels alone, which have no views; devices share them evenly."""
    own = replace(sampling, unlabelled=1.0, marks_unlabelled=True, seed=joint_seed(spec.seed, 1))
    labelled = LabelledCells(np.zeros((0, 3), np.int64), np.zeros((0, len(spec.classes)), np.int64))
    cells = labelled.joined_by(data.unlabelled.cells, 0)
    windows = TrainingWindows(data.unlabelled.rasters, cells, own, model.normalization.mean)
    return Stream(windows, stack_windows, spec.unlabelled_batch)


def _cells(data: TrainingData) -> LabelledCells:
    return data.train.cells.joined_by(data.unlabelled.cells, len(data.train.rasters))


def _cached(spec: TrainSpec, data: TrainingData, sampling: Sampling, folder: RunFolder, through: Forwarding) -> Source:
    """Windows that are drawn once."""
    cache = spec.cache
    assert cache is not None  # which is why windows are kept
    kept = replace(sampling, per_epoch=cache.windows, seed=cache.seed)
    drawn, stack = _drawn(spec, data, kept, folder, through.model)
    frozen = frozen_identity(through.network, _noise(spec, len(through.model.bands)))
    name = digest(
        {
            "geoseg": __version__,
            "files": data.fingerprint,
            "data": spec.data.model_dump(mode="json", exclude={"memory_mb"}),
            "cells": [digest_of_arrays(vars(_cells(data)))],
            "sampling": vars(drawn.sampling),
            "augment": spec.augment.model_dump(mode="json"),
            "colours": [data.value_range, through.augment.visible, through.model.normalization.mean],
            "views": [level.model_dump(mode="json") for level in spec.views],
            "arithmetic": [through.hardware.device.type, through.hardware.precision],
            "frozen": vars(frozen),
        }
    )
    drawing = Drawing(
        drawn,
        stack,
        through.augment,
        through.network,
        through.hardware.device,
        through.hardware.precision,
    )
    path = (cache.folder or folder.cached_windows) / f"{name}.safetensors"
    windows = CachedWindows(path, drawing, per_epoch=spec.windows_per_epoch, seed=spec.seed)
    streams = {LABELLED: Stream(windows, windows.stack, spec.batch_size)}
    return Source(JointWindows(streams), drawn, {"frozen": frozen.weights} if frozen.outputs else {})


def _noise(spec: TrainSpec, bands: int) -> LabelledWindows:
    """A window of noise, in the middle of views of noise."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, bands, spec.window, spec.window, generator=generator)
    views = tuple(torch.rand(1, bands + 1, level.size, level.size, generator=generator) for level in spec.views)
    boxes = tuple(torch.tensor([[0.25, 0.25, 0.75, 0.75]]) for _ in views)
    labels = tuple(torch.zeros(1, level.size, level.size, dtype=torch.uint8) for level in spec.views)
    return LabelledWindows(image * 255, torch.zeros_like(image[:, 0]).long(), Views(views, boxes), labels)
