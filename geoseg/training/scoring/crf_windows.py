"""A dense CRF between the blending of scored windows and the counting of their pixels, as in a prediction.

In: blended windows, raster after raster. Out: the same windows with the logits that the CRF finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geoseg.geo.grid import Place, Window
from geoseg.inference.crf import Crf
from geoseg.inference.mean_field import Floats
from geoseg.raster.window_store import WindowStore
from geoseg.training.scoring.count_units import CountedWindow, shown_of
from geoseg.training.scoring.model_rasters import ModelRaster


def after_crf(windows: Iterable[CountedWindow], crf: Crf, classes: int, folder: Path) -> Iterator[CountedWindow]:
    """Yield the windows once the CRF has been over all those of their raster.

    Args:
        windows: blended windows, those of a raster one after the other.
        crf: the CRF.
        classes: number of classes.
        folder: for scratch files.
    """
    for which, group in groupby(windows, key=lambda window: window.which):
        raster, places, held = None, [], None
        for window in group:
            if held is None:
                raster, held = window.raster, _Held(window.raster, classes, folder)
            held.put(window)
            places.append(window.place)
        if raster is None or held is None:
            continue
        found = WindowStore(classes, *_size(raster), folder, dtype=np.float32)
        for block in crf.blocks(raster.bands, held.read):
            found.write(block.window, block.logits)
        yield from (_AfterCrf(which, raster, place, found) for place in places)


def _size(raster: ModelRaster) -> tuple[int, int]:
    """Height and width of the labelled grid."""
    return raster.mosaic.height, raster.mosaic.width


class _Held:
    """The logits of a raster on the labelled grid: in the cores of windows blended, around them those of a window."""

    def __init__(self, raster: ModelRaster, classes: int, folder: Path):
        self._logits = WindowStore(classes, *_size(raster), folder, dtype=np.float32)
        self._is_held = WindowStore(1, *_size(raster), folder)

    def put(self, window: CountedWindow) -> None:
        """Keep the logits of a window: all in its core, elsewhere those of pixels that have none."""
        core = window.raster.source.scene_window(window.place.core)
        for band, logits in window.on_labelled_grid():
            kept, is_held = self._logits.read(band), self._is_held.read(band)
            wanted = is_held[0] == 0
            wanted[core.shift(-band.row, -band.col).clip(band.height, band.width).slices] = True
            np.copyto(kept, logits.numpy(), where=wanted)
            self._logits.write(band, kept)
            self._is_held.write(band, np.ones_like(is_held))

    def read(self, window: Window) -> Floats:
        """Logits (K, h, w) of a window; NaN where there are none."""
        return np.where(self._is_held.read(window) > 0, self._logits.read(window), np.float32(np.nan))


@dataclass(frozen=True)
class _AfterCrf:
    """A window with the logits that the CRF has found."""

    which: int
    """Number of the raster."""
    raster: ModelRaster
    """The raster."""
    place: Place
    """Its place in the grid."""
    found: WindowStore
    """The logits of the whole raster on the labelled grid."""

    @property
    def shown(self) -> Window:
        """The pixels of the labelled grid that its logits cover."""
        return shown_of(self.raster, self.place)

    def on_labelled_grid(self) -> Iterator[tuple[Window, Tensor]]:
        """Its logits (K, n, m) on these pixels."""
        yield self.shown, torch.from_numpy(self.found.read(self.shown))
