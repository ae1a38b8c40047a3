"""A raster that several threads may read: each has the file open for itself."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Lock, local
from typing import Any, Self, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.core.files import one_line, quiet_georeferencing
from geoseg.core.gdal_options import SAFE
from geoseg.core.regular_files import check_regular
from geoseg.core.safe_paths import as_file, whole_url
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.reading import readers
from geoseg.raster.reading.cells import Blocks, cells, rows
from geoseg.raster.reading.faults import Faults, gdal_errors, reason, watched
from geoseg.raster.reading.remote import PATIENCE_S, forget, is_final, is_remote, pauses
from geoseg.raster.reading.trust import check

T = TypeVar("T")

_SHARED_PX = 2**14
"""Least pixels of a window that is divided among readers: handing over takes as long as copying some thousands."""
_SHARED_DRIVERS = frozenset({"GTiff", "VRT", "JP2OpenJPEG", "HFA"})
"""Formats of which any part can be read without decoding those before it."""
_HELD_BYTES = 256 * 2**20
"""Memory for the blocks that readers cache, one each."""
_REOPENED = 2
"""How often opening a file on a server is retried: GDAL itself has retried each request already."""


class _ServerFailure(Exception):
    """A request to a server failed that may succeed when it is repeated."""


@dataclass(frozen=True)
class _Target:
    """A window to read, and the array for its values."""

    method: str
    """Method of rasterio's dataset: read, or read_masks."""
    bands: list[int]
    """Bands, from 1."""
    window: Window
    """Window of the file."""
    out: NDArray[Any]
    """Its values (C, h, w)."""

    def read_all(self, parts: Sequence[Window], handle: Any) -> None:
        """Read parts of the window in all bands."""
        for part in parts:
            self.read(part, slice(None), handle)

    def read(self, part: Window, bands: slice, handle: Any) -> None:
        """Read a part of the window in some of the bands."""
        where = to_rasterio(part)
        place = self.out[bands, *part.shift(-self.window.row, -self.window.col).slices]
        getattr(handle, self.method)(self.bands[bands], window=where, out=place)


def to_rasterio(window: Window) -> RasterioWindow:
    """Convert a window to rasterio's."""
    return RasterioWindow(window.col, window.row, window.width, window.height)


def open_dataset(path: str | os.PathLike[str], **options: Any) -> Dataset:
    """Open a raster for reading.

    Args:
        path: anything GDAL opens.
        options: GDAL's open options.

    Raises:
        RasterioError: if it cannot be opened, or is unsafe to read.
    """
    try:
        check_regular(path)
    except OSError as error:
        raise RasterioIOError(error.strerror) from None
    dataset = Dataset(whole_url(path), options)
    try:
        check(dataset.handle(), dataset.path)
    except BaseException:
        dataset.close()
        raise
    return dataset


class Dataset:
    """A raster open for reading; its metadata are the attributes of rasterio's dataset."""

    width: int
    files: Sequence[str]
    block_shapes: Sequence[tuple[int, int]]

    def __init__(self, path: str, options: dict[str, Any]):
        self.path, self._options = path, options
        self._local, self._lock = local(), Lock()
        self._handles: list[Any] = []
        self._broken: RasterioIOError | None = None
        self._first = self.handle()
        self._blocks = Blocks(*(self._first.block_shapes[0] if self._first.count else (1, 1)))
        self._cells = self._find_cells()
        self._readers = self._count_readers()

    def __getattr__(self, name: str) -> Any:
        with gdal_errors():
            return getattr(self._first, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file in all threads."""
        with self._lock:
            while self._handles:
                self._handles.pop().close()

    def read(self, indexes: int | Sequence[int], window: RasterioWindow | None = None, **options: Any) -> NDArray[Any]:
        """Read one band (h, w) or several (C, h, w), as rasterio does.

        Raises:
            RasterioError: if GDAL raised or logged an error; it names the file.
        """
        return self._read("read", indexes, window, options)

    def read_masks(self, indexes: int, window: RasterioWindow | None = None, **options: Any) -> NDArray[np.uint8]:
        """Read the mask of a band (h, w): 0 where there is no data.

        Raises:
            RasterioError: if GDAL raised or logged an error; it names the file.
        """
        return self._read("read_masks", indexes, window, options)

    def read_valid(
        self, bands: Sequence[int], window: RasterioWindow, **options: Any
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands (C, h, w), and a mask (h, w) that is true: a single file's marks are those of its scene.

        Raises:
            RasterioError: if GDAL raised or logged an error; it names the file.
        """
        values = self.read(bands, window, **options)
        return values, np.broadcast_to(np.True_, values.shape[1:])

    def resamples(self, _bands: Sequence[int]) -> bool:
        """Whether bands are resampled when they are read: never."""
        return False

    def on_grid(self, _grid: PixelGrid) -> Self:
        """The file itself: it is not resampled."""
        return self

    def marked(self, _nodata: float) -> Self:
        """The file itself: its scene knows the value that marks missing data."""
        return self

    @property
    def drivers(self) -> tuple[str, ...]:
        """GDAL's name of the file's format."""
        return (str(self.driver),)

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Description of each band; none if they are not UTF-8."""
        try:
            texts: tuple[str | None, ...] = self._first.descriptions
        except UnicodeDecodeError:
            texts = (None,) * self._first.count
        return texts

    def tags(self, *arguments: Any, **options: Any) -> dict[str, str]:
        """Tags, as rasterio gives them; none if they are not UTF-8."""
        try:
            return dict(self._first.tags(*arguments, **options))
        except UnicodeDecodeError:
            return {}

    def mask_flags(self, index: int) -> list[MaskFlags]:
        """Source of the mask of a band, as rasterio's flags.

        Raises:
            RasterioError: if a file that holds the mask cannot be read.
        """
        flags = list(self.ask(lambda handle: handle.mask_flag_enums[index - 1]))
        sidecar = f"{self.path}.msk"
        if MaskFlags.per_dataset not in flags and os.path.isfile(sidecar):
            raise RasterioIOError(f"{sidecar} is no mask: remove it, or make it again")
        return flags

    def ask(self, question: Callable[[Any], T]) -> T:
        """Call a function with rasterio's dataset, for metadata that it reads from the file.

        Raises:
            RasterioError: if GDAL raised or logged an error.
        """
        return self._guarded(question, time.monotonic())

    def handle(self) -> Any:
        """This thread's own rasterio dataset."""
        if getattr(self._local, "handle", None) is None:
            self._local.handle = _open(self.path, self._options)
            with self._lock:
                self._handles.append(self._local.handle)
        return self._local.handle

    def _read(
        self, method: str, indexes: int | Sequence[int], window: RasterioWindow | None, options: dict[str, Any]
    ) -> NDArray[Any]:
        if window is None or "out_shape" in options:
            return self.ask(lambda handle: getattr(handle, method)(indexes, window=window, **options))
        whole = Window(int(window.row_off), int(window.col_off), int(window.height), int(window.width))
        bands = [indexes] if isinstance(indexes, int) else list(indexes)
        dtype = np.uint8 if method == "read_masks" else options.get("out_dtype") or self._first.dtypes[bands[0] - 1]
        out = np.empty((len(bands), whole.height, whole.width), dtype)
        target = _Target(method, bands, whole, out)
        shares = self._parts_by_reader(whole)
        if not shares:
            self._fill(target, [whole])
        else:
            readers.run({number: partial(self._fill, target, parts) for number, parts in shares.items()})
        return out[0] if isinstance(indexes, int) else out

    def _parts_by_reader(self, window: Window) -> dict[int, list[Window]]:
        """Parts of a window by reader, each of which has the blocks of its cells cached; empty for windows that the
        calling thread reads: the smallest, and those of rasters of one cell."""
        shares = defaultdict[int, list[Window]](list)
        if self._readers > 1 and window.pixels >= _SHARED_PX:
            for reader, part in self._cells.cut(window, self._readers):
                shares[reader].append(part)
        return shares

    def _fill(self, target: _Target, parts: Sequence[Window]) -> None:
        """Read parts of a window into the array; from a server that fails, block by block and band by band."""
        begun = time.monotonic()
        try:
            self._guarded(partial(target.read_all, parts))
        except _ServerFailure:
            for piece in (piece for part in parts for piece in self._blocks.pieces(part)):
                for band in range(len(target.bands)):
                    self._guarded(partial(target.read, piece, slice(band, band + 1)), begun)

    def _guarded(self, task: Callable[[Any], T], begun: float | None = None) -> T:
        """Call a function with this thread's dataset, repeatedly while a server fails.

        Raises:
            _ServerFailure: if a server failed and `begun` is not given.
        """
        if self._broken is not None:
            raise self._broken
        for pause in (*pauses(), None):
            with _safely(), watched() as faults:
                error: Exception | None = None
                try:
                    with gdal_errors():
                        result = task(self.handle())
                    if not faults.failures:
                        return result
                except RasterioError as raised:
                    error = raised
                failure = self._failure(faults, error)
                is_late = begun is not None and time.monotonic() - begun > PATIENCE_S
                if pause is None or is_late or self._lacks_source(faults) or not self._forget(str(failure)):
                    self._broken = failure if self._first.driver == "VRT" else None
                    raise failure from None
            if begun is None:
                raise _ServerFailure(str(failure))
            time.sleep(pause)
        raise AssertionError

    def _lacks_source(self, faults: Faults) -> bool:
        """Whether a source of a VRT could not be opened: GDAL reports that once, and skips the source from then on."""
        return self._first.driver == "VRT" and not any("IReadBlock failed" in text for text in faults.failures)

    def _failure(self, faults: Faults, error: Exception | None) -> RasterioIOError:
        return RasterioIOError(reason(tuple(faults.failures), error, self._files()))

    def _files(self) -> list[str]:
        with suppress(RasterioError):
            return list(self.handle().files)
        return []

    def _forget(self, message: str) -> bool:
        """Empty GDAL's cache of a remote file and of the remote source that a message names; False if there is none."""
        sources = [file for file in self._files()[1:] if is_remote(file) and file in message]
        if not is_remote(self.path) and not sources:
            return False
        forget(getattr(self._local, "handle", None), self.path, sources)
        return True

    def _find_cells(self) -> Blocks:
        return rows(self._first.width) if self._first.driver == "VRT" else cells(self._blocks, self._first.width)

    def _count_readers(self) -> int:
        """Number of readers among which windows are divided."""
        first = self._first
        if first.driver not in _SHARED_DRIVERS or not first.count:
            return 1
        height, width = first.block_shapes[0]
        block = height * width * first.count * 8
        if first.height <= self._cells.height and first.width <= self._cells.width:
            return 1
        return max(1, min(readers.processors(), readers.MOST, int(_HELD_BYTES // block)))


def _safely() -> AbstractContextManager[Any]:
    """A context in which a read fails if any part of it fails."""
    current = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return nullcontext() if SAFE.items() <= current.items() else rasterio.Env(**SAFE)


def _open(path: str, options: dict[str, Any]) -> Any:
    """Open a file; try again if a server failed.

    Raises:
        RasterioError: if it cannot be opened, or a part of its metadata cannot be read.
    """
    for pause in (*islice(pauses(), _REOPENED if is_remote(path) else 0), None):
        with rasterio.Env(**SAFE), watched() as faults, quiet_georeferencing():
            try:
                dataset = rasterio.open(as_file(path), **options)
                if not faults.unread:
                    return dataset
                dataset.close()
                error = RasterioIOError(faults.unread[0])
            except RasterioError as raised:
                error = RasterioIOError(reason(faults.failures, raised, (path,)))
            if pause is None or is_final(one_line(error)):
                raise error
            forget(None, path, ())
        time.sleep(pause)
    raise AssertionError
