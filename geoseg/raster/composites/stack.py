"""The bands of several open files as one raster, on the pixel grid of one of them.

In: open files, and how each lies on the grid. Out: band values and masks of windows of the grid. A pixel holds data
where all files do whose bands are read; each file's own nodata value, mask or alpha band counts for its own pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.bands.names import ALPHA
from geoseg.raster.composites.alignment import Alignment
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import Mask, Values

T = TypeVar("T")


@dataclass(frozen=True)
class AlignedFile:
    """An open file, and how it lies on the grid of a composite scene."""

    scene: Scene
    """The file."""
    alignment: Alignment
    """Position of the grid's pixels in the file."""
    nodata: float | None = None
    """Value that marks missing data, in place of the file's."""

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers of its bands, without an alpha band."""
        return tuple(i for i, color in enumerate(self.scene.info.colors, 1) if color != ALPHA)

    @property
    def fill(self) -> tuple[float, ...]:
        """Values of pixels without data, per band of the file."""
        marks = self.scene.info.nodata if self.nodata is None else (self.nodata,) * len(self.scene.info.nodata)
        return tuple(0.0 if mark is None else mark for mark in marks)

    def read(self, bands: Sequence[int], window: Window) -> tuple[Values, Mask]:
        """Read a window of the grid: values (C, h, w), uint8 or float32, and which pixels hold data (h, w)."""
        chosen = SceneBands.select(self.scene, bands, nodata=self.nodata)
        if self.alignment.is_exact:
            return self._read_padded(chosen, self.alignment.needed(window))
        values = np.empty((len(bands), window.height, window.width), np.float32)
        valid = np.empty((window.height, window.width), bool)
        fill = np.array([self.fill[i - 1] for i in bands], np.float32)[:, None]
        for piece in self.alignment.pieces(window):
            place = piece.shift(-window.row, -window.col).slices
            found = self._read_padded(chosen, self.alignment.needed(piece))
            values[:, *place], valid[place] = self.alignment.resample(*found, piece)
        values[:, ~valid] = fill
        return values, valid

    def _read_padded(self, chosen: SceneBands, window: Window) -> tuple[Values, Mask]:
        """Read a window of the file; pixels beyond it hold no data."""
        inside = window.clip(chosen.height, chosen.width)
        if inside == window:
            return chosen.read(window)
        dtype = chosen.value_type
        values = np.empty((len(chosen.bands), window.height, window.width), dtype)
        values[:] = np.array([self.fill[i - 1] for i in chosen.bands], dtype)[:, None, None]
        valid = np.zeros((window.height, window.width), bool)
        if inside.pixels:
            place = inside.shift(-window.row, -window.col).slices
            values[:, *place], valid[place] = chosen.read(inside)
        return values, valid


class BandStack:
    """The bands of several open files as one raster; its metadata are the attributes of rasterio's dataset."""

    driver = "composite"

    def __init__(self, files: Sequence[AlignedFile], grid: PixelGrid):
        self._files, self._grid = tuple(files), grid
        self._bands = [(number, band) for number, file in enumerate(self._files) for band in file.bands]

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.scene.dataset.close()

    @property
    def height(self) -> int:
        """Rows."""
        return self._grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self._grid.width

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Height and width of the files' blocks per band, in pixels of the grid; at most the grid's own."""
        return [self._block(self._files[number], band) for number, band in self._bands]

    @property
    def drivers(self) -> tuple[str, ...]:
        """GDAL's name of the format of each file."""
        return tuple(name for file in self._files for name in file.scene.dataset.drivers)

    @property
    def files(self) -> list[str]:
        """All files, in the order of the bands."""
        return list(dict.fromkeys(path for file in self._files for path in file.scene.files()))

    def tags(self, *_arguments: Any, **options: Any) -> dict[str, str]:
        """Tags of all files; of several values of one tag, those of all files, one after the other."""
        found: dict[str, dict[str, None]] = {}
        for file in self._files:
            for name, value in file.scene.dataset.tags(**options).items():
                found.setdefault(name, {})[value] = None
        return {name: " ".join(values) for name, values in found.items()}

    def ask(self, question: Callable[[Any], T]) -> T:
        """Call a function with this raster."""
        return question(self)

    def overviews(self, _band: int) -> list[int]:
        """No overviews."""
        return []

    def marked(self, nodata: float) -> BandStack:
        """The same with another value that marks missing data."""
        return BandStack([replace(file, nodata=nodata) for file in self._files], self._grid)

    def on_grid(self, grid: PixelGrid) -> BandStack:
        """The same bands on another pixel grid of the same CRS and orientation."""
        files = [replace(file, alignment=Alignment.onto(grid, file.scene.grid)) for file in self._files]
        return BandStack(files, grid)

    def resamples(self, bands: Sequence[int]) -> bool:
        """Whether any of some bands is not on the grid as it is."""
        return not all(self._files[self._bands[i - 1][0]].alignment.is_exact for i in bands)

    def read(self, indexes: int | Sequence[int], window: RasterioWindow, **_options: Any) -> NDArray[Any]:
        """Read one band (h, w) or several (C, h, w), uint8 or float32.

        Raises:
            SceneError: if a file is damaged there.
        """
        bands = [indexes] if isinstance(indexes, int) else list(indexes)
        values, _ = self.read_valid(bands, window)
        return values[0] if isinstance(indexes, int) else values

    def read_valid(
        self, bands: Sequence[int], window: RasterioWindow, **_options: Any
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands (C, h, w), and which pixels hold data (h, w) by the marks of the files that are read.

        Raises:
            SceneError: if a file is damaged there.
        """
        place = Window(int(window.row_off), int(window.col_off), int(window.height), int(window.width))
        planes: dict[int, NDArray[Any]] = {}
        valid = np.ones((place.height, place.width), bool)
        for number, wanted in self._by_file(bands):
            values, held = self._files[number].read([band for _, band in wanted], place)
            planes |= {index: plane for (index, _), plane in zip(wanted, values, strict=True)}
            valid &= held
        return np.stack([planes[index] for index in bands]), valid

    def read_masks(self, indexes: int, window: RasterioWindow, **_options: Any) -> NDArray[np.uint8]:
        """Read the mask of a band (h, w): 0 where its file holds no data."""
        return self.read_valid([indexes], window)[1].astype(np.uint8)

    def _by_file(self, bands: Sequence[int]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Files of some bands, each with the bands' numbers in the stack and in the file."""
        found: dict[int, list[tuple[int, int]]] = {}
        for index in dict.fromkeys(bands):
            number, band = self._bands[index - 1]
            found.setdefault(number, []).append((index, band))
        yield from found.items()

    def _block(self, file: AlignedFile, band: int) -> tuple[int, int]:
        height, width = file.scene.dataset.block_shapes[band - 1]
        rows, cols = file.alignment.rows.step, file.alignment.cols.step
        return min(self.height, max(1, round(height / rows))), min(self.width, max(1, round(width / cols)))
