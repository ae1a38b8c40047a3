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

import geopandas
import numpy as np
import pyogrio
import rasterio
import shapely
from geopandas.array import GeometryDtype
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.features import rasterize
from rasterio.windows import Window as RasterioWindow
from shapely import GeometryType

from geoseg.crs import plane_difference
from geoseg.errors import LabelError, SpecError
from geoseg.files import one_line, quiet_georeferencing
from geoseg.georef import Box, PixelGrid, grid_of, grow, move_box
from geoseg.grid import Window
from geoseg.spec import IGNORE, NODATA_ID, ClassSpec

Ids = NDArray[np.integer[Any]]
Indexes = NDArray[np.uint8]

PARQUET_FILES = (".parquet", ".geoparquet")
"""Endings of files that geopandas reads itself: GDAL is rarely built with what they need."""
VECTOR_FILES = (
    ".gpkg", ".geojson", ".geojsonl", ".json", ".topojson", ".shp", ".shz", ".zip", ".fgb", ".kml", ".kmz", ".gml",
    ".gdb", ".sqlite", ".tab", ".mif", ".dxf", *PARQUET_FILES,
)  # fmt: skip
"""Endings of files that hold polygons; everything else is opened as a raster."""
LARGE = 1000
"""Polygons of more vertices are clipped to a window before they are burnt: GDAL's burning takes 2 µs per vertex."""
OTHER = "other"
"""Key of LabelRules.values that stands for all that the others don't name."""


@dataclass(frozen=True)
class LabelRules:
    """How a label file is to be understood."""

    values: tuple[tuple[int | str, int | str], ...] = ()
    """What stands in the file (number, #rrggbb, text, or `other`) -> id or name of a class, or `ignore`."""
    column: str | None = None
    """Column of the polygons that holds their class."""
    layer: str | None = None
    """Layer of the vector file."""

    @classmethod
    def of(cls, values: Mapping[int | str, int | str], column: str | None = None, layer: str | None = None) -> Self:
        """Rules from plain settings."""
        return cls(tuple((_plain_key(key), value) for key, value in values.items()), column, layer)

    @property
    def by_color(self) -> bool:
        """Whether classes are told by their colour."""
        return any(str(key).startswith("#") for key, _ in self.values)


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


def open_labels(
    path: Path, grid: PixelGrid, classes: Sequence[ClassSpec], rules: LabelRules = LabelRules(), *, image: Path
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
            self._is_masked = MaskFlags.per_dataset in self._dataset.mask_flag_enums[0]
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
            ids: Ids = self._dataset.read(list(bands), window=_to_rasterio(window))
        return ids

    def _read_mask(self, window: Window) -> Indexes:
        with _read_errors(self._path):
            mask: Indexes = self._dataset.read_masks(1, window=_to_rasterio(window))
        return mask


class PolygonLabels:
    """Polygons of a vector file; a pixel belongs to the last polygon of the file that holds its centre."""

    def __init__(self, path: Path, grid: PixelGrid, classes: Sequence[ClassSpec], rules: LabelRules, *, image: Path):
        if grid.crs is None:
            raise LabelError(
                f"{image} has no coordinate system, so the polygons of {path} have no place on it: give it one "
                "(gdal_edit -a_srs EPSG:...)"
            )
        self._grid = grid
        frame = _read_polygons(path, rules, grid, image)
        indexes = _polygon_classes(frame.iloc[:, 0].tolist(), classes, rules, path)
        self._shapes, owners = _parts_near(frame.geometry, grid)
        self._indexes = indexes[owners]
        self._are_large = shapely.get_num_coordinates(self._shapes) > LARGE
        self._tree = shapely.STRtree(self._shapes)
        if not len(self._within(Window(0, 0, grid.height, grid.width))):
            raise _off_image(path, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing stays open."""

    def read(self, window: Window) -> Indexes:
        """Class indexes (h, w) of a window."""
        found = self._within(window)
        shapes, large = self._shapes[found], self._are_large[found]
        shapes[large] = shapely.clip_by_rect(shapes[large], *self._grid.box(grow(window, 2)))
        burnt = np.full((window.height, window.width), IGNORE, np.uint8)
        pairs = [(shape, int(index)) for shape, index in zip(shapes, self._indexes[found], strict=True) if shape]
        if pairs:
            rasterize(pairs, out=burnt, transform=self._grid.part(window).transform)
        return burnt

    def _within(self, window: Window) -> NDArray[np.intp]:
        """Numbers of the polygons whose boxes meet that of a window, in the file's order."""
        return np.sort(self._tree.query(shapely.box(*self._grid.box(window))))


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
            f"{_class_list(self._classes)}: add it to `classes` or data.label_values, or set those pixels to 255 "
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
    resolved = _resolve(classes, rules)
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
        resolved = _resolve(classes, rules)
        index_of = {int(key): index for key, index in resolved.items() if re.fullmatch(r"-?[0-9]+", str(key))}
    else:
        resolved, index_of = {}, {c.id: index for index, c in enumerate(classes)}
    unlabelled = {NODATA_ID: IGNORE} if nodata is None else {NODATA_ID: IGNORE, nodata: IGNORE}
    return unlabelled | index_of, resolved.get(OTHER, _UNKNOWN)


def _resolve(classes: Sequence[ClassSpec], rules: LabelRules) -> dict[int | str, int]:
    """What stands in the file -> class index."""
    known: dict[int | str, int] = {"ignore": IGNORE}
    known |= {c.id: index for index, c in enumerate(classes)} | {c.name: index for index, c in enumerate(classes)}
    unknown = [value for _, value in rules.values if value not in known]
    if unknown:
        raise SpecError(
            f"data.label_values leads to {unknown[0]!r}, which is neither a class ({_class_list(classes)}) nor ignore"
        )
    return {key: known[value] for key, value in rules.values}


def _class_list(classes: Sequence[ClassSpec]) -> str:
    return ", ".join(f"{c.id} {c.name}" for c in classes)


def _plain_key(key: int | str) -> int | str:
    return key.lower() if isinstance(key, str) and key.startswith("#") else key


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


def _to_rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)


def _open_raster(path: Path) -> Any:
    try:
        with quiet_georeferencing():
            return rasterio.open(path)
    except (RasterioError, ValueError) as error:
        raise LabelError(f"cannot read labels {path}: {one_line(error)}") from None


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise LabelError(
            f"{path} cannot be read: {one_line(error.__cause__ or error)}: the file is damaged or incomplete"
        ) from None


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


# ---------------------------------------------------------------------------------------------------------- polygons


def _read_polygons(path: Path, rules: LabelRules, grid: PixelGrid, image: Path) -> geopandas.GeoDataFrame:
    """The class column and the geometry of the polygons near an image, in the file's order.

    Raises:
        LabelError: if the file cannot be read, its column or layer is unclear, or nothing in it is near.
    """
    read = _read_parquet if path.suffix.lower() in PARQUET_FILES else _read_layer
    try:
        frame, column = read(path, rules, grid)
    except (RuntimeError, OSError, ValueError) as error:  # of GDAL; of Python; of Arrow and geopandas
        raise LabelError(f"cannot read polygons {path}: {one_line(error)}") from None
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    if not len(frame):
        raise _off_image(path, image)
    other = sorted(set(frame.geom_type) - {"Polygon", "MultiPolygon"})
    if other:
        raise LabelError(f"{path} holds {' and '.join(other)}: labels are polygons: buffer points and lines")
    return frame[[column, frame.geometry.name]]


def _read_layer(path: Path, rules: LabelRules, grid: PixelGrid) -> tuple[geopandas.GeoDataFrame, str]:
    layer = _layer(path, rules)
    info = pyogrio.read_info(path, layer=layer)
    column = _class_column(path, [str(name) for name in info["fields"]], rules)
    box = _box_in(grid, _known(info["crs"], path), 0.01)
    # Spatial indexes give what they find in an order of their own.
    frame = geopandas.read_file(path, layer=layer, columns=[column], bbox=box, fid_as_index=True).sort_index()
    return frame, column


def _read_parquet(path: Path, rules: LabelRules, grid: PixelGrid) -> tuple[geopandas.GeoDataFrame, str]:
    frame = geopandas.read_parquet(path)
    plain = [str(name) for name in frame.columns if not isinstance(frame[name].dtype, GeometryDtype)]
    column = _class_column(path, [name for name in plain if name != "bbox"], rules)
    box = _box_in(grid, _known(frame.crs, path), 0.01)
    return frame if box is None else frame[frame.intersects(shapely.box(*box))], column


def _known(crs: Any, path: Path) -> Any:
    if not crs:
        raise LabelError(f"{path} does not say in which coordinate system it is: assign one (ogr2ogr -a_srs)")
    return crs


def _box_in(grid: PixelGrid, crs: Any, margin: float) -> Box | None:
    """Box of an image in another CRS, a share of its sides and a pixel wider; None where it has none there."""
    around = grow(Window(0, 0, grid.height, grid.width), 1 + int(margin * max(grid.height, grid.width)))
    try:
        return move_box(grid.box(around), grid.crs, CRS.from_user_input(crs))
    except CRSError:
        return None


def _parts_near(shapes: geopandas.GeoSeries, grid: PixelGrid) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """The polygons that polygons are made of, in the CRS of an image, and the number of the one each belongs to.

    What lies far off is cut away first: it may have no place in the CRS of the image.
    """
    valid = np.array(shapes.values)
    broken = ~shapely.is_valid(valid)
    valid[broken] = shapely.make_valid(valid[broken])
    box = _box_in(grid, shapes.crs, 1.0)
    near = valid if box is None else shapely.clip_by_rect(valid, *box)
    collections, owners = shapely.get_parts(near, return_index=True)
    parts, numbers = shapely.get_parts(collections, return_index=True)
    owners = owners[numbers]
    moved = np.asarray(geopandas.GeoSeries(parts, crs=shapes.crs).to_crs(grid.crs).values)
    kept = (shapely.get_type_id(moved) == GeometryType.POLYGON) & np.isfinite(shapely.bounds(moved)).all(axis=1)
    return moved[kept], owners[kept]


def _off_image(path: Path, image: Path) -> LabelError:
    return LabelError(
        f"no polygon of {path} lies on {image}: check the coordinate systems of both, or leave the image out"
    )


def _layer(path: Path, rules: LabelRules) -> str:
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if rules.layer in layers or (rules.layer is None and len(layers) == 1):
        return rules.layer or layers[0]
    wanted = f"no layer {rules.layer} with polygons, " if rules.layer else ""
    raise LabelError(
        f"{path} has {wanted}the layers {', '.join(layers) or 'none'}: name one with data.label_layer, or --layer"
    )


def _class_column(path: Path, columns: Sequence[str], rules: LabelRules) -> str:
    if rules.column in columns or (rules.column is None and len(columns) == 1):
        return rules.column or columns[0]
    wanted = f"no column {rules.column}, " if rules.column else ""
    raise LabelError(
        f"{path} has {wanted}the columns {', '.join(columns) or 'none'}: name the one with the class with "
        "data.label_column, or --column"
    )


def _polygon_classes(
    values: Sequence[Any], classes: Sequence[ClassSpec], rules: LabelRules, path: Path
) -> NDArray[np.uint8]:
    """Class index per polygon."""
    if rules.values:
        resolved = _resolve(classes, rules)
    else:
        resolved = {c.name: index for index, c in enumerate(classes)} | {c.id: index for index, c in enumerate(classes)}
    table = {"": IGNORE} | {str(key): index for key, index in resolved.items()}
    keys = [_text(value) for value in values]
    unknown = sorted({key for key in keys if key not in table}) if OTHER not in table else []
    if unknown:
        raise LabelError(
            f"{path}: class {', '.join(map(repr, unknown[:5]))} is unknown; the classes are {_class_list(classes)}: "
            "add it to `classes`, or say in data.label_values of a training config which class it is, or `ignore`"
        )
    return np.array([table.get(key, table.get(OTHER, IGNORE)) for key in keys], np.uint8)


def _text(value: Any) -> str:
    """A cell as text: nothing for an empty one; whole numbers without the .0 that vector formats give them."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
