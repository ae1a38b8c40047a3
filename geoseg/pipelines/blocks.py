"""Finished blocks of probabilities become pixels of the result rasters, and what is counted on the way.

In: blocks in the grid's order. Out: scratch rasters on the scene's grid, a thumbnail, pixels per class.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.grid import Window
from geoseg.ground import row_areas_m2
from geoseg.pipelines.job import Job
from geoseg.preview import Thumbnail
from geoseg.raster import RasterFormat, ScratchRaster, class_tags
from geoseg.scene import Scene
from geoseg.spec import NODATA_ID
from geoseg.version import __version__


@dataclass(frozen=True)
class ClassShare:
    """How much of the scene one class takes."""

    id: int
    """Class id in the raster."""
    name: str
    """Class name."""
    pixels: int
    """Pixels of the scene."""
    share: float
    """Part of the pixels with data, 0 to 1."""
    area_m2: float | None
    """Ground area in square metres, None where the scene has no ground size."""


class BlockWriter:
    """Takes finished probabilities block by block; holds only a thumbnail and counts per row and class."""

    def __init__(self, job: Job, folder: Path):
        self._job = job
        info = job.scene.info
        self._ids = np.array([c.id for c in job.model.spec.classes], dtype=np.uint8)
        self._counts = np.zeros((info.height, len(self._ids)), dtype=np.int32)
        self.thumbnail = Thumbnail(job.source.height, job.source.width, len(job.model.spec.bands))
        self.landcover = ScratchRaster(folder / "landcover.scratch.tif", info, landcover_format(job))
        self.confidence = self.scores = None
        if job.wants_confidence:
            self.confidence = ScratchRaster(folder / "confidence.scratch.tif", info, confidence_format())
        if job.spec.scores:
            self.scores = ScratchRaster(folder / "scores.scratch.tif", info, scores_format(job))

    def take(self, core: Window, probabilities: Tensor, image: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Write the block that a window finished: probabilities (K, h, w), band values (C, h, w), valid (h, w)."""
        if not core.pixels:
            return
        if self._job.spec.preview:
            self.thumbnail.feed(core.row, core.col, image.astype(np.float32), valid)
        best, index = probabilities.max(dim=0)
        ids = self._ids[index.cpu().numpy()]
        percent = torch.round(best * 100).to(torch.uint8).cpu().numpy()
        window, (ids, percent), valid = self._on_scene_grid(core, (ids, percent), valid)
        ids[~valid] = NODATA_ID
        self.landcover.write(window, ids)
        self._count(window, ids)
        if self.confidence:
            percent[~valid] = NODATA_ID
            self.confidence.write(window, percent)
        if self.scores:
            _, (scores,), _ = self._on_scene_grid(core, (probabilities.cpu().numpy(),), valid)
            self.scores.write(window, np.where(valid, scores, np.float32(np.nan)))

    def _on_scene_grid(
        self, core: Window, values: tuple[NDArray[Any], ...], valid: NDArray[np.bool_]
    ) -> tuple[Window, tuple[NDArray[Any], ...], NDArray[np.bool_]]:
        """Bring a block to the scene's own pixels; what holds data is then decided by those."""
        source = self._job.source
        if isinstance(source, Scene):
            return core, values, valid
        window = source.native_window(core)
        if not window.pixels:
            return (
                window,
                tuple(source.to_native(v, core) for v in values),
                np.empty((window.height, window.width), bool),
            )
        return window, tuple(source.to_native(v, core) for v in values), source.scene.read(window)[1]

    def _count(self, window: Window, ids: NDArray[np.uint8]) -> None:
        rows = np.arange(window.height, dtype=np.int64)[:, None] * (NODATA_ID + 1)
        counts = np.bincount((rows + ids).ravel(), minlength=window.height * (NODATA_ID + 1))
        per_class = counts.reshape(-1, NODATA_ID + 1)[:, self._ids]
        self._counts[window.row : window.row + window.height] += per_class.astype(np.int32)

    def shares(self) -> tuple[ClassShare, ...]:
        """Share and ground area of each class."""
        info = self._job.scene.info
        pixels = self._counts.sum(axis=0, dtype=np.int64)
        row_areas = row_areas_m2(info.crs, info.transform, info.height, info.width)
        areas = None if row_areas is None else row_areas @ self._counts
        total = max(1, int(pixels.sum()))
        return tuple(
            ClassShare(c.id, c.name, int(count), int(count) / total, None if areas is None else float(areas[index]))
            for index, (c, count) in enumerate(zip(self._job.model.spec.classes, pixels, strict=True))
        )

    def close(self) -> None:
        """Finish the scratch rasters."""
        for scratch in (self.landcover, self.confidence, self.scores):
            if scratch:
                scratch.close()


def landcover_format(job: Job) -> RasterFormat:
    """Class ids, with the classes' colours and names, the model and its settings."""
    classes = job.model.spec.classes
    tags = class_tags(classes) | {
        "GEOSEG_MODEL": job.model.spec.name,
        "GEOSEG_VERSION": __version__,
        "GEOSEG_SETTINGS": json.dumps(job.settings),
    }
    return RasterFormat("uint8", NODATA_ID, ("class",), "mode", {c.id: c.color for c in classes}, tags)


def confidence_format() -> RasterFormat:
    """Probability of the chosen class in percent."""
    return RasterFormat("uint8", NODATA_ID, ("probability of the class in percent",), "average")


def scores_format(job: Job) -> RasterFormat:
    """Probability of every class, 0 to 1."""
    return RasterFormat("float32", math.nan, tuple(c.name for c in job.model.spec.classes), "average")
