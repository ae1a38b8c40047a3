"""Finished tile rows become whole rasters on the scene's grid, with their pixel counts.

In: a work folder in which all tile rows are finished. Out: mosaics of their rows, shares of the classes, a thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.inference.cores import CONFIDENCE_TAG, new_thumbnail, part_formats
from geoseg.inference.crop_statistics import CropStatistics
from geoseg.inference.job import Job
from geoseg.inference.tally import count_by_row
from geoseg.inference.tile_rows import join_tile_rows
from geoseg.inference.unlike import unlike_notice
from geoseg.inference.work_folder import WorkFolder
from geoseg.outputs.geotiff import Part, PartRaster, RasterFormat, write_mosaic
from geoseg.outputs.thumbnail import Thumbnail
from geoseg.raster.scene_info import SceneInfo
from geoseg.raster.strips import Strip
from geoseg.spec import ClassSpec


@dataclass(frozen=True)
class Assembled:
    """The rasters of a whole scene, with pixel counts and a thumbnail."""

    rasters: dict[str, Path]
    """Rasters on the scene's grid, by kind: landcover, confidence, uncertainty, scores; landcover and logits before a
    CRF."""
    formats: dict[str, RasterFormat]
    """Their formats, by kind."""
    counts: NDArray[np.int32]
    """Pixels by row and class (H, K)."""
    forwarded_px: int
    """Pixels that went through the network."""
    confidence: float | None
    """Mean probability of the chosen class, 0 to 1; None where no pixel holds data."""
    thumbnail: Thumbnail
    """The scene shrunk for the preview; empty if no preview is wanted."""

    @property
    def folder(self) -> Path:
        """The folder of the rasters, for further files that are removed with them."""
        return self.rasters["landcover"].parent


def assemble(job: Job, work: WorkFolder) -> Assembled:
    """Assemble the finished tile rows, and blend the seams between those that different workers forwarded.

    A notice says so if the scene looks unlike the training imagery of the model.

    Raises:
        OutputError: if the work folder is another run's, or a file is missing.
    """
    work.check_owner()
    for i in range(job.grid.rows.count):
        if not work.is_finished(i):
            raise work.damage()
        if i:
            join_tile_rows(job, work, i)
    info, formats = job.scene.info, part_formats(job)
    crops: list[CropStatistics] = []
    counts = np.zeros((info.height, len(job.model.spec.classes)), np.int32)
    parts: dict[str, list[Part]] = {kind: [] for kind in formats}
    thumbnail, forwarded, percent_sum = new_thumbnail(job), 0, 0
    for name, record in work.records():
        counts[record.rows] += record.counts
        forwarded += record.forwarded_px
        percent_sum += record.percent_sum
        if record.thumbnail:
            thumbnail.add(record.thumbnail)
        if record.crops:
            crops.append(record.crops)
        for kind in formats.keys() & set(record.kinds):
            parts[kind].append(Part(work.part(name, kind), record.row, len(record.counts)))
    if (line := unlike_notice(job, CropStatistics.join(crops))) is not None:
        job.log.notice(line)
        formats = part_formats(job)  # whose tags hold the notice
    formats, confidence = with_confidence(formats, counts, percent_sum)
    rasters = {kind: work.path / f"{kind}.vrt" for kind in formats}
    for kind, path in rasters.items():
        write_mosaic(path, info, formats[kind], parts[kind])
    return Assembled(rasters, formats, counts, forwarded, confidence, thumbnail)


def with_confidence(
    formats: Mapping[str, RasterFormat], counts: NDArray[np.int32], percent_sum: int
) -> tuple[dict[str, RasterFormat], float | None]:
    """The formats with the mean probability of the chosen class in the tags of the class raster, and that mean; None
    without pixels (H, K) that hold data."""
    valid_px = int(counts.sum(dtype=np.int64))
    if not valid_px:
        return dict(formats), None
    confidence = percent_sum / valid_px / 100
    return {**formats, "landcover": formats["landcover"].with_tags({CONFIDENCE_TAG: f"{confidence:.4f}"})}, confidence


def replace_classes(
    assembled: Assembled, info: SceneInfo, classes: Iterable[ClassSpec], strips: Iterable[Strip]
) -> None:
    """Replace the assembled class raster by another one, given in strips from top to bottom."""
    layout, mosaic = assembled.formats["landcover"], assembled.rasters["landcover"]
    ids_of = np.array([c.id for c in classes], np.uint8)
    path = mosaic.with_name("generalized.tif")
    with PartRaster(path, (info.height, info.width), layout) as raster:
        for strip in strips:
            raster.write(Window(strip.row, 0, *strip.ids.shape), strip.ids)
            assembled.counts[strip.row : strip.stop] = count_by_row(strip.ids, ids_of)
    write_mosaic(mosaic, info, layout, [Part(path, 0, info.height)])
