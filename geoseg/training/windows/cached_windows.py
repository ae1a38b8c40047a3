"""Training windows that are drawn, augmented and forwarded through the frozen parts of a network once, for all epochs.

In: windows as they are drawn in an epoch, and a network. Out: a file of them, from which every epoch takes its windows
in another order. The file depends on the seed of the drawing alone, not on that of the run, so that runs share it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.events import Reporter, Stage
from geoseg.core.files import LOCK_END, hidden_name, release_lock, try_lock, write_errors
from geoseg.models.runner import arithmetic
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.surroundings import Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.training.loader import Loader
from geoseg.training.seeds import joint_seed
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import UNLABELLED, TrainingWindows, split_marked
from geoseg.training.windows.window_file import Parts, read_windows, write_windows

DRAWN_AT_ONCE = 8
"""Windows that are augmented and forwarded together. Their values depend on it, and not on the batches of a run."""
LOCK_EVERY_S = 0.5
"""Time between two attempts to get the lock that another run holds, in seconds."""


class CachedBatch(NamedTuple):
    """Augmented windows, and what the frozen parts make of them."""

    image: Tensor
    """Band values (B, C, S, S), float32."""
    labels: Tensor
    """Class indexes (B, S, S), uint8; IGNORE or UNLABELLED where nothing is labelled."""
    views: Views
    """The views of each level."""
    view_labels: tuple[Tensor, ...]
    """Per level: class indexes of the view's pixels (B, n, n)."""
    frozen: tuple[Tensor, ...]
    """Outputs of the frozen parts, each (B, ...)."""

    @classmethod
    def of(cls, windows: LabelledWindows, frozen: tuple[Tensor, ...]) -> CachedBatch:
        """The same windows, with labels in a smaller type."""
        labels = windows.labels.masked_fill(windows.unlabelled, UNLABELLED).to(torch.uint8)
        return cls(windows.image, labels, windows.views, windows.view_labels, frozen)

    @classmethod
    def from_parts(cls, parts: Parts) -> CachedBatch:
        """The windows whose tensors are given by name."""

        def levels(name: str) -> tuple[Tensor, ...]:
            found = sorted((key for key in parts if key.startswith(f"{name}.")), key=lambda key: int(key.split(".")[1]))
            return tuple(parts[key] for key in found)

        views = Views(levels("views"), levels("boxes"))
        return cls(parts["image"], parts["labels"], views, levels("view_labels"), levels("frozen"))

    def parts(self) -> Parts:
        """All tensors by name."""
        levels = {
            "views": self.views.images,
            "boxes": self.views.boxes,
            "view_labels": self.view_labels,
            "frozen": self.frozen,
        }
        numbered = {f"{name}.{i}": one for name, tensors in levels.items() for i, one in enumerate(tensors)}
        return {"image": self.image, "labels": self.labels, **numbered}

    def augmented(self, augment: Augment, side: int, generator: torch.Generator) -> LabelledWindows:
        """The windows as they were augmented when they were stored."""
        labels, unlabelled = split_marked(self.labels.long())
        return LabelledWindows(self.image, labels, self.views, self.view_labels, unlabelled, frozen=self.frozen)


@dataclass(frozen=True)
class Drawing:
    """How the windows that are kept are made."""

    windows: TrainingWindows
    """The windows as read, as many as are kept."""
    stack: Callable[[list[Any]], Any]
    """Makes a `TrainingBatch` of them."""
    augment: Augment
    """Their augmentation."""
    network: SegmentationNetwork
    """The network whose frozen parts are evaluated."""
    device: torch.device
    """Where."""
    precision: str
    """fp32, bf16 or fp16."""

    def batches(self) -> Iterator[CachedBatch]:
        """Draw, augment and forward all windows; each batch is in main memory."""
        count = len(self.windows)
        starts = range(0, count, DRAWN_AT_ONCE)
        batches = [range(start, min(start + DRAWN_AT_ONCE, count)) for start in starts]
        self.network.to(self.device)
        for module in self.network.frozen_parts:
            module.eval()
        for number, batch in enumerate(Loader(self.windows, batches, self.stack)):
            yield move_data_to_device(self._made(number, batch), torch.device("cpu"))

    @torch.no_grad()
    def _made(self, number: int, batch: Any) -> CachedBatch:
        generator = torch.Generator(self.device).manual_seed(joint_seed(self.windows.sampling.seed, 0, 0, number))
        with arithmetic(self.device, self.precision):
            moved = move_data_to_device(batch, self.device)
            windows = moved.augmented(self.augment, self.windows.sampling.window, generator)
            return CachedBatch.of(windows, self.network.frozen_outputs(windows))


class CachedWindows:
    """Windows of a file, in another order in every epoch; an item is the number of a window."""

    def __init__(self, path: Path, drawing: Drawing, *, per_epoch: int, seed: int):
        """Describe the windows; nothing is drawn or read yet.

        Args:
            path: file of the windows; other windows have another name.
            drawing: makes them.
            per_epoch: windows per epoch; may be more or less than there are.
            seed: seed of the order.
        """
        self.path, self.epoch = path, 0
        self._drawing, self._per_epoch, self._seed = drawing, per_epoch, seed

    def __len__(self) -> int:
        """Windows per epoch."""
        return self._per_epoch

    def __getitem__(self, index: int) -> int:
        """Number of the window at a place of the epoch; none comes again before all others have."""
        again, place = divmod(index, len(self._drawing.windows))
        return int(_shuffled(len(self._drawing.windows), self._seed, self.epoch, again)[place])

    def stack(self, numbers: Sequence[int]) -> CachedBatch:
        """Make a batch of windows, given their numbers."""
        return CachedBatch.from_parts({name: tensor[list(numbers)] for name, tensor in self._stored.items()})

    def prepare(self, reporter: Reporter) -> None:
        """Make the windows, unless their file is there; a second run that needs the same file waits for it.

        Reports the stage `caching`, in windows.

        Raises:
            SceneError: if an image cannot be read.
            OutputError: if the file cannot be written.
        """
        if read_windows(self.path) is not None:
            return
        with _alone(self.path, reporter):
            if read_windows(self.path) is None:
                write_windows(self.path, len(self._drawing.windows), self._reported(reporter))

    def _reported(self, reporter: Reporter) -> Iterator[Parts]:
        stage = Stage(reporter, "caching", len(self._drawing.windows))
        stage.advance()
        for batch in self._drawing.batches():
            yield batch.parts()
            stage.advance(len(batch.image))

    @cached_property
    def _stored(self) -> Parts:
        """All windows, memory-mapped."""
        found = read_windows(self.path)
        assert found is not None  # prepare has made it
        return found


@lru_cache(maxsize=4)
def _shuffled(count: int, *seeds: int) -> NDArray[np.int64]:
    return np.random.default_rng(seeds).permutation(count)


@contextmanager
def _alone(path: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the lock of a file, once no other process does; without one where the file system or its owner forbids."""
    with write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(hidden_name(path.name, LOCK_END))
    try:
        lock, may_lock = try_lock(lock_path), True
    except NotImplementedError:
        lock, may_lock = None, False
    if lock is None and may_lock:
        reporter.notice(f"another run makes the cached windows in {path.parent}: waiting for it")
    while lock is None and may_lock and os.access(lock_path, os.W_OK):
        time.sleep(LOCK_EVERY_S)
        lock = try_lock(lock_path)
    try:
        yield
    finally:
        release_lock(lock)
