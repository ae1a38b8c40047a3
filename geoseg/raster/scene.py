"""The input raster: what it is, which of its bands a model wants, and its pixels window by window.

In: anything GDAL opens. Out: band values (C, h, w) and which pixels hold data (h, w). Knows no network and no padding:
windows are read inside the scene only. `find_valid` is a pure function; `Scene` opens and reads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError

from geoseg.core.errors import SceneError
from geoseg.core.files import one_line
from geoseg.core.naming import is_utf8, scene_name
from geoseg.core.redaction import public_form, public_text
from geoseg.core.safe_paths import whole_url
from geoseg.geo.aoi import Area, find_area
from geoseg.geo.geodesy import pixel_size_m
from geoseg.geo.georef import PixelGrid, placing
from geoseg.geo.grid import Window
from geoseg.raster.bands.matching import HIGHEST, looks_like_alpha
from geoseg.raster.bands.names import ALPHA, agreed_roles
from geoseg.raster.bands.tags import BandTag, or_told, tags_of
from geoseg.raster.fill import Fill, FillMap, find_fill, frame_windows, trace_fill
from geoseg.raster.reading import Dataset, held_pixels, open_dataset, to_rasterio, unreadable
from geoseg.raster.scaling import Conversion, conversion, told_scaling
from geoseg.spec import ScalingSpec

Values = NDArray[Any]
Mask = NDArray[np.bool_]

_BLOCK_BYTES = 512 * 2**20
"""Largest file block that is read: GDAL holds a block whole, for all bands of a pixel-interleaved file."""
SMOOTH_OVERVIEWS = {"AVERAGE", "BILINEAR", "CUBIC", "CUBICSPLINE", "LANCZOS"}
"""How overviews must be made to stand in for averages: NEAREST shifts what it keeps, MODE drops what is small."""
_LOSSY = "JPEG", "WEBP", "JXL", "LERC"
"""Parts of the names of compressions that change values: YCbCr JPEG, OJPEG, LERC_ZSTD, ..."""
_LOSSY_DRIVERS = {"JPEG", "WEBP", "JP2OPENJPEG", "JP2KAK", "JP2ECW", "JP2MRSID", "ECW", "MRSID", "JPEGXL"}
"""What may change values by a little: compressions of GeoTIFFs, and formats."""


@dataclass(frozen=True)
class SceneInfo:
    """What geoseg sees in a scene before reading it."""

    path: str
    """As it was given."""
    name: str
    """Name of the scene, with which the names of its results begin."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    dtypes: tuple[str, ...]
    """Type of the values, per band."""
    colors: tuple[str, ...]
    """Colour interpretation per band: red, green, blue, alpha, gray, undefined, ..."""
    descriptions: tuple[str, ...]
    """Description per band, empty where there is none."""
    nodata: tuple[float | None, ...]
    """Value that marks missing data, per band."""
    scales: tuple[float, ...]
    """What values are multiplied with to get what they stand for, per band; 1 where the file does not say."""
    offsets: tuple[float, ...]
    """What is added then, per band; 0 where the file does not say."""
    mask: str
    """Where validity comes from: 'none', 'nodata', 'mask' (a mask band), or 'alpha'."""
    crs: Any
    """rasterio CRS, or None."""
    transform: Any
    """Affine transform from pixel to CRS coordinates; the identity where there is none."""
    gcps: tuple[list[Any], Any]
    """Ground control points and their CRS; kept, never applied. None where there is a transform, which goes first."""
    rpcs: Any
    """Rational polynomial coefficients, or None; kept, never applied."""

    def dtype_of(self, bands: Sequence[int]) -> str:
        """Type of the values of some bands (from 1); the widest where they differ."""
        return str(np.result_type(*(_numpy_dtype(self.dtypes[i - 1]) for i in bands)))

    def scaling_of(self, bands: Sequence[int]) -> ScalingSpec | None:
        """What the values of some bands (from 1) stand for; None where the file does not say."""
        return told_scaling([self.scales[i - 1] for i in bands], [self.offsets[i - 1] for i in bands])

    @property
    def public_path(self) -> str:
        """The path as others may see it, without passwords, keys and signatures."""
        return public_form(self.path)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def pixel_size_m(self) -> tuple[float, float] | None:
        """Width and height of a pixel on the ground in metres, or None where that is unknown."""
        return pixel_size_m(self.crs, self.transform, self.height, self.width)

    @property
    def resolution_m(self) -> float | None:
        """Side in metres of a square pixel of the same area."""
        size = self.pixel_size_m
        return math.sqrt(size[0] * size[1]) if size else None


def plain_number(value: float | None) -> float | str | None:
    """Write NaN and infinity as text: JSON has no such numbers."""
    return value if value is None or math.isfinite(value) else str(value)


def find_valid(image: Values, nodata: Sequence[float | None]) -> Mask:
    """Tell which pixels (h, w) of an image (C, h, w) hold data.

    In 8-bit imagery 0 or 255 is also a dark or bright value, so a pixel is missing only where *all* bands say so; wider
    types have room for a value that nothing else takes, so *any* band is enough. NaN and infinity are always missing.
    """
    valid = np.ones(image.shape[1:], dtype=bool)
    if image.dtype.kind == "f":
        valid &= np.isfinite(image).all(axis=0)
    marked = [band == value for band, value in zip(image, nodata, strict=True) if value is not None and value == value]
    if marked and (image.dtype.itemsize > 1 or len(marked) == len(image)):
        combine = np.logical_or if image.dtype.itemsize > 1 else np.logical_and
        valid &= ~combine.reduce(marked)
    return valid


class Scene:
    """An open scene with chosen bands."""

    def __init__(self, dataset: Dataset, info: SceneInfo, *, alpha: int | None):
        self._dataset = dataset
        self._alpha = alpha
        self.info = info
        self.height, self.width = info.height, info.width
        self.bands: tuple[int, ...] = ()
        self._nodata: tuple[float | None, ...] = ()
        self._rescale: tuple[float, float, float] | None = None
        self._conversion: Conversion | None = None
        self._fill: Fill | None = None
        self._fill_map: FillMap | None = None
        self.tags: tuple[BandTag, ...] = ()
        """What was said of the bands when the scene was opened."""
        self.area: Area | None = None
        """The area of interest that the scene is limited to."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, name: str | None = None, tags: Sequence[BandTag] = ()) -> Self:
        """Open a path, VRT, /vsi path or URL.

        Args:
            path: what GDAL opens.
            name: of the scene; default: that of its file.
            tags: what is said of its bands elsewhere; the file's own word counts first.

        Raises:
            SceneError: if it is missing, no raster, of complex numbers, or a trap.
        """
        path = whole_url(path)
        dataset = _open_dataset(path)
        try:
            with _read_errors(path):
                _check_dataset(dataset, path)
                alpha = _alpha_band(dataset)
                info = _tagged(_describe(dataset, path, name or scene_name(path), alpha), tags)
            scene = cls(dataset, info, alpha=alpha)
            scene.tags = tuple(tags)
            return scene
        except BaseException:
            dataset.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dataset.close()

    def select(
        self,
        bands: Sequence[int],
        *,
        nodata: float | None = None,
        rescale: tuple[float, float] | None = None,
        dtype: str = "uint8",
        scaling: ScalingSpec | None = None,
    ) -> None:
        """Choose what `read` gives.

        Args:
            bands: their numbers, from 1.
            nodata: value that marks missing data, over the file's.
            rescale: the file's values that become the ends of the range of `dtype`; nothing else is done to them then.
            dtype: type of a model's values.
            scaling: what values are to stand for; those of a file that says what its own stand for are converted.
        """
        self.bands = tuple(bands)
        self._nodata = tuple(self.info.nodata[i - 1] if nodata is None else nodata for i in bands)
        if rescale is not None:
            low, high = rescale
            self._rescale = low, HIGHEST[dtype] / (high - low), HIGHEST[dtype]
        else:
            self._conversion = conversion(self.info.scaling_of(bands), scaling)

    @property
    def value_bytes(self) -> int:
        """Bytes of a value that is read."""
        changes = self._rescale is not None or self._conversion is not None
        return 1 if self.info.dtype_of(self.bands) == "uint8" and not changes else 4

    @property
    def has_wide_blocks(self) -> bool:
        """Whether the file's blocks are whole rows, or nearly."""
        return bool(2 * self._dataset.block_shapes[0][1] > self._dataset.width)

    @property
    def held_pixels(self) -> int:
        """Pixels of the scene that may hold data, at most."""
        return min(self.height * self.width, held_pixels(self._dataset))

    def files(self) -> list[str]:
        """The files that the scene consists of: its own, sidecars, and the sources of a VRT."""
        return sorted(self._dataset.files) or [self.info.path]

    def taken(self) -> datetime:
        """When the scene was taken, as far as its file tells: by its tag, else by its last change, else now."""
        text = str(self._dataset.tags().get("TIFFTAG_DATETIME", ""))
        with suppress(ValueError):
            return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        with suppress(OSError, OverflowError, ValueError):
            return datetime.fromtimestamp(os.path.getmtime(self.info.path), tz=UTC)
        return datetime.now(UTC)

    def limit(self, aoi: Path | None, bbox: tuple[float, float, float, float] | None) -> None:
        """Make the scene its part in an area of interest, which nothing outside of is read any more.

        Raises:
            SpecError: if the area cannot be read, or lies off the scene.
        """
        grid = PixelGrid(self.height, self.width, self.info.transform, self.info.crs)
        self.area = find_area(grid, aoi, bbox, self.info.path)
        if self.area is not None:
            part = grid.part(self.area.window)
            self.height, self.width = part.height, part.width
            self.info = replace(
                self.info, height=part.height, width=part.width, transform=part.transform, gcps=([], None), rpcs=None
            )

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside the scene: band values (C, h, w) and which pixels hold data (h, w).

        Values are uint8 where the file's are and nothing is rescaled or converted, else float32.

        Raises:
            SceneError: if the file is damaged there.
        """
        if self._is_left_out(window):
            image, valid = self._read_valid(Window(window.row, window.col, 1, 1))
            size = window.height, window.width
            image, valid = np.broadcast_to(image, (len(image), *size)).copy(), np.broadcast_to(valid, size).copy()
        else:
            image, valid = self._read_valid(window)
        if self.area is not None:
            valid &= self.area.mask(self._in_file(window))
        if self._fill is not None:
            valid &= ~self._map_of(self._fill).mask(window, image)
        return self._stretch(image), valid

    def find_fill(self) -> Fill | None:
        """Look along the frame for fill in the chosen bands that no tag tells of; bounded at any size.

        Raises:
            SceneError: if the file is damaged there.
        """
        frame = []
        for window in frame_windows(self.height, self.width, 16 if self.has_wide_blocks else 64):
            image, valid = self._read_valid(window)
            frame.append((image, valid if self.area is None else valid & self.area.mask(self._in_file(window))))
        return find_fill(frame, self.sample(self.bands), is_lossy=self._is_lossy)

    def leave_out(self, fill: Fill) -> None:
        """Count fill that hangs together with the frame as nodata from now on."""
        self._fill, self._fill_map = fill, None

    def _map_of(self, fill: Fill) -> FillMap:
        if self._fill_map is None:
            self._fill_map = trace_fill(fill, self.height, self.width, lambda w: self._read(list(self.bands), w))
        return self._fill_map

    @property
    def _is_lossy(self) -> bool:
        """Whether the file's compression changes values."""
        compression = self._dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").upper()
        return any(name in compression for name in _LOSSY) or self._dataset.driver.upper() in _LOSSY_DRIVERS

    def sample(self, bands: Sequence[int]) -> Values:
        """Read 16 small windows spread over the scene, as (C, n) values; cheap at any size."""
        parts = [self._read(list(bands), window).reshape(len(bands), -1) for window in _spread(self.height, self.width)]
        return np.concatenate(parts, axis=1)

    def overview(self, ratio: float) -> Scene | None:
        """Open the coarsest overview whose pixels are at most `ratio` of the scene's wide, as a scene of its own.

        Its size is that of the overview, from which follows the actual ratio. None if the file has no such overview, if
        it may not be one of averages, or if an area of interest is set or fill is left out, which are known in full
        resolution only.
        """
        if self.area is not None or self._fill is not None:
            return None
        with _read_errors(self.info.path):
            factors = self._dataset.ask(lambda file: file.overviews(self.bands[0]))
        fitting = [(factor, index) for index, factor in enumerate(factors) if 1 < factor <= ratio]
        if not fitting:
            return None
        try:
            dataset = open_dataset(self.info.path, overview_level=max(fitting)[1])
        except (RasterioError, ValueError, OSError):
            return None
        if dataset.tags(self.bands[0]).get("RESAMPLING", "").upper() not in SMOOTH_OVERVIEWS:
            dataset.close()
            return None
        coarse = Scene(dataset, replace(self.info, height=dataset.height, width=dataset.width), alpha=self._alpha)
        coarse.bands, coarse._nodata = self.bands, self._nodata
        coarse._rescale, coarse._conversion = self._rescale, self._conversion
        return coarse

    def suggest_rescale(self, bands: Sequence[int]) -> tuple[float, float] | None:
        """2nd and 98th percentile of sampled valid values, rounded to three digits."""
        values = self.sample(bands)[:, None]
        valid = find_valid(values, [self.info.nodata[i - 1] for i in bands])
        if not valid.any():
            return None
        low, high = np.percentile(values[:, valid].astype(float), (2, 98))
        low, high = float(f"{low:.3g}"), float(f"{high:.3g}")
        return (low, high) if low < high else None

    def _in_file(self, window: Window) -> Window:
        """Where a window of the scene lies in its file."""
        return window if self.area is None else window.shift(self.area.window.row, self.area.window.col)

    def _is_left_out(self, window: Window) -> bool:
        """Whether a sparse GeoTIFF has no tiles there, so that all pixels are alike; millions need not be made.

        Of strips nobody can tell: GDAL may show one strip as blocks of a row each, and knows where the first one lies.
        """
        if self._dataset.driver != "GTiff" or self.has_wide_blocks or self.info.mask == "mask":
            return False
        inside = self._in_file(window)
        bands = self.bands if self._alpha is None else {*self.bands, self._alpha}
        with _read_errors(self.info.path):
            return self._dataset.ask(
                lambda file: all(_lacks_block(file, b, *block) for b in bands for block in self._blocks(b, inside))
            )

    def _blocks(self, band: int, window: Window) -> Iterator[tuple[int, int]]:
        """Column and row of a band's blocks that a window of the file meets."""
        height, width = self._dataset.block_shapes[band - 1]
        rows = range(window.row // height, -(-(window.row + window.height) // height))
        cols = range(window.col // width, -(-(window.col + window.width) // width))
        return ((col, row) for row in rows for col in cols)

    def _read_valid(self, window: Window) -> tuple[Values, Mask]:
        """Read band values as the file has them, and which pixels hold data; the area of interest is not looked at."""
        image = self._read(list(self.bands), window)
        valid = find_valid(image, self._nodata)
        if self._alpha is not None and self._alpha not in self.bands:
            valid &= self._read(self._alpha, window) > 0
        if self.info.mask == "mask":
            valid &= self._read_mask(window)
        return image, valid

    def _read(self, bands: int | list[int], window: Window) -> Values:
        """Read one band (h, w) or several (C, h, w), in the one type that holds the values of all chosen bands."""
        chosen = [bands] if isinstance(bands, int) else bands
        dtype = np.dtype(self.info.dtype_of(chosen))
        dtype = np.dtype(np.float32) if dtype.kind == "f" else dtype
        where = to_rasterio(self._in_file(window))
        with _read_errors(self.info.path):
            if len({self.info.dtypes[i - 1] for i in chosen}) == 1:
                values: Values = self._dataset.read(bands, window=where, out_dtype=dtype)
                return values
            parts = [self._dataset.read(i, window=where, out_dtype=dtype) for i in chosen]
        return np.stack(parts)

    def _read_mask(self, window: Window) -> Mask:
        with _read_errors(self.info.path):
            mask: Mask = self._dataset.read_masks(self.bands[0], window=to_rasterio(self._in_file(window))) > 0
        return mask

    def _stretch(self, image: Values) -> Values:
        if self._rescale is not None:
            low, factor, top = self._rescale
            image = np.clip((image.astype(np.float32) - low) * factor, 0, top)
        elif self._conversion is not None:
            image = self._conversion.apply(image)
        return image if image.dtype == np.uint8 else image.astype(np.float32)


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
        raise SceneError(f"{public_form(path)} cannot be opened as a raster: {reason}") from None


@contextmanager
def _read_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (RasterioError, MemoryError) as error:
        raise SceneError(unreadable(error, path)) from None


def _check_dataset(dataset: Dataset, path: str) -> None:
    """Refuse what cannot be a scene, or would exhaust memory or time."""
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:3])
        raise SceneError(
            f"{path} holds no bands of its own" + (f": give one of its parts, e.g. {parts}" if parts else "")
        )
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneError(f"{path} holds complex numbers: convert it to amplitudes first")
    height, width = dataset.block_shapes[0]
    bands = dataset.count if str(dataset.interleaving).lower().endswith("pixel") else 1
    block = height * width * bands * np.dtype(_numpy_dtype(dataset.dtypes[0])).itemsize
    if block > _BLOCK_BYTES:
        raise SceneError(
            f"{path} stores blocks of {block / 2**20:,.0f} MiB ({height} x {width} pixels, {bands} bands), too large "
            "to read in parts: rewrite it with gdal_translate -co TILED=YES -co INTERLEAVE=BAND"
        )


def _numpy_dtype(name: str) -> str:
    return "int8" if name == "sbyte" else name


def _alpha_band(dataset: Dataset) -> int | None:
    """Number of the alpha band, or None: by its name, else by its mark.

    A fourth band that is only marked as alpha is infrared more often than not.
    """
    roles = agreed_roles([text or "" for text in dataset.descriptions])
    for index, (color, role) in enumerate(zip(dataset.colorinterp[:16], roles, strict=False), 1):
        if (color.name if role is None else role) == ALPHA:
            windows = _spread(dataset.height, dataset.width)
            values = np.concatenate([dataset.read(index, window=to_rasterio(w)).ravel() for w in windows])
            return index if looks_like_alpha(values, dataset.dtypes[index - 1]) else None
    return None


def _spread(height: int, width: int, side: int = 64, count: int = 4) -> list[Window]:
    """Windows of at most side × side pixels, count × count of them, evenly spread and each once."""
    rows = sorted({(2 * i + 1) * height // (2 * count) for i in range(count)})
    cols = sorted({(2 * i + 1) * width // (2 * count) for i in range(count)})
    return [Window(row, col, side, side).clip(height, width) for row in rows for col in cols]


def _describe(dataset: Dataset, path: str, name: str, alpha: int | None) -> SceneInfo:
    return SceneInfo(
        path=path,
        name=name,
        height=dataset.height,
        width=dataset.width,
        dtypes=tuple(dataset.dtypes),
        colors=tuple(_color(i, color, alpha) for i, color in enumerate(dataset.colorinterp, 1)),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(map(float, dataset.scales)),
        offsets=tuple(map(float, dataset.offsets)),
        mask=_mask_kind(dataset, alpha),
        crs=dataset.crs,
        transform=placing(dataset.transform),
        gcps=dataset.gcps if placing(dataset.transform).is_identity else ([], None),
        rpcs=dataset.rpcs,
    )


def _tagged(info: SceneInfo, tags: Sequence[BandTag]) -> SceneInfo:
    """A scene with what is said of its bands elsewhere, where its file says nothing."""
    told = tags_of(tags, len(info.colors))
    nodata = or_told(info.nodata, None, [tag.nodata for tag in told])
    scales, offsets = [tag.scale for tag in told], [tag.offset for tag in told]
    if any(scale != 1 for scale in info.scales) or any(offset != 0 for offset in info.offsets):
        scales, offsets = list(info.scales), list(info.offsets)
    return replace(
        info,
        descriptions=or_told(info.descriptions, "", [tag.name for tag in told]),
        nodata=nodata,
        scales=or_told(info.scales, 1.0, scales),
        offsets=or_told(info.offsets, 0.0, offsets),
        mask="nodata" if info.mask == "none" and any(value is not None for value in nodata) else info.mask,
    )


def _color(index: int, color: ColorInterp, alpha: int | None) -> str:
    if index == alpha:
        return ALPHA
    return "undefined" if color == ColorInterp.alpha else str(color.name)


def _mask_kind(dataset: Dataset, alpha: int | None) -> str:
    if alpha is not None:
        return "alpha"
    flags = dataset.mask_flags(1)
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        return "mask"
    return "nodata" if any(value is not None for value in dataset.nodatavals) else "none"
