"""`geoseg sample`: places drawn at random, whose labels say without bias how good a map is and how large classes are.

In: class rasters, or scenes, and a SampleSpec. Out: a GeoPackage of points, or of windows, and a result that describes
it. Rasters are read some rows at a time, whatever their size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from geoseg.commands.sample_frames import Sampled, open_frames
from geoseg.core.errors import LabelError
from geoseg.core.events import SILENT, NoticeLog, Reporter, Stage
from geoseg.core.wording import number_of
from geoseg.data.labels.places import check_nothing_done
from geoseg.data.sampling.allocation import allocate
from geoseg.data.sampling.frames import NO_STRATUM, Frame
from geoseg.data.sampling.points import draw_points
from geoseg.data.sampling.units import draw_units
from geoseg.geo.grid import Window
from geoseg.geo.outlines import common_crs, outline, points_at
from geoseg.inference.places.windows import ClassifiedPixels, WindowStatistics, count_windows
from geoseg.outputs.places import SampledPlaces, check_places_file, write_places, write_points
from geoseg.raster.gdal import gdal_settings
from geoseg.scenes import find_scenes
from geoseg.scenes.find import SceneInput
from geoseg.spec import SampleSpec, parse_spec
from geoseg.spec.settings import SampleSettings

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Stratum:
    """A part of the rasters from which places are drawn by themselves."""

    name: str
    """Name of the class, or `all`."""
    area_m2: float
    """Its area; of windows, that of the pixels with data in windows for the most part of the class."""
    available: int
    """Number of its pixels with data, or of its windows: at most one place is drawn in each."""
    places: int
    """Number of places drawn from it."""


@dataclass(frozen=True)
class SampleResult:
    """The result of `sample`."""

    output: Path
    """The file of places."""
    places: int
    """Number of places."""
    strata: tuple[Stratum, ...]
    """The strata; a single one if all pixels are alike."""
    settings: dict[str, Any]
    """The settings."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"output": str(self.output)}


def sample(
    rasters: SceneInput | Sequence[SceneInput],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[SampleSettings],
) -> SampleResult:
    """Draw places at random from the pixels with data of rasters, or from each class of class rasters.

    Args:
        rasters: class rasters, or scenes if the sample is not stratified; as `find_scenes` takes them.
        output: the file of places, ending in .gpkg.
        overwrite: replace a file that exists.
        reporter: takes notices, and the progress of `reading` in pixels.
        settings: fields of SampleSpec.

    Raises:
        SceneError: if a raster cannot be read, has no coordinate system, or is no class raster though that is needed.
        SpecError: if a setting is invalid, or there are fewer places than the classes need.
        OutputError: if the file exists or cannot be written.
    """
    started, log, path = time.monotonic(), NoticeLog(reporter), Path(output)
    spec = parse_spec(SampleSpec, settings, source="settings")
    check_places_file(path, overwrite)
    check_nothing_done(path)
    found = find_scenes(rasters, reporter=log)
    with gdal_settings(), ExitStack() as stack:
        sampled = open_frames(found, spec, stack, log)
        pixels = sum(frame.grid.height * frame.grid.width for frame in sampled.frames)
        stage = Stage(log, "reading", pixels if spec.side else 2 * pixels)
        draw = _draw_points if spec.side is None else _draw_windows
        strata, places = draw(sampled, spec, stage.advance)
        _report_limits(sampled, strata, spec, log)
        crs = common_crs([frame.grid.crs for frame in sampled.frames])
        if spec.side is None:
            write_points(places.table(are_points=True), sampled.classes, crs, path)
        else:
            write_places(places.table(are_points=False), [], sampled.classes, crs, path)
    return SampleResult(
        output=path,
        places=len(places.shapes),
        strata=strata,
        settings=spec.model_dump(mode="json"),
        seconds=time.monotonic() - started,
        notices=tuple(log.lines),
    )


def _draw_points(sampled: Sampled, spec: SampleSpec, advance: Advance) -> tuple[tuple[Stratum, ...], SampledPlaces]:
    frames, names = sampled.frames, sampled.strata
    pixels = [one.count_rows(len(names), advance) for one in frames]
    areas = np.sum([one.row_areas_m2 @ found for one, found in zip(frames, pixels, strict=True)], axis=0)
    available = np.sum([found.sum(axis=0) for found in pixels], axis=0)
    counts = _allocated(areas, available, spec)
    drawn = draw_points(frames, pixels, counts, spec.seed, advance)
    crs = common_crs([frame.grid.crs for frame in frames])
    shapes: list[Any] = [None] * len(drawn.strata)
    for number, frame in enumerate(frames):
        own = np.flatnonzero(drawn.frames == number)
        for index, point in zip(own, points_at(frame.grid, drawn.columns[own], drawn.rows[own], crs), strict=True):
            shapes[index] = point
    places = SampledPlaces(
        rasters=[frames[number].name for number in drawn.frames],
        strata=[names[stratum] for stratum in drawn.strata] if spec.stratified else None,
        inclusion=drawn.inclusion,
        area_m2=drawn.area_m2,
        shapes=shapes,
    )
    return _strata(names, areas, available, counts), places


def _draw_windows(sampled: Sampled, spec: SampleSpec, advance: Advance) -> tuple[tuple[Stratum, ...], SampledPlaces]:
    frames, names = sampled.frames, sampled.strata
    statistics = [_windows_of(frame, spec, len(names), advance) for frame in frames]
    areas_m2 = [_areas_m2(frame, found) for frame, found in zip(frames, statistics, strict=True)]
    sizes = np.concatenate(areas_m2)
    of_window = np.concatenate([found.counts.argmax(axis=1) for found in statistics])
    areas = np.bincount(of_window, sizes, len(names)).astype(np.float64)
    available = np.bincount(of_window[sizes > 0], minlength=len(names))
    counts, rng = _allocated(areas, available, spec), np.random.default_rng(spec.seed)
    chosen, inclusion = [], np.zeros(len(sizes))
    for stratum, count in enumerate(counts):
        own = np.flatnonzero(of_window == stratum)
        drawn, inclusion[own] = draw_units(sizes[own], int(count), rng)
        chosen += own[drawn].tolist()
    order = rng.permutation(np.array(chosen, np.int64))
    begins = np.cumsum([0, *(len(found) for found in statistics)])
    of_frame = np.searchsorted(begins, order, side="right") - 1
    crs = common_crs([frame.grid.crs for frame in frames])
    pairs = list(zip(of_frame, order - begins[of_frame], strict=True))
    places = SampledPlaces(
        rasters=[frames[number].name for number in of_frame],
        strata=[names[stratum] for stratum in of_window[order]] if spec.stratified else None,
        inclusion=inclusion[order],
        area_m2=sizes[order] / inclusion[order],
        shapes=[outline(frames[number].grid, statistics[number].window(int(index)), crs) for number, index in pairs],
    )
    return _strata(names, areas, available, counts), places


def _allocated(areas: NDArray[np.float64], available: NDArray[np.int64], spec: SampleSpec) -> NDArray[np.int64]:
    if not areas.any():
        raise LabelError("no pixel holds data, so that there is nothing to draw from: give other rasters")
    least = spec.min_per_class if spec.stratified else 0
    return allocate(areas, available, spec.count, spec.allocation, least)


def _strata(
    names: Sequence[str], areas: NDArray[np.float64], available: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[Stratum, ...]:
    found = zip(names, areas.tolist(), available.tolist(), counts.tolist(), strict=True)
    return tuple(Stratum(*one) for one in found if one[1])


def _report_limits(sampled: Sampled, strata: Sequence[Stratum], spec: SampleSpec, reporter: Reporter) -> None:
    """Report strata that have no more places than were drawn, and classes without a stratum."""
    unit = "pixel" if spec.side is None else f"window of {spec.side} px"
    units = "pixels" if spec.side is None else f"windows of {spec.side} px"
    if without := [name for name in sampled.strata if name not in {one.name for one in strata}]:
        reporter.notice(
            f"no stratum: {', '.join(without)}; a window is counted by the most frequent class of it, and no {unit} by "
            "these: lower side, or draw points"
        )
    for one in strata:
        if spec.stratified and one.places == one.available:
            number = f"{one.available:,} {unit if one.available == 1 else units}"
            reporter.notice(f"{one.name} has {number}: all are drawn, at most one place in each")
    found = sum(one.places for one in strata)
    if found < spec.count:
        reporter.notice(f"{found:,} of {number_of(spec.count, 'place')}: there are no more {units} that hold data")


def _windows_of(frame: Frame, spec: SampleSpec, strata: int, advance: Advance) -> WindowStatistics:
    """The windows of a raster, with their pixels of each stratum as classes."""

    def read(window: Window) -> ClassifiedPixels:
        found = frame.read(window)
        return ClassifiedPixels(found, np.zeros(found.shape), np.zeros(found.shape, bool))

    assert spec.side is not None  # asked only for windows
    assert NO_STRATUM not in range(strata)
    size = frame.grid.height, frame.grid.width
    return count_windows(size, spec.side, np.arange(strata, dtype=np.uint8), read, advance)


def _areas_m2(frame: Frame, found: WindowStatistics) -> NDArray[np.float64]:
    """Area of the pixels with data of each window (N,), by the mean area of a pixel in its rows."""
    sums = np.append(0.0, np.cumsum(frame.row_areas_m2))
    means = (sums[found.rows + found.heights] - sums[found.rows]) / found.heights
    return np.asarray(found.valid * means)
