"""The input raster: opened and described, with its band values as the file stores them.

In: anything GDAL opens. Out: a Scene, complete once it is open; parts of it and selections of bands are further objects
on the same file. Knows no network and no padding: windows are read inside the scene only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from rasterio.errors import RasterioError

from geoseg.core.errors import SceneError
from geoseg.core.files import one_line
from geoseg.core.naming import is_utf8, scene_name
from geoseg.core.redaction import public_form, public_text
from geoseg.core.safe_paths import whole_url
from geoseg.geo.aoi import Area, find_area
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.bands.files import BandFile
from geoseg.raster.bands.tags import BandTag
from geoseg.raster.reading import open_dataset, to_rasterio, unreadable
from geoseg.raster.reading.dataset import Dataset
from geoseg.raster.reading.protocol import OpenRaster
from geoseg.raster.reading.stored import held_pixels
from geoseg.raster.reading.trust import PX_MOST
from geoseg.raster.scene_info import SceneInfo, describe_dataset, numpy_dtype, with_tags
from geoseg.raster.validity import Mask, Values, alpha_band, find_valid, read_mask, spread_windows

BYTES = 0.0, 255.0
"""LOW and HIGH of values of 8 bits."""
_BYTE, _HALF_OF_BYTE = 255, 128
"""Largest value of 8 bits, and what the largest value of an 8-bit image reaches at least."""
_REMEDIES = {
    "sends whole files only": "download it, or serve it by one that sends byte ranges",
    "HTTP response code": "check the address, and that you may read it",
    "CURL error": "check the address, the network and a proxy",
    "TIFFReadDirectory": "it is damaged or incomplete, copy it again",
    "supported file format": "check that it is an image, in a format that geoseg info --env lists",
}
"""What to do, by a part of GDAL's message."""
_BLOCK_BYTES = 512 * 2**20
"""Largest file block that is read: GDAL holds a block whole, for all bands of a pixel-interleaved file."""


@dataclass(frozen=True)
class Scene:
    """An open raster, or the part of it in an area of interest."""

    dataset: OpenRaster
    """The open file, or the bands of several."""
    info: SceneInfo
    """Its description."""
    alpha: int | None
    """Number of the alpha band, or None."""
    tags: tuple[BandTag, ...] = ()
    """Band metadata that was given when the scene was opened."""
    area: Area | None = None
    """The area of interest to which it is limited."""
    parts: tuple[BandFile, ...] = ()
    """The files that were given for its bands; none if it is a single one."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, name: str | None = None, tags: Sequence[BandTag] = ()) -> Self:
        """Open a path, VRT, /vsi path or URL.

        Args:
            path: what GDAL opens.
            name: of the scene; default: that of its file.
            tags: band metadata from elsewhere, e.g. a STAC Item; the file's own has precedence.

        Raises:
            SceneError: if it is missing, no raster, of complex numbers, or unsafe to read.
        """
        path = whole_url(path)
        dataset = _open_dataset(path)
        try:
            with read_errors(path):
                _check_dataset(dataset, path)
                alpha = alpha_band(dataset)
                info = with_tags(describe_dataset(dataset, path, name or scene_name(path), alpha), tags)
            return cls(dataset, info, alpha, tuple(tags))
        except BaseException:
            dataset.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    @property
    def height(self) -> int:
        """Rows."""
        return self.info.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.info.width

    @property
    def grid(self) -> PixelGrid:
        """Its size, transform and CRS."""
        return self.info.grid

    @property
    def has_wide_blocks(self) -> bool:
        """Whether the file's blocks are as wide as the raster, or nearly."""
        return bool(2 * self.dataset.block_shapes[0][1] > self.dataset.width)

    @property
    def held_pixels(self) -> int:
        """Upper bound of the number of pixels that hold data."""
        return min(self.height * self.width, held_pixels(self.dataset))

    def files(self) -> list[str]:
        """The files that the scene consists of: its own, sidecars, and the sources of a VRT."""
        return (list if self.parts else sorted)(self.dataset.files) or [self.info.path]

    def dated(self) -> datetime | None:
        """Acquisition time as given for a file, else by the file's tag; None without one."""
        if (given := next((part.taken for part in self.parts if part.taken), None)) is not None:
            return given
        text = str(self.dataset.tags().get("TIFFTAG_DATETIME", ""))
        with suppress(ValueError):
            return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        return None

    def taken(self) -> datetime:
        """Acquisition time by the file's tag; else the file's modification time; else now."""
        if (dated := self.dated()) is not None:
            return dated
        for path in (self.info.path, *(part.path for part in self.parts)):
            with suppress(OSError, OverflowError, ValueError):
                return datetime.fromtimestamp(os.path.getmtime(path), tz=UTC)
        return datetime.now(UTC)

    def marked(self, nodata: float | None) -> Self:
        """The scene with another value that marks missing data, also where its files have their own; None for none."""
        return self if nodata is None else replace(self, dataset=self.dataset.marked(nodata))

    def within(self, aoi: Path | None, bbox: tuple[float, float, float, float] | None) -> Self:
        """The part of the scene in an area of interest, outside of which nothing is read; the scene itself without one.

        Raises:
            SceneError: if there is no area, and the scene is too large to be read as a whole.
            SpecError: if the area cannot be read, or lies off the scene.
        """
        area = find_area(self.grid, aoi, bbox, self.info.path)
        wanted = self.info.pixels if area is None else area.window.pixels
        if wanted > PX_MOST:
            raise SceneError(
                f"{self.info.public_path} claims {self.width:,} x {self.height:,} pixels: limit it with --bbox or --aoi"
            )
        if area is None:
            return self
        part = self.grid.part(area.window)
        info = replace(self.info, height=part.height, width=part.width, transform=part.transform)
        return replace(self, area=area, info=replace(info, gcps=([], None), rpcs=None))

    def in_file(self, window: Window) -> Window:
        """Convert a window of the scene to one of its file."""
        return window if self.area is None else window.shift(self.area.window.row, self.area.window.col)

    def read(self, bands: int | list[int], window: Window) -> Values:
        """Read one band (h, w) or several (C, h, w), in the common type of their values; float32 if resampled.

        Raises:
            SceneError: if the file is damaged there.
        """
        values, _ = self.read_valid([bands] if isinstance(bands, int) else bands, window)
        return values[0] if isinstance(bands, int) else values

    def read_valid(self, bands: list[int], window: Window) -> tuple[Values, Mask]:
        """Read bands (C, h, w), and which pixels hold data (h, w) as far as each of several files has its own marks.

        Raises:
            SceneError: if a file is damaged there.
        """
        dtype = np.dtype(self.info.dtype_of(bands))
        dtype = np.dtype(np.float32) if dtype.kind == "f" else dtype
        where = to_rasterio(self.in_file(window))
        groups = [bands] if len({self.info.dtypes[i - 1] for i in bands}) == 1 else [[i] for i in bands]
        with read_errors(self.info.path):
            found = [self.dataset.read_valid(group, window=where, out_dtype=dtype) for group in groups]
        if len(found) == 1:
            return found[0]
        return np.concatenate([values for values, _ in found]), np.logical_and.reduce([valid for _, valid in found])

    def read_mask(self, band: int, window: Window) -> Mask:
        """Read a band's mask (h, w), true where there is data.

        Raises:
            SceneError: if the file is damaged there.
        """
        with read_errors(self.info.path):
            return read_mask(self.dataset, band, to_rasterio(self.in_file(window)))

    def lacks_blocks(self, bands: Iterable[int], window: Window) -> bool:
        """Whether a sparse GeoTIFF has no tiles in a window, so that all pixels are equal and need not be read.

        False for files in strips: GDAL may present a strip as blocks of one row, and knows only where the first lies.
        """
        if self.parts or self.dataset.drivers != ("GTiff",) or self.has_wide_blocks or self.info.mask == "mask":
            return False
        inside, chosen = self.in_file(window), tuple(bands)
        with read_errors(self.info.path):
            return self.dataset.ask(
                lambda file: all(_lacks_block(file, b, *block) for b in chosen for block in self._blocks(b, inside))
            )

    def _blocks(self, band: int, window: Window) -> Iterator[tuple[int, int]]:
        """Column and row of each block of a band that a window of the file meets."""
        height, width = self.dataset.block_shapes[band - 1]
        rows = range(window.row // height, -(-(window.row + window.height) // height))
        cols = range(window.col // width, -(-(window.col + window.width) // width))
        return ((col, row) for row in rows for col in cols)

    def sample(self, bands: Sequence[int]) -> Values:
        """Read the values (C, n) of 16 small windows spread over the scene; cheap at any size."""
        windows = spread_windows(self.height, self.width)
        return np.concatenate([self.read(list(bands), window).reshape(len(bands), -1) for window in windows], axis=1)

    def suggest_rescale(self, bands: Sequence[int]) -> tuple[float, float] | None:
        """LOW and HIGH of --rescale, of a sample of the valid values.

        That is 0 and 255 where they are values of 8 bits in a wider type, else their 2nd and 98th percentile, rounded
        to three digits.
        """
        values = self.sample(bands)[:, None]
        valid = find_valid(values, [self.info.nodata[i - 1] for i in bands])
        if not valid.any():
            return None
        if values[:, valid].min() >= 0 and _HALF_OF_BYTE <= values[:, valid].max() <= _BYTE:
            return BYTES
        low, high = np.percentile(values[:, valid].astype(float), (2, 98))
        low, high = float(f"{low:.3g}"), float(f"{high:.3g}")
        return (low, high) if low < high else None


def _lacks_block(file: Any, band: int, col: int, row: int) -> bool:
    return file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band) is None


def _open_dataset(path: str) -> Dataset:
    if not is_utf8(path):
        raise SceneError(f"the name of {path} is no text in UTF-8: rename it")
    if os.path.isdir(path):
        raise SceneError(f"{path} is a folder: give the path of a raster")
    if ":" not in path and not path.startswith("/vsi") and not os.path.exists(path):
        raise SceneError(f"no scene at {path}: check the path")
    try:
        return open_dataset(path)
    except (RasterioError, ValueError, OSError) as error:
        reason = public_text(one_line(error), [path])
        if "Range downloading not supported" in reason:
            reason = "its server sends whole files only, no parts"
        remedy = next((f": {what}" for words, what in _REMEDIES.items() if words in reason), "")
        raise SceneError(f"{public_form(path)} cannot be opened as a raster: {reason}{remedy}") from None


@contextmanager
def read_errors(path: str) -> Iterator[None]:
    """Convert errors of reading into a SceneError that names the scene."""
    try:
        yield
    except (RasterioError, MemoryError) as error:
        raise SceneError(unreadable(error, path)) from None


def _check_dataset(dataset: Dataset, path: str) -> None:
    """Refuse rasters that cannot be a scene, or would exhaust memory or time."""
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:3])
        raise SceneError(
            f"{path} holds no bands of its own" + (f": give one of its parts, e.g. {parts}" if parts else "")
        )
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneError(f"{path} holds complex numbers: convert it to amplitudes first")
    height, width = dataset.block_shapes[0]
    bands = dataset.count if str(dataset.interleaving).lower().endswith("pixel") else 1
    block = height * width * bands * np.dtype(numpy_dtype(dataset.dtypes[0])).itemsize
    if block > _BLOCK_BYTES:
        raise SceneError(
            f"{path} stores blocks of {block / 2**20:,.0f} MiB ({height} x {width} pixels, {bands} bands), too large "
            "to read in parts: rewrite it with gdal_translate -co TILED=YES -co INTERLEAVE=BAND"
        )
