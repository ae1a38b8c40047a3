"""Class statistics of all labelled rasters of a run, counted once and stored in a file.

In: labelled rasters. Out: the class statistics of each, read from the file if images, labels and settings are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from geoseg.core.events import Reporter, Stage
from geoseg.core.files import draft_of
from geoseg.core.safe_paths import file_of, whole_url
from geoseg.data.class_statistics import CELL_PX, ClassStatistics, count_classes, join_statistics
from geoseg.data.labelled_raster import LabelledRaster, read_into_memory
from geoseg.data.listing import ListedRaster
from geoseg.geo.layer_paths import split_layer
from geoseg.scenes.opening import files_below
from geoseg.spec import DataSpec, TrainSpec
from geoseg.spec.data import AS_DATA_SAYS

SIDECARS = (".aux.xml", ".msk", "-wal")
"""Suffixes of the sidecar files of GDAL and SQLite, after the whole file name."""


def read_and_count(
    rasters: Sequence[LabelledRaster], spec: TrainSpec, reporter: Reporter
) -> tuple[Sequence[LabelledRaster], list[ClassStatistics]]:
    """Read all rasters into memory, and count their classes."""
    held: list[LabelledRaster] = []
    count, counted = _counter(rasters, spec, reporter), []
    for raster in rasters:
        held.append(read_into_memory(raster))
        counted.append(count(held[-1]))
    return held, counted


def count_or_load(
    rasters: Sequence[LabelledRaster],
    listed: Sequence[ListedRaster],
    spec: TrainSpec,
    store: Path | None,
    reporter: Reporter,
) -> list[ClassStatistics]:
    """Count the classes of rasters on disk, or load the statistics that an earlier run has stored."""
    count = _counter(rasters, spec, reporter)
    if store is None:
        return list(map(count, rasters))
    key = fingerprint(listed, spec)
    counted = _load(store, key)
    if counted is None:
        counted = list(map(count, rasters))
        _save(counted, key, store)
    return counted


def _counter(
    rasters: Sequence[LabelledRaster], spec: TrainSpec, reporter: Reporter
) -> Callable[[LabelledRaster], ClassStatistics]:
    """A function that counts one raster after the other, and reports how much of all of them it has read."""
    reading = Stage(reporter, "reading", sum(raster.height * raster.width for raster in rasters))
    return lambda raster: count_classes(raster, len(spec.classes), len(spec.data.bands), reading)


def fits_into_memory(rasters: Sequence[LabelledRaster], data: DataSpec) -> bool:
    """Whether rasters take no more memory than the settings allow."""
    pixel_bytes = (1 if data.dtype in ("uint8", "int8") else 4) * len(data.bands) + 2  # validity and label
    return sum(raster.height * raster.width for raster in rasters) * pixel_bytes <= data.memory_mb * 2**20


READ_BY = {
    "bands", "band_indexes", "dtype", "nodata", "label_values", "label_column", "label_layer", "outside", "extent",
    "corrections",
}  # fmt: skip
"""Settings of the data by which images and labels are read."""
READ_BY_IF_GIVEN = {"label_buffer_px", "label_box_rim", "label_border_px", "label_resample"}
"""Further ones, which count where they differ from their defaults: digests of older runs are without them."""


def fingerprint(listed: Sequence[ListedRaster], spec: TrainSpec, unlabelled: Sequence[Path] = ()) -> str:
    """Digest of what the statistics depend on: the files as they are now, and the settings by which they are read.

    Images without labels count where they are given.
    """
    files = [
        (str(path), _stamps(path))
        for entry in listed
        for path in (entry.image, *map(Path, files_below(str(entry.image))), entry.label)
    ]
    legends = [(str(one.label), one.legend.model_dump(mode="json")) for one in listed if one.legend != AS_DATA_SAYS]
    tags = [(str(one.image), one.tags.names) for one in listed if one.tags is not None]
    files += [(str(path), _stamps(path)) for one in unlabelled for path in (one, *map(Path, files_below(str(one))))]
    laid_over = (*(() if spec.data.extent is None else (spec.data.extent,)), *spec.data.corrections)
    files += [(str(path), _stamps(split_layer(path)[0])) for path in laid_over]
    settings = spec.data.model_dump(mode="json", include=READ_BY)
    settings |= spec.data.model_dump(mode="json", include=READ_BY_IF_GIVEN, exclude_defaults=True)
    classes = [(c.label_value, c.name) for c in spec.classes]
    known = [CELL_PX, files, settings, classes, *([legends] if legends else []), *([tags] if tags else [])]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _stamps(path: Path) -> list[tuple[int, int]]:
    """Sizes and times of a file and its sidecar files, or of all files of a folder."""
    beside = [path.with_suffix(suffix) for suffix in (".dbf", ".prj", ".tfw", ".jgw", ".pgw", ".wld")]
    more = sorted(path.iterdir()) if path.is_dir() else [path.with_name(path.name + end) for end in SIDECARS] + beside
    return [_stamp(file) for file in (path, *more)]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(file_of(whole_url(path)))
    except OSError:  # there is none, or it is a URL
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _save(counted: Sequence[ClassStatistics], key: str, store: Path) -> None:
    together = join_statistics(counted)
    columns = {field.name: getattr(together, field.name) for field in fields(ClassStatistics)}
    with draft_of(store) as draft, draft.open("wb") as file:
        np.savez_compressed(file, key=key, lengths=[len(statistics.cells) for statistics in counted], **columns)


def _load(store: Path, key: str) -> list[ClassStatistics] | None:
    """Statistics that an earlier run has stored; None if there are none, or they are of other files."""
    try:
        with np.load(store) as saved:
            if str(saved["key"]) != key:
                return None
            ends = np.cumsum(saved["lengths"])[:-1]
            columns = [np.split(saved[field.name], ends) for field in fields(ClassStatistics)]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):  # there is none, or it is damaged
        return None
    return [ClassStatistics(*parts) for parts in zip(*columns, strict=True)]
