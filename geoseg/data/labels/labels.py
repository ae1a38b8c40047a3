"""Labels as people have them: class ids, palette or colour pictures, polygons.

In: a file, the grid of its image, the classes, and what stands for them in the file. Out: the index of each pixel's
class, window by window, uint8, 255 where nothing is labelled. Knows no tensors and no scenes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError

from geoseg.core.errors import LabelError, SpecError
from geoseg.core.files import one_line
from geoseg.core.safe_paths import whole_url
from geoseg.data.labels.polygons import PolygonLabels
from geoseg.data.labels.rules import OTHER, LabelRules, class_list, resolve_rules
from geoseg.geo.crs import plane_difference
from geoseg.geo.georef import PixelGrid, grid_of
from geoseg.geo.grid import Window, strip_windows
from geoseg.geo.vector_files import PARQUET_FILES
from geoseg.raster.reading import open_dataset, to_rasterio, unreadable
from geoseg.spec import IGNORE, NODATA_ID, ClassSpec

__all__ = ["VECTOR_FILES", "Indexes", "LabelRules", "Labels", "RasterLabels", "open_labels", "unmarked_labels"]

Ids = NDArray[np.integer[Any]]
Indexes = NDArray[np.uint8]

VECTOR_FILES = (
    ".gpkg", ".geojson", ".geojsonl", ".json", ".topojson", ".shp", ".shz", ".zip", ".fgb", ".kml", ".kmz", ".gml",
    ".gdb", ".sqlite", ".tab", ".mif", ".dxf", *PARQUET_FILES,
)  # fmt: skip
"""Endings of files that hold polygons; everything else is opened as a raster."""


class Labels(Protocol):
    """Labels of one image, on its grid."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def read(self, window: Window) -> Indexes:
        """Class indexes (h, w) of a window inside the image; IGNORE where nothing is labelled.

        Raises:
            LabelError: if the file is damaged, or holds something that stands for no class.
        """
        ...

    def unmarked_px(self) -> int:
        """Count the pixels that are left out for their value 255 though neither the file nor the rules say so.

        Raises:
            LabelError: if the file is damaged.
        """
        ...


def unmarked_labels(pixels: int) -> str:
    """What a person should know of pixels that `Labels.unmarked_px` counts."""
    return (
        f"{pixels:,} px of the value 255 count as not labelled, though the file does not say that 255 is nodata: name "
        "255 in data.label_values of a config if it is a class, else say so with gdal_edit.py -a_nodata 255"
    )


def open_labels(
    path: Path,
    grid: PixelGrid,
    classes: Sequence[ClassSpec],
    rules: LabelRules = LabelRules(),  # noqa: B008 (it is frozen)
    *,
    image: Path,
) -> Labels:
    """Open a raster of labels, or polygons in any vector format and CRS.

    Args:
        path: the file; its ending tells polygons (`VECTOR_FILES`) from rasters.
        grid: the image's grid.
        classes: in the order of the logits.
        rules: what stands for them in the file.
        image: named when the grids differ.

    Raises:
        LabelError: if the file cannot be read, or does not lie on the image.
        SpecError: if the rules name a class that is not among the classes.
    """
    if path.suffix.lower() in VECTOR_FILES:
        return PolygonLabels(path, grid, classes, rules, image=image)
    return RasterLabels(path, grid, classes, rules, image=image)


class RasterLabels:
    """One band of class ids, with or without a palette, or a colour picture."""

    def __init__(self, path: Path, grid: PixelGrid, classes: Sequence[ClassSpec], rules: LabelRules, *, image: Path):
        self._path, self._classes, self._rules = path, tuple(classes), rules
        with ExitStack() as stack:
            self._dataset = stack.enter_context(_open_raster(path))
            _check_grid(grid_of(self._dataset), grid, path, image)
            with _read_errors(path):
                self._is_masked = MaskFlags.per_dataset in self._dataset.mask_flags(1)
            self._kind = self._find_kind()
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._dataset.close()

    def read(self, window: Window) -> Indexes:
        """Class indexes (h, w) of a window."""
        values = self._kind.values(self._read(self._kind.bands, window))
        indexes = self._kind.indexes(values)
        if self._is_masked:
            indexes[self._read_mask(window) == 0] = IGNORE
        unknown = indexes == _UNKNOWN
        if unknown.any():
            raise LabelError(f"{self._path}: {self._kind.complaint(values[unknown])}")
        return indexes

    def unmarked_px(self) -> int:
        """Count, in a pass of its own, what is left out for its value 255 without a word in the file or the rules."""
        if not isinstance(self._kind, _Ids) or not self._kind.leaves_out_255(self._rules, self._dataset.nodata):
            return 0
        whole = Window(0, 0, *self._dataset.shape)
        windows = strip_windows(whole, self._dataset.block_shapes[0][0])
        return sum(self._unmarked_in(window) for window in windows)

    def _unmarked_in(self, window: Window) -> int:
        found = self._read((1,), window)[0] == NODATA_ID
        if found.any() and self._is_masked:
            found &= self._read_mask(window) > 0
        return int(np.count_nonzero(found))

    def _find_kind(self) -> _Kind:
        """How the file says classes.

        Raises:
            LabelError: if it does not say them as the rules have it.
            SpecError: if the rules make no sense.
        """
        count, dtype, nodata = self._dataset.count, self._dataset.dtypes[0], _whole(self._dataset.nodata)
        is_picture = count in (3, 4) and dtype == "uint8"
        if self._rules.by_color:
            table = _color_table(self._classes, self._rules)
            return _Colors(table, nodata) if is_picture else _Palette(table, self._palette(count, dtype), nodata)
        if is_picture:
            corner = Window(0, 0, 1024, 1024).clip(self._dataset.height, self._dataset.width)
            colors = _colors_text(_pack(self._read(_RGB, corner)))
            raise LabelError(
                f"{self._path} has {count} bands: it seems to be coded by colour: say in data.label_values of a config "
                f"what its colours stand for, it has {colors}"
            )
        if count > 2 or (count == 2 and not self._is_masked) or not np.issubdtype(np.dtype(dtype), np.integer):
            raise LabelError(
                f"{self._path} has {count} band(s) of {dtype}: labels are one band of whole-number class ids, "
                "or colours named in data.label_values of a training config"
            )
        return _Ids(self._classes, *_id_table(self._classes, self._rules, nodata))

    def _palette(self, count: int, dtype: str) -> NDArray[np.uint32]:
        """Colours (256) of the palette as 0xrrggbb."""
        try:
            colors = self._dataset.colormap(1)
        except ValueError:
            raise LabelError(
                f"{self._path} has {count} band(s) of {dtype} and no palette, but data.label_values of a config names "
                "colours: give the numbers of its classes there instead"
            ) from None
        table = np.zeros(256, np.uint32)
        for index, (red, green, blue, *_) in colors.items():
            table[index] = red << 16 | green << 8 | blue
        return table

    def _read(self, bands: Sequence[int], window: Window) -> Ids:
        with _read_errors(self._path):
            ids: Ids = self._dataset.read(list(bands), window=to_rasterio(window))
        return ids

    def _read_mask(self, window: Window) -> Indexes:
        with _read_errors(self._path):
            mask: Indexes = self._dataset.read_masks(1, window=to_rasterio(window))
        return mask


_UNKNOWN = 254
"""Stands in tables for what is no class; there are 254 classes at most."""
_RGB = 1, 2, 3


class _Kind(Protocol):
    """How a raster says classes."""

    @property
    def bands(self) -> Sequence[int]:
        """What is read."""
        ...

    def values(self, bands: Ids) -> Ids:
        """What says the class of each pixel (h, w), from the bands (C, h, w)."""
        ...

    def indexes(self, values: Ids) -> Indexes:
        """Class indexes of values, _UNKNOWN where they are none."""
        ...

    def complaint(self, values: Ids) -> str:
        """What is wrong with unknown values, and what to do."""
        ...


class _Ids:
    """Class ids."""

    bands = (1,)

    def __init__(self, classes: Sequence[ClassSpec], index_of: Mapping[int, int], other: int):
        self._classes, self._index_of, self._other = classes, index_of, other

    def leaves_out_255(self, rules: LabelRules, nodata: float | None) -> bool:
        """Whether 255 is not labelled by custom alone."""
        is_named = any(str(key) == str(NODATA_ID) for key, _ in rules.values)
        return self._index_of[NODATA_ID] == IGNORE and nodata != NODATA_ID and not is_named

    def values(self, bands: Ids) -> Ids:
        """The ids themselves."""
        ids: Ids = bands[0]
        return ids

    def indexes(self, values: Ids) -> Indexes:
        """Look up every id that there may be once, then all pixels."""
        first, last = int(values.min()), int(values.max())
        if last - first < 2**16:
            keys, places = np.arange(first, last + 1), values.astype(np.int64) - first
        else:
            keys, places = np.unique(values, return_inverse=True)
        table = np.array([self._index_of.get(int(key), self._other) for key in keys], np.uint8)
        found: Indexes = table[places].reshape(values.shape)
        return found

    def complaint(self, values: Ids) -> str:
        """Name them."""
        return (
            f"class id {', '.join(map(str, np.unique(values)[:5]))} is unknown; the classes are "
            f"{class_list(self._classes)}: add it to `classes` or data.label_values, or set those pixels to 255 "
            "(not labelled)"
        )


class _Palette:
    """Numbers whose colours in a palette stand for classes."""

    bands = (1,)

    def __init__(self, table: _ColorTable, palette: NDArray[np.uint32], nodata: int | None):
        self._palette = palette
        of_color = {index: table.named.get(int(color), table.other) for index, color in enumerate(palette)}
        if nodata in of_color and int(palette[nodata]) not in table.named:
            of_color[nodata] = IGNORE
        self._table = np.array(list(of_color.values()), np.uint8)

    def values(self, bands: Ids) -> Ids:
        """The numbers."""
        ids: Ids = bands[0]
        return ids

    def indexes(self, values: Ids) -> Indexes:
        """Look the numbers up."""
        found: Indexes = self._table[values]
        return found

    def complaint(self, values: Ids) -> str:
        """Name their colours."""
        return _color_complaint(self._palette[values])


class _Colors:
    """Pictures whose colours stand for classes."""

    bands = _RGB

    def __init__(self, table: _ColorTable, nodata: int | None):
        named = table.named
        if nodata is not None and 0 <= nodata <= 255:
            named = {nodata * 0x010101: IGNORE} | named
        self._table = _all_colors(tuple(named.items()), table.other)

    def values(self, bands: Ids) -> Ids:
        """Colours as 0xrrggbb."""
        return _pack(bands)

    def indexes(self, values: Ids) -> Indexes:
        """Look the colours up."""
        found: Indexes = self._table[values]
        return found

    def complaint(self, values: Ids) -> str:
        """Name them."""
        return _color_complaint(values)


@dataclass(frozen=True)
class _ColorTable:
    """What colours stand for."""

    named: dict[int, int]
    """Colour as 0xrrggbb -> class index."""
    other: int
    """Index of all other colours."""


def _color_table(classes: Sequence[ClassSpec], rules: LabelRules) -> _ColorTable:
    resolved = resolve_rules(classes, rules)
    named = {_parse_color(key): index for key, index in resolved.items() if str(key).startswith("#")}
    return _ColorTable(named, resolved.get(OTHER, _UNKNOWN))


@lru_cache(maxsize=2)
def _all_colors(named: tuple[tuple[int, int], ...], other: int) -> Indexes:
    """Class indexes (2 ** 24) by colour."""
    table = np.full(2**24, other, np.uint8)
    for color, index in named:
        table[color] = index
    return table


def _id_table(classes: Sequence[ClassSpec], rules: LabelRules, nodata: int | None) -> tuple[dict[int, int], int]:
    """Class id -> index, and the index of all other ids; 255 and nodata are not labelled unless they are named."""
    if rules.values:
        resolved = resolve_rules(classes, rules)
        index_of = {int(key): index for key, index in resolved.items() if re.fullmatch(r"-?[0-9]+", str(key))}
    else:
        resolved = {}
        index_of = {c.id: index for index, c in enumerate(classes) if not c.id == nodata == NODATA_ID}
    unlabelled = {NODATA_ID: IGNORE} if nodata is None else {NODATA_ID: IGNORE, nodata: IGNORE}
    return unlabelled | index_of, resolved.get(OTHER, _UNKNOWN)


def _parse_color(key: int | str) -> int:
    if not re.fullmatch("#[0-9a-f]{6}", str(key)):
        raise SpecError(f"data.label_values names the colour {key!r}: write it as #rrggbb")
    return int(str(key)[1:], 16)


def _pack(bands: Ids) -> NDArray[np.uint32]:
    red, green, blue = bands.astype(np.uint32)
    packed: NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return packed


def _color_complaint(colors: Ids) -> str:
    return (
        f"the colours {_colors_text(colors)} stand for no class: add them to data.label_values, or the word `other`, "
        "with a class or `ignore`"
    )


def _colors_text(colors: Ids) -> str:
    """The most frequent colours, and how often they occur."""
    values, counts = np.unique(colors, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:6]
    return ", ".join(f"#{int(values[i]):06x} ({counts[i]:,} px)" for i in first)


def _whole(value: float | None) -> int | None:
    return int(value) if value is not None and float(value).is_integer() else None


def _open_raster(path: Path) -> Any:
    try:
        return open_dataset(path)
    except (RasterioError, ValueError, OSError) as error:
        raise LabelError(f"cannot read labels {path}: {one_line(error)}") from None


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise LabelError(unreadable(error, whole_url(path))) from None


def _check_grid(own: PixelGrid, grid: PixelGrid, path: Path, image: Path) -> None:
    """Labels must share their image's pixels, as far as both say where they lie."""
    same_size = (own.height, own.width) == (grid.height, grid.width)
    fits = own.overlays(grid) and None in (own.crs, grid.crs)
    if own.same_as(grid) or fits or (same_size and not (own.is_placed and grid.is_placed)):
        return
    if own.overlays(grid):
        raise LabelError(
            f"{path} is not on the grid of its image {image}: the numbers are the same, the coordinate system is not "
            f"({plane_difference(own.crs, grid.crs)}): if one is a mistake, correct it (gdal_edit -a_srs), else warp "
            "the labels onto the image's grid (gdalwarp -r near)"
        )
    raise LabelError(
        f"{path} is not on the grid of its image {image}: {own} against {grid}: "
        "warp the labels onto the image's grid (gdalwarp -r near)"
    )
