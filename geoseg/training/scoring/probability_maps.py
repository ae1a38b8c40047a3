"""The probabilities of a model on the labelled grid, kept while it is scored.

In: logits of windows, blended as in a prediction. Out: an array of probabilities for each labelled mosaic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg.data.labels import Indexes
from geoseg.data.mosaic import Mosaic
from geoseg.geo.grid import Window
from geoseg.metrics.confident_learning import Probabilities
from geoseg.raster.window_store import WindowStore
from geoseg.spec import IGNORE

STRIP_PX = 2**21
"""Pixels of a mosaic that are read at once."""


@dataclass(frozen=True)
class ProbabilityMap:
    """A labelled mosaic, and what a model says of its labelled pixels."""

    mosaic: Mosaic
    """The mosaic, with labels."""
    store: WindowStore
    """Probabilities (K, H, W), float16; zeros where nothing was scored."""

    def read(self, window: Window) -> tuple[Probabilities, Indexes]:
        """Probabilities (K, h, w) of a window, and labels (h, w); IGNORE where nothing was scored."""
        probabilities = self.store.read(window).astype(np.float32)
        labels = self.mosaic.read_labels(window)
        labels[~probabilities.any(axis=0)] = IGNORE
        return probabilities, labels

    def strips(self) -> Iterator[Window]:
        """Windows of whole rows, from top to bottom."""
        whole = Window(0, 0, self.mosaic.height, self.mosaic.width)
        yield from whole.bands(max(1, STRIP_PX // self.mosaic.width))


class ProbabilityMaps:
    """Takes the logits of a scored model, and keeps their probabilities.

    Logits are not divided by the model's temperature: that was fitted to the labels in question, wrong ones included,
    and differs from fold to fold of a cross-validation.
    """

    def __init__(self, mosaics: Sequence[Mosaic], classes: int, folder: Path):
        """Make room for all mosaics.

        Args:
            mosaics: labelled mosaics.
            classes: number of classes.
            folder: for files of large mosaics.

        Raises:
            OutputError: if the disk has no room for them.
        """
        self.maps = [
            ProbabilityMap(mosaic, WindowStore(classes, mosaic.height, mosaic.width, folder, dtype=np.float16))
            for mosaic in mosaics
        ]

    def put(self, which: int, window: Window, logits: Tensor, wanted: Tensor) -> None:
        """Keep the logits (K, h, w) of a window of a mosaic where they are wanted (h, w)."""
        store = self.maps[which].store
        held = store.read(window)
        found: NDArray[np.float32] = logits.softmax(dim=0).numpy()
        np.copyto(held, found, where=wanted.numpy(), casting="same_kind")
        store.write(window, held)
