"""All that a run learns from and is scored on.

In: a TrainSpec. Out: ground to learn from and ground to score on: checked, counted, split, and joined where images
touch. Images are held in memory if they fit into the spec's share of it; what was counted is stored, so that a run that
starts again need not read everything again.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, ModelError, SpecError
from geoseg.core.files import draft_of
from geoseg.core.redaction import public_form
from geoseg.data.class_statistics import CELL_PX, ClassStatistics, count_classes, join_statistics, normalization_of
from geoseg.data.consistency import ImageTerms
from geoseg.data.labelled_raster import FilePool, FileRaster, Files, LabelledRaster, read_into_memory
from geoseg.data.labels.labels import VECTOR_FILES, LabelRules, open_labels, unmarked_labels
from geoseg.data.listing import ListedRaster, list_rasters
from geoseg.data.mosaic import Mosaic, join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled, Rectangles
from geoseg.data.splits import SIDES, CountedRaster, split_rasters
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.bands.matching import choose_bands, describe_bands, fits_dtype
from geoseg.raster.scene import Scene
from geoseg.spec import NODATA_ID, ClassSpec, DataSpec, NormalizationSpec, ScalingSpec, TrainSpec
from geoseg.training.samples import Cells

Tell = Callable[[int, int], None]
"""Called with the pixels read so far, and all pixels."""
Notice = Callable[[str], None]
"""Called with a line worth reading."""
SIDECARS = (".aux.xml", ".msk", "-wal")
"""What GDAL and SQLite keep beside a file, under its name and these endings."""


@dataclass(frozen=True)
class Side:
    """One side of a split."""

    grounds: tuple[Mosaic, ...]
    """Ground, joined where images touch."""
    cells: Cells
    """Where in it labels stand."""
    images: int
    """Images that contribute."""

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Labelled pixels per class (K)."""
        counts: NDArray[np.int64] = self.cells.counts.sum(axis=0)
        return counts


@dataclass(frozen=True)
class TrainingData:
    """All ground of a run."""

    train: Side
    """To learn from."""
    val: Side
    """To score on."""
    normalization: NormalizationSpec
    """Statistics of the ground to learn from."""
    value_range: tuple[float, float]
    """Band values that stand for dark and bright when colours are varied."""
    resolution_m: float | None
    """Ground size of a pixel, if known and about the same in all images."""
    size_range_m: tuple[float, float] | None
    """Smallest and largest ground size of a pixel, if images differ in it."""
    scaling: ScalingSpec | None
    """What the values of the bands stand for, if an image says it."""
    fingerprint: str
    """Changes with the files, and with how they are read."""


def read_training_data(
    spec: TrainSpec,
    *,
    only: str | None = None,
    scaling: ScalingSpec | None = None,
    store: Path | None = None,
    tell: Tell = lambda done, total: None,
    notice: Notice = lambda line: None,
) -> TrainingData:
    """Open, check, count and split all labelled images.

    Args:
        spec: names them.
        only: train or val, if nothing is to be learnt: the other side may be empty then, and classes may be missing.
        scaling: what values are to stand for; default: what those of the first image that says it do.
        store: file that keeps what was counted of images that do not fit into memory; read if it tells of the same
            files and settings.
        tell: told how much has been read.
        notice: told what a person should know of the split.

    Raises:
        LabelError: if labels cannot be used, a side of the split is empty, or a class is never seen in training.
        SceneError: if an image cannot be read.
        SpecError: if a setting makes no sense with these images.
    """
    entries = list_rasters(spec.data)
    grids, terms = _look_at_images(entries, spec.data, scaling)
    for line in terms.notices(spec.data.resolution_m):
        notice(line)
    on_disk, pool = _find_ground(entries, grids, spec, terms.scaling)
    grounds: Sequence[LabelledRaster] = on_disk
    if _fits_into_memory(grounds, spec.data):
        grounds, counted = _hold_and_count(grounds, spec, tell)
    else:
        counted = _count_or_load(grounds, entries, spec, store, tell)
    unmarked_px = _count_unmarked(on_disk, entries)
    if unmarked_px:
        notice(f"labels: {unmarked_labels(unmarked_px)}")
    pool.clear()
    rasters = [CountedRaster(*parts) for parts in zip(entries, (g.grid for g in grounds), counted, strict=True)]
    guard_px = spec.read_side if spec.data.split.guard_px is None else spec.data.split.guard_px
    shares = split_rasters(rasters, spec.data.split, guard_px, needed=SIDES if only is None else (only,))
    pairs = list(zip(counted, shares, strict=True))
    train_statistics = [c.only(c.inside(share.train) & ~c.inside(share.closed)) for c, share in pairs]
    val_statistics = [c.only(c.inside(share.val)) for c, share in pairs]
    guarded_px = sum(int(c.counts[c.inside(share.train) & c.inside(share.closed)].sum()) for c, share in pairs)
    if only is None:
        _tell_of_split(spec, guard_px, guarded_px, train_statistics, notice)
        _check_sides(train_statistics, val_statistics, spec, unmarked_px, notice)
    together = join_statistics(val_statistics if only == "val" else train_statistics)
    train = _side(grounds, [(share.train, share.closed) for share in shares], train_statistics)
    if only is None:
        _check_window(spec, train)
    return TrainingData(
        train=train,
        val=_side(grounds, [(share.val, ()) for share in shares], val_statistics),
        normalization=normalization_of(together),
        value_range=_value_range(together, spec.data),
        resolution_m=spec.data.resolution_m or terms.resolution_m,
        size_range_m=terms.size_range_m,
        scaling=terms.scaling,
        fingerprint=_fingerprint(entries, spec),
    )


def open_image(path: Path, data: DataSpec, scaling: ScalingSpec | None = None) -> Scene:
    """Open an image with the bands that the network sees, and values that stand for what a scaling says.

    Raises:
        LabelError: if it has other bands, or values of another type.
        SceneError: if it cannot be opened.
    """
    scene = Scene.open(path)
    try:
        choice = choose_bands(data.bands, scene.info.colors, scene.info.descriptions, data.band_indexes)
    except ModelError:
        wanted = ", ".join(data.bands) + (f" (bands {list(data.band_indexes)})" if data.band_indexes else "")
        raise LabelError(
            f"{path} has {describe_bands(scene.info.colors, scene.info.descriptions)}, among which {wanted} cannot be "
            "found for certain: correct data.bands, or say in data.band_indexes where they stand"
        ) from None
    dtype = scene.info.dtype_of(choice.indexes)
    if not fits_dtype(dtype, data.dtype):
        raise LabelError(f"{path} holds {dtype}, not {data.dtype}: correct data.dtype")
    scene.select(choice.indexes, nodata=data.nodata, scaling=scaling)
    return scene


def open_pair(
    entry: ListedRaster, data: DataSpec, classes: Sequence[ClassSpec], scaling: ScalingSpec | None = None
) -> Files:
    """Open an image and its labels.

    Raises:
        LabelError: if they do not match each other, the bands, or the classes.
        SceneError: if the image cannot be opened.
    """
    rules = LabelRules.of(data.label_values, data.label_column, data.label_layer)
    with ExitStack() as stack:
        scene = stack.enter_context(open_image(entry.image, data, scaling))
        labels = open_labels(entry.label, _grid(scene), classes, rules, image=entry.image)
        stack.pop_all()
    return scene, labels


def _name(image: Path) -> str:
    """What reports and messages call an image: its address may hold a signature."""
    return Path(public_form(image)).name


def _grid(scene: Scene) -> PixelGrid:
    return PixelGrid(scene.height, scene.width, scene.info.transform, scene.info.crs)


def _look_at_images(
    entries: Sequence[ListedRaster], data: DataSpec, scaling: ScalingSpec | None
) -> tuple[list[PixelGrid], ImageTerms]:
    """Grid of every image, and what they have in common; labels are not looked at yet."""
    grids, terms = [], ImageTerms(scaling)
    for entry in entries:
        with open_image(entry.image, data) as scene:
            info = scene.info
            choice = choose_bands(data.bands, info.colors, info.descriptions, data.band_indexes)
            is_guess = choice.by == "position" and len(info.colors) > 1
            terms.add(_name(entry.image), info.resolution_m, info.scaling_of(scene.bands), is_guess=is_guess)
            grids.append(_grid(scene))
    return grids, terms


def _find_ground(
    entries: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec, scaling: ScalingSpec | None
) -> tuple[list[FileRaster], FilePool]:
    """Ground of every entry, on disk, and the pool that holds its files open."""
    pool = FilePool()
    return [
        FileRaster(
            _name(entry.image),
            grid,
            partial(pool.take, number, partial(open_pair, entry, spec.data, spec.classes, scaling)),
        )
        for number, (entry, grid) in enumerate(zip(entries, grids, strict=True))
    ], pool


def _count_unmarked(grounds: Sequence[FileRaster], entries: Sequence[ListedRaster]) -> int:
    """Pixels that label rasters leave out for the value 255 alone."""
    rasters = (g for g, entry in zip(grounds, entries, strict=True) if entry.label.suffix.lower() not in VECTOR_FILES)
    return sum(ground.unmarked_px() for ground in rasters)


def _fits_into_memory(grounds: Sequence[LabelledRaster], data: DataSpec) -> bool:
    pixel_bytes = (1 if data.dtype == "uint8" else 4) * len(data.bands) + 2  # validity and label
    return sum(ground.height * ground.width for ground in grounds) * pixel_bytes <= data.memory_mb * 2**20


def _hold_and_count(
    grounds: Sequence[LabelledRaster], spec: TrainSpec, tell: Tell
) -> tuple[Sequence[LabelledRaster], list[ClassStatistics]]:
    """Read all ground into memory, and count it on the way."""
    held: list[LabelledRaster] = []
    count, counted = _counter(grounds, spec, tell), []
    for ground in grounds:
        held.append(read_into_memory(ground))
        counted.append(count(held[-1]))
    return held, counted


def _count_or_load(
    grounds: Sequence[LabelledRaster], entries: Sequence[ListedRaster], spec: TrainSpec, store: Path | None, tell: Tell
) -> list[ClassStatistics]:
    """Count ground on disk, unless an earlier run has."""
    count = _counter(grounds, spec, tell)
    if store is None:
        return list(map(count, grounds))
    key = _fingerprint(entries, spec)
    counted = _load(store, key)
    if counted is None:
        counted = list(map(count, grounds))
        _save(counted, key, store)
    return counted


def _counter(
    grounds: Sequence[LabelledRaster], spec: TrainSpec, tell: Tell
) -> Callable[[LabelledRaster], ClassStatistics]:
    """A function that counts one ground after the other, and tells how much of all of them it has counted."""
    total, done = sum(ground.height * ground.width for ground in grounds), 0

    def add(pixels: int) -> None:
        nonlocal done
        done += pixels
        tell(done, total)

    return lambda ground: count_classes(ground, len(spec.classes), len(spec.data.bands), add)


def _fingerprint(entries: Sequence[ListedRaster], spec: TrainSpec) -> str:
    """What the statistics depends on: the files as they are now, and how they are read."""
    files = [(str(path), _stamps(path)) for entry in entries for path in (entry.image, entry.label)]
    settings = spec.data.model_dump(
        mode="json", include={"bands", "band_indexes", "dtype", "nodata", "label_values", "label_column", "label_layer"}
    )
    classes = [(c.id, c.name) for c in spec.classes]
    return hashlib.sha256(json.dumps([CELL_PX, files, settings, classes]).encode()).hexdigest()


def _stamps(path: Path) -> list[tuple[int, int]]:
    """Sizes and times of a file and of those beside it that say more of it, or of all files of a folder."""
    beside = [path.with_suffix(suffix) for suffix in (".dbf", ".prj", ".tfw", ".jgw", ".pgw", ".wld")]
    more = sorted(path.iterdir()) if path.is_dir() else [path.with_name(path.name + end) for end in SIDECARS] + beside
    return [_stamp(file) for file in (path, *more)]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # there is none, or it is a URL
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _save(counted: Sequence[ClassStatistics], key: str, store: Path) -> None:
    together = join_statistics(counted)
    columns = {field.name: getattr(together, field.name) for field in fields(ClassStatistics)}
    with draft_of(store) as draft, draft.open("wb") as file:
        np.savez_compressed(file, key=key, lengths=[len(statistics.cells) for statistics in counted], **columns)


def _load(store: Path, key: str) -> list[ClassStatistics] | None:
    """What an earlier run counted; None if it did not, or of other files."""
    try:
        with np.load(store) as saved:
            if str(saved["key"]) != key:
                return None
            ends = np.cumsum(saved["lengths"])[:-1]
            columns = [np.split(saved[field.name], ends) for field in fields(ClassStatistics)]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):  # there is none, or it is damaged
        return None
    return [ClassStatistics(*parts) for parts in zip(*columns, strict=True)]


def _tell_of_split(
    spec: TrainSpec, guard_px: int, guarded_px: int, learnt: Sequence[ClassStatistics], notice: Notice
) -> None:
    """Warn of a random split, and tell how much training ground the guard band takes."""
    if spec.data.split.by == "random":
        notice(
            "the split is random: validation ground may lie beside training ground, so that the scores say little of "
            "ground elsewhere (data.split.by: blocks or scene)"
        )
    share = guarded_px / max(1, guarded_px + sum(int(statistics.counts.sum()) for statistics in learnt))
    if share > 0.01:
        where = f"lies within {guard_px} px of" if guard_px else "is also"
        notice(
            f"{share:.0%} of the labelled training ground {where} validation ground and is left out "
            "(data.split.guard_px)"
        )


def _check_sides(
    train: Sequence[ClassStatistics], val: Sequence[ClassStatistics], spec: TrainSpec, unmarked_px: int, notice: Notice
) -> None:
    """Refuse an empty side and classes that cannot be learnt; tell of classes that cannot be scored."""
    counts = [
        sum((statistics.class_counts for statistics in side), np.zeros(len(spec.classes))) for side in (train, val)
    ]
    for side, found in zip(("training", "validation"), counts, strict=True):
        if not found.any():
            raise LabelError(
                f"no labelled {side} ground is left: label more, or change data.split (val_share, block_px, guard_px)"
            )
    missing, unscored = (
        ", ".join(f"{c.id} {c.name}" for c, count in zip(spec.classes, found, strict=True) if not count)
        for found in counts
    )
    if missing and unmarked_px:
        raise LabelError(
            f"no training ground shows class {missing}, but the labels hold 255 in {unmarked_px:,} px, which count "
            f"as not labelled: if 255 is that class, name all values in data.label_values "
            f"({_with_255(spec, counts[0])})"
        )
    if missing:
        raise LabelError(
            f"no training ground shows class {missing}: label some of it there, or change data.split "
            "(larger blocks, a smaller guard_px or window), or take the class out of `classes`"
        )
    if unscored:
        notice(f"no validation ground shows class {unscored}: nothing can be said of how well it is found")


def _with_255(spec: TrainSpec, counts: NDArray[Any]) -> str:
    """How data.label_values would name the labels with 255 as the first class that is not seen."""
    absent = next(c for c, count in zip(spec.classes, counts, strict=True) if not count)
    values = spec.data.label_values or {c.id: c.name for c in spec.classes if c is not absent}
    return ", ".join(f"{value}: {name}" for value, name in (values | {NODATA_ID: absent.name}).items())


def _check_window(spec: TrainSpec, train: Side) -> None:
    """Refuse windows that no ground can fill, but for what the network's multiple needs."""
    longest = max(max(ground.height, ground.width) for ground in train.grounds)
    fitting = -(-longest // spec.network.multiple) * spec.network.multiple
    if spec.window > fitting:
        raise SpecError(
            f"window {spec.window} is larger than all training ground, whose longest side is {longest} px: "
            f"take {fitting}"
        )


def _side(
    grounds: Sequence[LabelledRaster],
    windows: Sequence[tuple[Sequence[Window], Sequence[Window]]],
    counted: Sequence[ClassStatistics],
) -> Side:
    """Join the grounds of one side, and move their cells along."""
    used = [index for index, statistics in enumerate(counted) if len(statistics.cells)]
    parts = [PartlyLabelled(grounds[i], *(Rectangles.of(part) for part in windows[i])) for i in used]
    joined = join_neighbours(parts) if parts else []
    places = np.zeros((len(used), 3), np.int64)  # number of the joined ground, and the corner in it
    for number, (whole, members) in enumerate(joined):
        for place, member in zip(whole.places, members, strict=True):
            places[member] = number, place.row, place.col
    together = join_statistics(counted)
    corners = np.repeat(places, [len(counted[i].cells) for i in used], axis=0)
    cells = Cells(np.insert(together.cells, 0, 0, axis=1) + corners, together.counts)
    return Side(tuple(whole for whole, _ in joined), cells, len(used))


def _value_range(statistics: ClassStatistics, data: DataSpec) -> tuple[float, float]:
    """All of the type for 8-bit values, else what occurs, without outliers."""
    if data.dtype == "uint8":
        return 0.0, 255.0
    found = normalization_of(statistics)
    mean, reach = np.array(found.mean), 6 * np.array(found.std)
    low = np.maximum(statistics.lowest.min(axis=0), mean - reach).min()
    high = np.minimum(statistics.highest.max(axis=0), mean + reach).max()
    return float(low), float(max(high, low + 1e-6))
