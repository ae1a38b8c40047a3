"""Finished blocks become pixels of the result rasters, and their counts by row and class.

In: decided blocks of one tile row after the other. Out: rows of the rasters, in a work folder, and their records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.version import __version__
from geoseg.geo.grid import Window
from geoseg.inference.batches import Sample, Shrink, not_shown
from geoseg.inference.crop_statistics import CropStatistics
from geoseg.inference.crops import DescribedCrops
from geoseg.inference.decide import Decision
from geoseg.inference.fingerprint import output_fingerprints, raster_fingerprint
from geoseg.inference.job import Job
from geoseg.inference.tally import paint
from geoseg.inference.uncertainties.written import WrittenUncertainty
from geoseg.inference.work_folder import Record, WorkFolder
from geoseg.outputs.geotiff import PartRaster, RasterFormat
from geoseg.outputs.thumbnail import Thumbnail
from geoseg.raster.legend import class_tags
from geoseg.raster.notices_tag import notices_tags
from geoseg.raster.rights import Rights
from geoseg.spec import NODATA_ID


@dataclass(frozen=True)
class Pixels:
    """Classified pixels as arrays on the host."""

    window: Window
    """Their window of the scene; may be empty."""
    valid: NDArray[np.bool_]
    """Which of the scene's pixels there hold data."""
    index: NDArray[np.uint8]
    """Index of the class (h, w)."""
    percent: NDArray[np.uint8] | None
    """Probability of that class in percent (h, w)."""
    scores: NDArray[np.float32] | NDArray[np.uint8] | None
    """Probability of every class (K, h, w)."""
    logits: NDArray[np.float32] | None = None
    """Logits of every class (K, h, w)."""
    uncertainty: NDArray[np.uint8] | NDArray[np.int16] | None = None
    """Uncertainty of the class (h, w), in the unit that is wanted."""

    @classmethod
    def of(cls, decision: Decision, window: Window, valid: NDArray[np.bool_]) -> Pixels:
        """Convert a decision that is on the host to arrays."""
        rest = (decision.percent, decision.scores, decision.logits, decision.uncertainty)
        arrays = (None if values is None else values.numpy() for values in rest)
        return cls(window, valid, decision.index.numpy(), *arrays)

    def rasters(self) -> dict[str, NDArray[np.generic]]:
        """What there is besides classes, by the kind of raster."""
        rest = {
            "confidence": self.percent,
            "scores": self.scores,
            "logits": self.logits,
            "uncertainty": self.uncertainty,
        }
        return {kind: values for kind, values in rest.items() if values is not None}


CONFIDENCE_TAG = "GEOSEG_CONFIDENCE"
"""Tag of class rasters: mean probability of the chosen class, 0 to 1."""
UNCERTAINTY_TAG = "GEOSEG_UNCERTAINTY"
"""Tag of rasters of uncertainty: the measure."""


class RowsWriter:
    """Writes blocks of some whole rows of the scene, and their record; holds their thumbnail and pixel counts."""

    def __init__(self, job: Job, work: WorkFolder, name: str, rows: Window):
        """Open the parts of some rows of the source under a name, e.g. that of a tile row."""
        self._job, self._work, self._name = job, work, name
        self._ids = np.array([c.id for c in job.model.spec.classes], dtype=np.uint8)
        self._scene_rows = job.source.scene_window(rows)
        self._counts = np.zeros((self._scene_rows.height, len(self._ids)), np.int32)
        self._percent_sum = 0
        self._formats = part_formats(job)
        self._parts: dict[str, PartRaster] = {}
        self._thumbnail: Thumbnail | None = None
        self._crops: list[CropStatistics] = []

    def take(self, pixels: Pixels) -> None:
        """Write the pixels of a block."""
        if not pixels.valid.any():
            return
        window, valid = pixels.window.shift(-self._scene_rows.row, 0), pixels.valid
        ids, counts = paint(pixels.index, valid, self._ids)
        self._counts[window.row : window.row + window.height] += counts
        self._write("landcover", window, ids)
        if pixels.percent is not None:
            self._percent_sum += int(pixels.percent.sum(where=valid, dtype=np.int64))
        for kind, values in pixels.rasters().items():
            if kind in self._formats:
                self._write(kind, window, self._formats[kind].blanked(values, valid))

    def show(self, sample: Sample) -> None:
        """Add the pixels of a window's core to the thumbnail."""
        for patch in sample.shown:
            self._thumbnail = self._thumbnail or new_thumbnail(self._job)
            self._thumbnail.add_patch(patch)

    def describe(self, crops: DescribedCrops) -> None:
        """Add the statistics of crops."""
        self._crops.append(crops.statistics)

    def finish(self, forwarded_px: int = 0) -> None:
        """Close the rows, write their record, and seal both."""
        for part in self._parts.values():
            part.close()
        rows = self._thumbnail.rows(self._scene_rows.row, self._scene_rows.height) if self._thumbnail else None
        kept = kept_outputs(self._job)
        sums = forwarded_px, self._percent_sum
        record = Record(
            self._scene_rows.row, self._counts, tuple(self._parts), *sums, rows, kept, CropStatistics.join(self._crops)
        )
        self._work.finish(self._name, record)

    def discard(self) -> None:
        """Close the parts without finishing them."""
        for part in self._parts.values():
            part.close()

    def _write(self, kind: str, window: Window, block: NDArray[np.generic]) -> None:
        if kind not in self._parts:
            size = self._scene_rows.height, self._scene_rows.width
            self._parts[kind] = PartRaster(self._work.part(self._name, kind), size, self._formats[kind])
        self._parts[kind].write(window, block)


def new_thumbnail(job: Job) -> Thumbnail:
    """An empty thumbnail of the job's scene."""
    return Thumbnail(job.scene.height, job.scene.width, len(shown_bands(job.model.spec.bands)))


def shrinking(job: Job) -> Shrink:
    """What shrinks the scene for the job's preview."""
    if not job.spec.output.preview:
        return not_shown
    thumbnail, shown = new_thumbnail(job), shown_bands(job.model.spec.bands)
    return lambda window, image, valid: thumbnail.shrink(window.row, window.col, image[shown], valid)


def shown_bands(bands: Sequence[str]) -> list[int]:
    """Indexes of red, green and blue where the model has them, else of its first three bands, or its first."""
    if {"red", "green", "blue"} <= set(bands):
        return [bands.index(name) for name in ("red", "green", "blue")]
    return [0, 1, 2] if len(bands) >= 3 else [0]


def kept_outputs(job: Job) -> frozenset[str]:
    """Outputs to be kept of each row besides its classes: a resumed run cannot derive them from the classes."""
    if job.crf is not None:  # all but the preview is made of logits
        return frozenset({"logits", "preview"} if job.spec.output.preview else {"logits"})
    wanted = {
        "confidence": job.keeps_confidence,
        f"scores as {job.wanted.scores}": job.wanted.scores is not None,
        "preview": job.spec.output.preview,
    }
    measures = () if job.uncertainty is None else (job.uncertainty.name,)
    return frozenset([*(name for name, is_wanted in wanted.items() if is_wanted), *measures])


def raster_formats(job: Job) -> dict[str, RasterFormat]:
    """Formats of the rasters that a job writes, by kind."""
    formats = {"landcover": landcover_format(job)}
    if job.keeps_confidence:
        formats["confidence"] = confidence_format(job)
    if job.wanted.scores:
        formats["scores"] = scores_format(job)
    if job.uncertainty is not None:
        formats["uncertainty"] = uncertainty_format(job, job.uncertainty)
    return formats


def part_formats(job: Job) -> dict[str, RasterFormat]:
    """Formats of the rasters that are written of each tile row: those of the job, or what its CRF makes them of."""
    if job.crf is None:
        return raster_formats(job)
    names = tuple(c.name for c in job.model.spec.classes)
    return {"landcover": landcover_format(job), "logits": RasterFormat("float32", math.nan, names)}


def landcover_format(job: Job) -> RasterFormat:
    """Format of class ids, with colours and names of the classes, and the model and its settings as tags."""
    classes = job.model.spec.classes
    tags = class_tags(classes) | {
        **origin_tags(job),
        "GEOSEG_SETTINGS": json.dumps(job.settings),
        "GEOSEG_FINGERPRINT": raster_fingerprint(job.fingerprint, job.spec.vector),
        "GEOSEG_OUTPUTS": json.dumps(output_fingerprints(job.spec)),
    }
    return RasterFormat("uint8", NODATA_ID, ("class",), "mode", {c.id: c.color for c in classes}, tags)


def origin_tags(job: Job) -> dict[str, str]:
    """Tags of all rasters of a job: the model, its licence and credits, the version of geoseg, and notices."""
    model = job.model.spec
    about = {"GEOSEG_MODEL": model.name, "GEOSEG_VERSION": __version__}
    return about | Rights.of(model).tags() | notices_tags(job.notices)


def confidence_format(job: Job) -> RasterFormat:
    """Format of the chosen class's probability, in percent."""
    bands = ("probability of the class in percent",)
    return RasterFormat("uint8", NODATA_ID, bands, "average", tags=origin_tags(job))


def uncertainty_format(job: Job, uncertainty: WrittenUncertainty) -> RasterFormat:
    """Format of the uncertainty of each pixel, with the measure in the tags."""
    dtype, tags = str(uncertainty.unit.dtype).removeprefix("torch."), origin_tags(job)
    bands = (uncertainty.name,)
    return RasterFormat(dtype, uncertainty.unit.nodata, bands, "average", tags=tags | {UNCERTAINTY_TAG: uncertainty.by})


def scores_format(job: Job) -> RasterFormat:
    """Format of every class's probability, 0 to 1 or in percent."""
    names, tags = tuple(c.name for c in job.model.spec.classes), origin_tags(job)
    if job.wanted.scores == "uint8":
        return RasterFormat("uint8", NODATA_ID, tuple(f"{name}, percent" for name in names), "average", tags=tags)
    return RasterFormat("float32", math.nan, names, "average", tags=tags)
