"""Rasters opened to draw places from them. In: scenes or class rasters. Out: sampling frames, and their strata."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.core.errors import SceneError
from geoseg.core.events import Reporter
from geoseg.core.naming import shown_names
from geoseg.core.redaction import public_form
from geoseg.data.sampling.frames import NO_STRATUM, Frame, Strata
from geoseg.geo.georef import grid_of, reproject_box
from geoseg.geo.grid import Window
from geoseg.raster.class_codes import ClassCodes, find_codes
from geoseg.raster.class_raster import open_classes, read_codes
from geoseg.raster.legend import Legend
from geoseg.raster.legends import read_legend
from geoseg.raster.reading import to_rasterio
from geoseg.raster.scene_bands import SceneBands
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec import ClassSpec, SampleSpec

ALL = "all"
"""Name of the only stratum of a simple random sample."""
MOST_STRATA = 250


@dataclass(frozen=True)
class Sampled:
    """What places are drawn from."""

    frames: tuple[Frame, ...]
    """The rasters."""
    strata: tuple[str, ...]
    """Names of the strata."""
    classes: tuple[ClassSpec, ...]
    """The classes of class rasters, as far as they are known."""


@dataclass(frozen=True)
class _ClassRaster:
    """An open class raster."""

    raster: Any
    """The raster."""
    codes: ClassCodes
    """How its values are numbered."""
    values: tuple[int, ...]
    """Those that occur."""
    legend: Legend
    """What they mean."""


def open_frames(found: Sequence[SceneRef], spec: SampleSpec, stack: ExitStack, reporter: Reporter) -> Sampled:
    """Open rasters, which are closed with a stack.

    Raises:
        SceneError: if one cannot be read, has no coordinate system, or is no class raster though that is needed.
    """
    problem = next((ref.problem for ref in found if ref.problem is not None), None)
    if problem is not None:
        raise SceneError(problem)
    names = shown_names([Path(ref.path) for ref in found])
    if spec.stratified:
        sampled = _of_classes([ref.path for ref in found], names, stack)
    else:
        frames = tuple(_of_scene(ref, name, stack) for ref, name in zip(found, names, strict=True))
        sampled = Sampled(frames, (ALL,), ())
    for frame, ref in zip(sampled.frames, found, strict=True):
        if frame.grid.crs is None:
            raise SceneError(
                f"{public_form(ref.path)} has no coordinate system, so that places in it could not be drawn on a map: "
                "give it one (gdal_edit -a_srs EPSG:...)"
            )
    if (line := _overlap(sampled.frames)) is not None:
        reporter.notice(line)
    return sampled


def _of_scene(ref: SceneRef, name: str, stack: ExitStack) -> Frame:
    """The pixels of a scene that hold data, in a single stratum."""
    scene = stack.enter_context(open_scene(ref))
    bands = SceneBands.select(scene, range(1, 1 + len(scene.info.dtypes)))

    def read(window: Window) -> Strata:
        return np.where(bands.read(window)[1], 0, NO_STRATUM).astype(np.uint8)

    return Frame(name, scene.grid, scene.dataset.block_shapes[0][0], read)


def _of_classes(paths: Sequence[str], names: Sequence[str], stack: ExitStack) -> Sampled:
    """The classes of class rasters, each a stratum."""
    rasters = [_opened(path, stack) for path in paths]
    ids = sorted({value for one in rasters for value in one.values})
    legend = Legend()
    for one in rasters:
        legend = legend.completed_by(one.legend)
    titles = {value: legend.names.get(value) or f"class {value}" for value in ids}
    strata = tuple(dict.fromkeys(titles[value] for value in ids))
    if len(strata) > MOST_STRATA:
        raise SceneError(f"{paths[0]} has {len(strata):,} classes: strata are the classes of a map, not segments")
    frames = tuple(
        Frame(
            name, grid_of(one.raster), one.raster.block_shapes[0][0], partial(_read, one, _table(one, titles, strata))
        )
        for one, name in zip(rasters, names, strict=True)
    )
    return Sampled(frames, strata, Legend(titles, legend.colors).classes(ids))


def _opened(path: str, stack: ExitStack) -> _ClassRaster:
    raster = stack.enter_context(open_classes(path))
    found = find_codes(raster, counted=True)
    values = () if found.counts is None else tuple(found.counts.values.tolist())
    return _ClassRaster(raster, found.codes, values, read_legend(raster).legend)


def _table(one: _ClassRaster, titles: dict[int, str], strata: Sequence[str]) -> Strata:
    """Stratum of each code."""
    values = one.codes.values
    table = np.full(max(len(values), one.codes.nodata + 1), NO_STRATUM, np.uint8)
    for code, value in enumerate(values.tolist()):
        if code != one.codes.nodata and value in titles:
            table[code] = strata.index(titles[value])
    return table


def _read(one: _ClassRaster, table: Strata, window: Window) -> Strata:
    return np.asarray(table[read_codes(one.raster, to_rasterio(window), one.codes)])


def _overlap(frames: Sequence[Frame]) -> str | None:
    """A notice if two rasters show one place, which is then drawn twice as likely."""
    for index, one in enumerate(frames):
        for other in frames[:index]:
            box, here = reproject_box(other.grid.bounds, other.grid.crs, one.grid.crs, past_180=True), one.grid.bounds
            if box is None:
                continue
            wide = min(box.right, here.right) - max(box.left, here.left)
            tall = min(box.top, here.top) - max(box.bottom, here.bottom)
            if min(wide, tall) > one.grid.step:
                return (
                    f"{other.name} and {one.name} overlap: what both show is drawn twice as likely, so that areas "
                    "are not those of the map: merge them first"
                )
    return None
