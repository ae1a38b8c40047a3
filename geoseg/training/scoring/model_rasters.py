"""Labelled mosaics as different models see them, on one labelled grid.

In: mosaics with all bands of a config, and a model. Out: the model's bands, in its scaling, at the resolution at which
it sees the scene. Labels stay where they are: predictions are brought to their grid, as those of a scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from geoseg.core.errors import ModelError, SpecError
from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labels import Indexes
from geoseg.data.mosaic import Mosaic
from geoseg.geo.aoi import Area, find_area
from geoseg.geo.geodesy import pixel_size_m
from geoseg.geo.grid import Window
from geoseg.inference.fit import MOST_REFINING
from geoseg.raster.bands.matching import fits_dtype
from geoseg.raster.resample import NativeScene, ResampledScene, Source
from geoseg.raster.scaling import Change, conversion
from geoseg.raster.validity import Mask, Values
from geoseg.spec import AreaSpec, DataSpec, ModelSpec, ScalingSpec
from geoseg.training.windows.random_windows import LabelledCells

MOST_COARSENING = 64
"""Largest ratio of a coarser resolution to that of the images."""


@dataclass(frozen=True)
class ModelBands:
    """A mosaic with some of its bands, in a model's order and scaling."""

    mosaic: Mosaic
    """The mosaic, with all bands."""
    bands: tuple[int, ...]
    """Which of them, counted from 0."""
    change: Change | None
    """Conversion of their values; None for none."""
    has_wide_blocks = False

    @property
    def height(self) -> int:
        """Rows."""
        return self.mosaic.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.mosaic.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window: values (C, h, w), and which pixels hold data in the mosaic (h, w), the same for all models."""
        values, valid = self.mosaic.read(window)
        picked = values[list(self.bands)]
        return picked if self.change is None else self.change.apply(picked), valid


@dataclass(frozen=True)
class ModelRaster:
    """A labelled mosaic at the resolution at which a model sees it."""

    bands: ModelBands
    """The mosaic's bands, on the labelled grid."""
    source: Source
    """Its bands at that resolution."""
    area: Area
    """Where its labels count."""

    @property
    def mosaic(self) -> Mosaic:
        """The mosaic."""
        return self.bands.mosaic

    @property
    def height(self) -> int:
        """Rows at that resolution."""
        return self.source.height

    @property
    def width(self) -> int:
        """Columns at that resolution."""
        return self.source.width

    @property
    def ratio(self) -> float:
        """Side of its pixels in pixels of the mosaic, the larger one."""
        return max(self.mosaic.height / self.height, self.mosaic.width / self.width)

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window: values (C, h, w), and which pixels hold data (h, w)."""
        return self.source.read(window)

    def read_labels(self, window: Window) -> Indexes:
        """Class indexes (h, w) at the centres of a window's pixels."""
        rows = _centres(window.row, window.height, self.mosaic.height, self.height)
        cols = _centres(window.col, window.width, self.mosaic.width, self.width)
        around = Window(rows[0], cols[0], rows[-1] + 1 - rows[0], cols[-1] + 1 - cols[0])
        labels: Indexes = self.mosaic.read_labels(around)[np.ix_(rows - rows[0], cols - cols[0])]
        return labels

    def window_name(self, window: Window) -> str:
        """Name of a window for people: the image at its centre, and the window's row and column there."""
        return self.mosaic.window_name(self.source.scene_window(window))

    def in_area(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window of the labelled grid lie in the area."""
        mask, around = np.zeros((window.height, window.width), bool), self.area.window
        mask[around.shift(-window.row, -window.col).clip(window.height, window.width).slices] = True
        return mask & self.area.mask(window)


def model_bands(
    mosaics: Sequence[Mosaic], data: DataSpec, own: ScalingSpec | None, model: ModelSpec
) -> list[ModelBands]:
    """The bands of a model in mosaics that were read with all bands of a config.

    Args:
        mosaics: read with the bands of `data`.
        data: names them.
        own: scale and offset of their values.
        model: whose bands, value type and scaling are wanted.

    Raises:
        ModelError: if the config lacks a band, or has values of another kind.
    """
    if not fits_dtype(data.dtype, model.dtype):
        raise ModelError(
            f"model {model.name} was trained on {model.dtype} values, the config's are {data.dtype}: "
            "choose a model for such values, or correct data.dtype"
        )
    names = [name.strip().lower() for name in data.bands]
    missing = [name for name in model.bands if name.strip().lower() not in names]
    if missing:
        raise ModelError(
            f"model {model.name} wants the bands {', '.join(model.bands)}, the config has {', '.join(data.bands)}: "
            "choose a model of these bands, or name the others in data.bands"
        )
    picks = tuple(names.index(name.strip().lower()) for name in model.bands)
    picked = own and ScalingSpec(
        scale=tuple(own.scale[pick] for pick in picks), offset=tuple(own.offset[pick] for pick in picks)
    )
    change = conversion(picked, model.scaling)
    return [ModelBands(mosaic, picks, change) for mosaic in mosaics]


def resolution_of(mosaic: Mosaic, resolution_m: float | None) -> float | None:
    """Ground resolution of a mosaic: as a config says, else by its coordinates; None where both are silent."""
    grid = mosaic.grid
    if resolution_m is not None or not grid.is_georeferenced:
        return resolution_m
    size = pixel_size_m(grid.crs, grid.transform, grid.height, grid.width)
    return math.sqrt(size[0] * size[1]) if size else None


def areas_of(mosaics: Sequence[Mosaic], spec: AreaSpec) -> list[Area]:
    """The area of interest in each mosaic: all of it if none is given, nothing where it lies elsewhere.

    Raises:
        SpecError: if the area cannot be read, or lies off all mosaics.
    """
    areas, errors = [], []
    for mosaic in mosaics:
        try:
            found = find_area(mosaic.grid, spec.aoi, spec.bbox, mosaic.name)
            areas.append(found or Area(Window(0, 0, mosaic.height, mosaic.width)))
        except SpecError as error:
            errors.append(error)
            areas.append(Area(Window(0, 0, 0, 0)))
    if errors and len(errors) == len(areas):
        raise errors[0]
    return areas


def bands_at_resolution(bands: ModelBands, area: Area, metres: float | None, own: float | None) -> ModelRaster:
    """A mosaic at a ground resolution in metres per pixel; None keeps its own.

    Args:
        bands: a model's bands of it.
        area: where its labels count.
        metres: the wanted resolution.
        own: its own.

    Raises:
        SpecError: if its own is unknown, or too far from the wanted one.
    """
    mosaic = bands.mosaic
    if metres is None:
        return ModelRaster(bands, NativeScene(bands), area)
    if own is None:
        raise SpecError(f"{mosaic.name} has no known pixel size: say it in data.resolution_m")
    if not 1 / MOST_COARSENING <= own / metres <= MOST_REFINING:
        raise SpecError(
            f"--resolution {metres:g}: {mosaic.name} has pixels of {own:.3g} m, which can be made up to "
            f"{MOST_REFINING} times finer and {MOST_COARSENING} times coarser"
        )
    height, width = (max(1, round(side * own / metres)) for side in (bands.height, bands.width))
    if (height, width) == (bands.height, bands.width):
        return ModelRaster(bands, NativeScene(bands), area)
    return ModelRaster(bands, ResampledScene(bands, height, width), area)


def cells_of(cells: LabelledCells, rasters: Sequence[ModelRaster]) -> LabelledCells:
    """The cells on the grids of model rasters that may hold labels, given those on the labelled grid."""
    found = [np.zeros((0, 3), np.int64)]
    for which, raster in enumerate(rasters):
        corners = cells.places[cells.places[:, 0] == which, 1:]
        size, native = np.array([[raster.height, raster.width], [raster.mosaic.height, raster.mosaic.width]])
        if (size == native).all():
            found.append(np.insert(corners, 0, which, axis=1))
            continue
        first = corners * size // native // CELL_PX
        last = np.minimum(-(-(corners + CELL_PX) * size // native), size) // CELL_PX
        met = np.zeros(size // CELL_PX + 1, bool)
        for (top, left), (bottom, right) in zip(first, last, strict=True):
            met[top : bottom + 1, left : right + 1] = True
        found.append(np.insert(np.argwhere(met) * CELL_PX, 0, which, axis=1))
    places = np.concatenate(found)
    return LabelledCells(places, np.zeros((len(places), cells.counts.shape[1]), np.int64))


def widened(cells: LabelledCells, rasters: Sequence[ModelRaster], scene_px: int) -> LabelledCells:
    """The cells of model rasters with all that are nearer than some pixels of the labelled grid."""
    if not scene_px:
        return cells
    found = [np.zeros((0, 3), np.int64)]
    for which, raster in enumerate(rasters):
        corners = cells.places[cells.places[:, 0] == which, 1:]
        held = np.zeros((raster.height // CELL_PX + 1, raster.width // CELL_PX + 1), bool)
        held[tuple((corners // CELL_PX).T)] = True
        ratio = max(raster.height / raster.mosaic.height, raster.width / raster.mosaic.width)
        near = maximum_filter(held, 2 * math.ceil(scene_px * ratio / CELL_PX) + 1)
        found.append(np.insert(np.argwhere(near) * CELL_PX, 0, which, axis=1))
    places = np.concatenate(found)
    return LabelledCells(places, np.zeros((len(places), cells.counts.shape[1]), np.int64))


def _centres(start: int, count: int, native: int, size: int) -> NDArray[np.int64]:
    """Pixels of the labelled grid at the centres of the pixels start, start + 1, ... of a resampled axis."""
    return (2 * np.arange(start, start + count, dtype=np.int64) + 1) * native // (2 * size)
