"""Images and their labels, opened with the network's bands and value scaling.

In: the entries that a DataSpec lists. Out: open files, or labelled rasters that open their files when they are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from geoseg.core.errors import LabelError, ModelError
from geoseg.core.naming import shown_name, shown_names
from geoseg.core.redaction import public_form
from geoseg.data.consistency import ImageProperties
from geoseg.data.labelled_raster import FilePool, FileRaster, Files
from geoseg.data.labels import LabelRules, LabelSource, label_format, open_labels
from geoseg.data.labels.corrections import CorrectedPixels, count_corrected, pixel_corrections
from geoseg.data.labels.outside_marks import notices_of_outside
from geoseg.data.labels.polygons import POLYGONS
from geoseg.data.labels.tags import tag_index
from geoseg.data.listing import TEST, ListedRaster
from geoseg.geo.georef import PixelGrid
from geoseg.geo.vector_files import may_hold_marks
from geoseg.raster.bands.matching import choose_bands, describe_bands, fits_dtype
from geoseg.raster.scene_bands import SceneBands
from geoseg.scenes import open_scene
from geoseg.spec import ClassSpec, DataSpec, ScalingSpec, TrainSpec


def open_image(
    path: Path, data: DataSpec, scaling: ScalingSpec | None = None, *, is_labelled: bool = True
) -> SceneBands:
    """Open an image with the network's bands, its values converted to a scaling.

    Raises:
        LabelError: if it has other bands, or values of another type.
        SceneError: if it cannot be opened.
    """
    kind = data.kind_without_labels
    subject, remedy = (path, None) if is_labelled else (f"{kind} image {path}", f"leave it out of data.{kind}")
    scene = open_scene(path).within(None, None)
    try:
        choice = choose_bands(data.bands, scene.info.colors, scene.info.descriptions, data.band_indexes)
    except ModelError:
        wanted = ", ".join(data.bands) + (f" (bands {list(data.band_indexes)})" if data.band_indexes else "")
        raise LabelError(
            f"{subject} has {describe_bands(scene.info.colors, scene.info.descriptions)}, among which {wanted} cannot "
            f"be found for certain: {remedy or 'correct data.bands, or say in data.band_indexes where they stand'}"
        ) from None
    dtype = scene.info.dtype_of(choice.indexes)
    if not fits_dtype(dtype, data.dtype):
        raise LabelError(f"{subject} holds {dtype}, not {data.dtype}: {remedy or 'correct data.dtype'}")
    return SceneBands.select(scene, choice.indexes, nodata=data.nodata, scaling=scaling)


def open_pair(
    entry: ListedRaster, data: DataSpec, classes: Sequence[ClassSpec], scaling: ScalingSpec | None = None
) -> Files:
    """Open an image and its labels, on the same grid.

    Raises:
        LabelError: if they do not match each other, the bands, or the classes.
        SceneError: if the image cannot be opened.
    """
    with ExitStack() as stack:
        scene = stack.enter_context(open_image(entry.image, data, scaling))
        labels = open_labels(_labels_of(entry, scene.scene.grid, data, classes))
        stack.pop_all()
    return scene, labels


def _labels_of(entry: ListedRaster, grid: PixelGrid, data: DataSpec, classes: Sequence[ClassSpec]) -> LabelSource:
    """The label file of an image, and how it is to be read."""
    rules = LabelRules.of_data(data, entry.legend, entry.values_in)
    if entry.tags is not None:
        rules = replace(rules, everywhere=tag_index(classes, entry.tags, rules))
    return LabelSource(entry.label, grid, tuple(classes), entry.image, rules)


def inspect_images(
    images: Sequence[Path], data: DataSpec, scaling: ScalingSpec | None, *, are_labelled: bool = True
) -> tuple[list[PixelGrid], ImageProperties]:
    """Pixel grid of every image, and what they have in common; labels are not opened."""
    grids, terms = [], ImageProperties(scaling)
    for image in images:
        with open_image(image, data, is_labelled=are_labelled) as scene:
            info = scene.info
            choice = choose_bands(data.bands, info.colors, info.descriptions, data.band_indexes)
            is_guess = choice.by == "position" and len(info.colors) > 1
            terms.add(shown_name(image), info.resolution_m, info.scaling_of(scene.bands), is_guess=is_guess)
            grids.append(scene.scene.grid)
    return grids, terms


def find_rasters(
    entries: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec, scaling: ScalingSpec | None
) -> tuple[list[FileRaster], FilePool]:
    """The labelled raster of every entry, on disk, and the pool that holds their files open."""
    pool, names = FilePool(), shown_names([entry.image for entry in entries])
    return [
        FileRaster(
            name,
            grid,
            partial(pool.using, number, partial(open_pair, entry, spec.data, spec.classes, scaling)),
        )
        for number, (name, entry, grid) in enumerate(zip(names, entries, grids, strict=True))
    ], pool


def count_unmarked(rasters: Sequence[FileRaster], entries: Sequence[ListedRaster], spec: TrainSpec) -> int:
    """Count the pixels that label rasters leave out for the value 255 alone; polygons are not opened again."""
    pairs = [(raster, entry) for raster, entry in zip(rasters, entries, strict=True) if entry.tags is None]
    sources = ((raster, _labels_of(entry, raster.grid, spec.data, spec.classes)) for raster, entry in pairs)
    return sum(raster.unmarked_px() for raster, source in sources if not label_format(source).is_vector)


def count_disputed(rasters: Sequence[FileRaster], entries: Sequence[ListedRaster], spec: TrainSpec) -> Counter[str]:
    """Count the pixels in which labels of several classes lie, by what counts there; files of polygons alone, where the
    last one counts, are not opened again."""
    found: Counter[str] = Counter()
    for raster, entry in zip(rasters, entries, strict=True):
        if entry.tags is not None:
            continue
        source = _labels_of(entry, raster.grid, spec.data, spec.classes)
        if label_format(source).is_vector and (source.rules.box_rim is not None or may_hold_marks(source.path)):
            found += raster.disputed()
    return found


def notices_of_marks(entries: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec) -> list[str]:
    """Notices that points and lines lie on none of the images; labels that only test images have are not opened."""
    read = {entry.label for entry in entries if entry.split != TEST}
    sources = [
        _labels_of(entry, grid, spec.data, spec.classes)
        for entry, grid in zip(entries, grids, strict=True)
        if entry.tags is None and entry.label in read
    ]
    return notices_of_outside([source for source in sources if POLYGONS.matches(source)])


def count_corrections(entries: Sequence[ListedRaster], grids: Sequence[PixelGrid], spec: TrainSpec) -> CorrectedPixels:
    """Count the pixels of all labels that the corrections of the settings change.

    Raises:
        LabelError: if corrections in pixels do not say which of two images they are on.
    """
    total, corrected = CorrectedPixels(), dict[str, Path]()
    for entry, grid in zip(entries, grids, strict=True):
        source = _labels_of(entry, grid, spec.data, spec.classes)
        for name in pixel_corrections(source):
            if corrected.setdefault(name, entry.image) != entry.image:
                raise LabelError(
                    f"corrections of {name!r} are on two images without coordinates, {public_form(corrected[name])} "
                    f"and {public_form(entry.image)}: put the folder before the name in the column image"
                )
        with open_labels(replace(source, rules=replace(source.rules, corrections=()))) as labels:
            total += count_corrected(source, labels)
    return total
