"""The layer of polygons of a class raster: the columns that every vector file of geoseg has, batch by batch.

In: regions on the pixel lattice, the raster's transform and coordinate system, names and colours of classes. Out: Arrow
batches with geometry as WKB. Knows no files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.core.compiler import compiled
from geoseg.core.errors import OutputError
from geoseg.core.queues import map_ahead
from geoseg.geo.crs import map_crs
from geoseg.geo.geodesy import GeodeticMeasure, geodetic_measure
from geoseg.geo.reproject import Projection, projection_of
from geoseg.raster.legend import Legend
from geoseg.raster.notices_tag import notices_tags
from geoseg.raster.reading.readers import processors
from geoseg.raster.rights import NO_RIGHTS, Rights
from geoseg.vector.columns import numbers, texts, wkb
from geoseg.vector.hilbert import hilbert_keys
from geoseg.vector.trace import Regions
from geoseg.vector.trace.regions import Offsets, take_pieces
from geoseg.vector.trace.rings import flatten
from geoseg.vector.trace.rows import union

__all__ = ["Legend", "PolygonLayer", "by_class", "by_touch"]

BATCH = 1 << 20
"""Vertices in a batch, about. Another number would change the last digit of a perimeter here and there: how NumPy sums
the last ring of a batch depends on how many values follow."""
MOST_AT_ONCE = 2
"""Most batches that are made at a time, which take some 50 bytes a vertex."""


@dataclass(frozen=True)
class PolygonLayer:
    """The polygons of a class raster with their attributes.

    - `class_id` int32, or int64 where values are larger; `class` text
    - `instance_id` int32: null where there is no instance; absent if instances are not numbered
    - `area_m2`, `perimeter_m` float: geodetic; null where the coordinate system gives no metres
    - `confidence` float 0..1: mean over the pixels; absent if the regions have none
    - `color` text: absent if no class has one
    - geometry with exteriors counter-clockwise
    """

    regions: Regions
    """The regions that the polygons outline; those of one feature stand together."""
    transform: Affine
    """Pixel corner (column, row) -> coordinates of `crs`."""
    crs: Any
    """Coordinate system of the raster, as rasterio or pyproj has it, or None."""
    legend: Legend = field(default_factory=Legend)
    """What class ids mean."""
    features: Offsets | None = None
    """Where each feature begins among the regions (F + 1,); None if each region is one."""
    target: CRS | None = None
    """Coordinate system of the geometry, if it is not `crs`."""
    notices: tuple[str, ...] = ()
    """Sentences on the class raster, for the metadata of files."""
    rights: Rights = NO_RIGHTS
    """Licence and credits of what made the class raster, for the metadata of files."""

    def __len__(self) -> int:
        return len(self._features) - 1

    @cached_property
    def _features(self) -> Offsets:
        return np.arange(len(self.regions) + 1) if self.features is None else self.features

    @property
    def geometry_type(self) -> str:
        """Polygon or MultiPolygon."""
        return "MultiPolygon" if self.features is not None or self._is_split else "Polygon"

    @property
    def output_crs(self) -> CRS | None:
        """The coordinate system of the geometry, without heights; None if there is none, or pyproj cannot read it."""
        return map_crs(self.crs) if self.target is None else map_crs(self.target)

    @cached_property
    def vertices(self) -> int:
        """Number of vertices of all polygons, with the one that closes each ring."""
        return len(self.regions.corners)

    @cached_property
    def largest(self) -> int:
        """Number of vertices of the largest feature."""
        return int(np.diff(self._begins).max(initial=0))

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        columns = [("class_id", self._id_type), ("class", pa.string()), ("area_m2", pa.float64())]
        columns += [("perimeter_m", pa.float64())]
        columns += [("instance_id", pa.int32())] if self.regions.instance_id is not None else []
        columns += [("confidence", pa.float64())] if self.regions.confidence is not None else []
        columns += [("color", pa.string())] if self.legend.colors else []
        geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
        return pa.schema([*(pa.field(*column) for column in columns), geometry])

    @property
    def about(self) -> tuple[str, ...]:
        """All sentences for people on the class raster."""
        return (*self.notices, self.rights.statement) if self.rights.statement else self.notices

    @property
    def metadata(self) -> dict[str, str]:
        """The same for programs, under the names of the tags of class rasters."""
        return notices_tags(self.notices) | self.rights.tags()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the features in batches of about BATCH vertices."""
        features = self._features

        def batch(piece: tuple[int, int]) -> pa.RecordBatch:
            return self._batch(self.regions, features[piece[0] : piece[1] + 1])

        return self._made(batch, _pieces(self._begins))

    def batches_along_curve(self) -> Iterator[pa.RecordBatch]:
        """Yield the features along a Hilbert curve, so that neighbours stand near each other, in batches like these."""
        order = np.argsort(self._hilbert_keys(), kind="stable")
        sizes, counts = np.diff(self._begins)[order], np.diff(self._features)[order]

        def batch(piece: tuple[int, int]) -> pa.RecordBatch:
            first, last = piece
            members = take_pieces(self._features, order[first:last])[0]
            features = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[first:last])])
            return self._batch(self.regions.take(members), features)

        return self._made(batch, _pieces(np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])))

    def _made(
        self, batch: Callable[[tuple[int, int]], pa.RecordBatch], pieces: Iterable[tuple[int, int]]
    ) -> Iterator[pa.RecordBatch]:
        """Make batches ahead, on several processors; what all of them need is found beforehand, once."""
        _ = self._measure, self._projection, self._id_type
        return map_ahead(batch, pieces, min(processors(), MOST_AT_ONCE))

    def _hilbert_keys(self) -> NDArray[np.int64]:
        """Position (F,) along a Hilbert curve of the middle of each feature's bounding box, in pixels."""
        if not len(self):
            return np.zeros(0, np.int64)
        corners, begins = self.regions.corners, self._begins[:-1]
        low, high = np.minimum.reduceat(corners, begins), np.maximum.reduceat(corners, begins)
        return hilbert_keys((low.astype(np.float64) + high) / 2)

    @cached_property
    def _begins(self) -> Offsets:
        """Where each feature begins among the vertices (F + 1,)."""
        return self.regions.ring_offsets[self.regions.region_offsets[self._features]]

    def check_ids(self, most: int, holder: str) -> None:
        """Refuse class ids whose amount is larger than a format holds.

        Raises:
            OutputError: if there is one; it names the format.
        """
        ids = self.regions.class_id
        largest = max(abs(int(ids.min(initial=0))), abs(int(ids.max(initial=0))))
        if largest > most:
            raise OutputError(
                f"{holder} holds class ids up to {most:,}, the raster has {largest:,}: write .gpkg instead"
            )

    @cached_property
    def _id_type(self) -> pa.DataType:
        """The type of class ids: int32 if all of them fit into it."""
        ids, limits = self.regions.class_id, np.iinfo(np.int32)
        fits = ids.dtype.itemsize < 4 or (ids.min(initial=0) >= limits.min and ids.max(initial=0) <= limits.max)
        return pa.int32() if fits else pa.int64()

    @cached_property
    def _measure(self) -> GeodeticMeasure | None:
        return geodetic_measure(self.crs, self._corners) if len(self.regions) else None

    @cached_property
    def _corners(self) -> NDArray[np.float64]:
        """Corners (4, 2) of the bounding box of all polygons, in coordinates of `crs`."""
        (left, right), (top, bottom) = ((axis.min(), axis.max()) for axis in self.regions.corners.T)
        return _moved(
            np.array([(left, top), (left, bottom), (right, bottom), (right, top)], np.float64), self.transform
        )

    @cached_property
    def _projection(self) -> Projection | None:
        if self.target is None or not len(self.regions):
            return None
        return projection_of(self.crs, self.target, self._corners)

    @property
    def _is_split(self) -> bool:
        """Whether polygons may be split at 180°, so that all become multipolygons."""
        return self._projection is not None and self._projection.crosses_180

    def _batch(self, regions: Regions, parts: Offsets) -> pa.RecordBatch:
        """The features that begin among some regions where `parts` says (F + 1,)."""
        rings = regions.region_offsets[parts[0] : parts[-1] + 1]
        vertices = regions.ring_offsets[rings[0] : rings[-1] + 1]
        offsets = vertices - vertices[0], rings - rings[0], parts - parts[0]
        xy = _moved(regions.corners[vertices[0] : vertices[-1]], self.transform)
        columns = self._attributes(regions, slice(int(parts[0]), int(parts[-1])), xy, offsets)
        if self._projection is not None:
            xy = self._projection.reproject(xy)
        is_reversed = self.transform.determinant > 0  # not mirrored, as north-up rasters are
        geometry = wkb(xy, offsets, is_multi=self.features is not None, is_reversed=is_reversed)
        if self._projection is not None and self._projection.crosses_180:
            geometry = pa.array(shapely.to_wkb(self._projection.split(shapely.from_wkb(geometry.to_numpy(False)))))
        return pa.RecordBatch.from_arrays([*columns, geometry], schema=self.schema)

    def _attributes(
        self, regions: Regions, chosen: slice, xy: NDArray[np.float64], offsets: tuple[Offsets, Offsets, Offsets]
    ) -> list[pa.Array]:
        """Columns of a batch but for the geometry.

        Args:
            regions: the regions, of which those of the batch are `chosen`.
            chosen: which.
            xy: the vertices of the batch, in coordinates of `crs`.
            offsets: where its rings begin among the vertices, its parts among the rings, its features among the parts.
        """
        rings, parts, features = offsets
        class_id = regions.class_id[chosen][features[:-1]]
        empty = np.full(len(class_id), np.nan)
        measured = [empty, empty]
        if self._measure is not None:
            in_feature = parts[features]
            measured = [find(xy, rings, in_feature) for find in (self._measure.areas, self._measure.perimeters)]
        columns = [numbers(class_id, self._id_type), texts(class_id, self.legend.name)]
        columns += [numbers(values, pa.float64(), np.isnan(values)) for values in measured]
        if regions.instance_id is not None:
            number = regions.instance_id[chosen][features[:-1]]
            columns.append(numbers(number, pa.int32(), number == 0))
        if regions.confidence is not None:
            pixels = regions.pixels[chosen]
            weighted = np.add.reduceat(regions.confidence[chosen] * pixels, features[:-1])
            mean = weighted / np.add.reduceat(pixels, features[:-1]) / 100  # rasters hold percent
            columns.append(numbers(mean, pa.float64()))
        if self.legend.colors:
            columns.append(texts(class_id, self.legend.colors.get))
        return columns


def by_class(regions: Regions) -> tuple[Regions, Offsets]:
    """Regions ordered by class, and where each class begins among them (F + 1,): one feature per class."""
    return _grouped(regions, regions.class_id.astype(np.int64))


def by_touch(regions: Regions) -> tuple[Regions, Offsets]:
    """Regions ordered so that 8-connected ones of a class stand together, and where each group begins (F + 1,)."""
    group = np.arange(len(regions), dtype=np.int32)
    _unite_pairs(group, regions.touching)
    flatten(group)
    return _grouped(regions, group.astype(np.int64))


def _grouped(regions: Regions, group: NDArray[np.int64]) -> tuple[Regions, Offsets]:
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    return regions.take(order), np.append(begins, len(group))


def _pieces(begins: Offsets) -> Iterator[tuple[int, int]]:
    """First and last feature (excluded) of batches of about BATCH vertices, given where features begin (F + 1,)."""
    edges = np.unique([*np.searchsorted(begins, np.arange(0, begins[-1], BATCH)), len(begins) - 1])
    yield from itertools.pairwise(edges.tolist())


@compiled
def _unite_pairs(group: NDArray[np.int32], pairs: NDArray[np.int64]) -> None:
    for one, other in pairs:
        union(group, one, other)


def _moved(corners: NDArray[Any], transform: Affine) -> NDArray[np.float64]:
    """CRS coordinates (V, 2) of lattice coordinates (V, 2).

    Element by element, so that a node gets the same value in each ring that passes it: a matrix product rounds
    differently from place to place and would open gaps.
    """
    xy = np.empty(corners.shape)
    _move(corners, tuple(float(term) for term in transform[:6]), xy)
    return xy


@compiled
def _move(corners: NDArray[Any], terms: tuple[float, ...], xy: NDArray[np.float64]) -> None:
    a, b, c, d, e, f = terms
    for k in range(len(corners)):
        column, row = float(corners[k, 0]), float(corners[k, 1])
        xy[k, 0] = a * column + b * row + c
        xy[k, 1] = d * column + e * row + f
