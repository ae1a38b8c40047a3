"""Finished blocks of probabilities become pixels of the result rasters, and what is counted on the way.

In: blocks in the grid's order. Out: scratch rasters on the scene's grid, a thumbnail, pixels per class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.batches import Sample
from geoseg.grid import Window
from geoseg.ground import row_areas_m2
from geoseg.pipelines.job import Job
from geoseg.raster import RasterFormat, ScratchRaster, class_tags
from geoseg.spec import NODATA_ID
from geoseg.thumbnail import Thumbnail
from geoseg.trace import Strip
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
        self._shown = shown_bands(job.model.spec.bands)
        self.thumbnail = None
        if job.spec.preview:
            self.thumbnail = Thumbnail(job.source.height, job.source.width, len(self._shown))
        self.landcover = ScratchRaster(folder / "landcover.scratch.tif", info, landcover_format(job))
        self.confidence = self.scores = None
        if job.wants_confidence:
            self.confidence = ScratchRaster(folder / "confidence.scratch.tif", info, confidence_format())
        if job.spec.scores:
            self.scores = ScratchRaster(folder / "scores.scratch.tif", info, scores_format(job))

    def take(self, sample: Sample, probabilities: Tensor) -> None:
        """Write the block that a window finished, given its probabilities (K, h, w)."""
        core, source = sample.place.core, self._job.source
        if not core.pixels:
            return
        if self.thumbnail:
            self._feed_thumbnail(self.thumbnail, sample)
        best, index = probabilities.max(dim=0)
        window, valid = source.scene_window(core), sample.scene_valid
        ids = np.where(valid, source.to_scene(self._ids[index.cpu().numpy()], core), np.uint8(NODATA_ID))
        self.landcover.write(window, ids)
        self._count(window, ids)
        if self.confidence:
            percent = source.to_scene(torch.round(best * 100).to(torch.uint8).cpu().numpy(), core)
            self.confidence.write(window, np.where(valid, percent, np.uint8(NODATA_ID)))
        if self.scores:
            layout = self.scores.layout
            given = probabilities if layout.dtype == "float32" else torch.round(probabilities * 100).to(torch.uint8)
            scores = source.to_scene(given.cpu().numpy(), core)
            self.scores.write(window, np.where(valid, scores, scores.dtype.type(layout.nodata)))

    def _feed_thumbnail(self, thumbnail: Thumbnail, sample: Sample) -> None:
        core, window = sample.place.core, sample.place.window
        inside = core.shift(-window.row, -window.col).slices
        image = sample.image[self._shown][:, *inside].astype(np.float32)
        thumbnail.feed(core.row, core.col, image, sample.valid[inside])

    def _count(self, window: Window, ids: NDArray[np.uint8]) -> None:
        rows = np.arange(window.height, dtype=np.int64)[:, None] * (NODATA_ID + 1)
        counts = np.bincount((rows + ids).ravel(), minlength=window.height * (NODATA_ID + 1))
        per_class = counts.reshape(-1, NODATA_ID + 1)[:, self._ids]
        self._counts[window.row : window.row + window.height] += per_class.astype(np.int32)

    def replace_classes(self, strips: Iterable[Strip]) -> None:
        """Write another class raster in the place of the finished one, from top to bottom."""
        path = self.landcover.path
        with ScratchRaster(
            path.with_name(f"generalized.{path.name}"), self._job.scene.info, self.landcover.layout
        ) as new:
            self._counts[:] = 0
            for row, ids, _ in strips:
                window = Window(row, 0, *ids.shape)
                new.write(window, ids)
                self._count(window, ids)
        self.landcover = new

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


def shown_bands(bands: tuple[str, ...]) -> list[int]:
    """Indexes of red, green and blue where the model has them, else of its first three bands, or its first."""
    if {"red", "green", "blue"} <= set(bands):
        return [bands.index(name) for name in ("red", "green", "blue")]
    return [0, 1, 2] if len(bands) >= 3 else [0]


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
    """Probability of every class, 0 to 1 or in percent."""
    names = tuple(c.name for c in job.model.spec.classes)
    if job.spec.scores_type == "uint8":
        return RasterFormat("uint8", NODATA_ID, tuple(f"{name}, percent" for name in names), "average")
    return RasterFormat("float32", math.nan, names, "average")
