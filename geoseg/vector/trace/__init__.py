"""Class raster in, polygons out: regions of one class traced along the pixel lattice, a strip at a time.

What goes in: strips of codes (class ids, or numbers that stand for other values) from the top of the scene to its
bottom; a confidence per pixel if there is one.
What comes out: one polygon per 4-connected region of equal class id, in lattice coordinates (x = column, y = row).
What this module does not know: files, coordinate systems, class names.

The polygons form a **coverage**: a border is the same list of vertices in both regions that share it. That needs a
vertex wherever a border turns *and* wherever three regions meet, even on an edge that runs straight on (GDAL leaves
those out). Whether a lattice node is such a vertex can be seen from the four pixels around it alone::

        nw │ ne        no vertex   nw == ne and sw == se   a border runs through from west to east, or none at all
      ─────┼─────                  nw == sw and ne == se   a border runs through from north to south
        sw │ se        a vertex    anything else

because neighbours of equal class are one region, whatever the labels turn out to be further down. At a vertex each
region gets one *corner*, and corners are linked into rings as the rows go by: a row meets every border edge with one
end known, so what is carried from row to row is one row of runs and two corners per column. Edges run with their
region on the left as seen on the screen (counter-clockwise with y pointing down).

Where a class touches itself across a corner (a *saddle*), the two corners are linked apart first, each round its own
pixel. If both turn out to be one region, the pair exchange their successors: the ring that would touch itself falls
apart into two simple rings, and the polygon is valid.

Strips are traced by themselves, on all processors, and joined in their order: the lattice row between two of them is
visited then, with the runs on both sides of it. Corners and regions get the numbers that they would get if one strip
were traced after the other, so that what comes out does not depend on how many there are, or on who traced them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from geoseg.core.queues import map_ahead
from geoseg.raster.reading.readers import MOST, processors
from geoseg.raster.strips import Strip, peeked
from geoseg.vector.trace.regions import Regions
from geoseg.vector.trace.rings import finish
from geoseg.vector.trace.seams import TracedStrip, join_strip
from geoseg.vector.trace.state import make_room, most_per_row, new_front, new_tables

__all__ = ["Regions", "Tracer", "trace"]


def trace(strips: Iterable[Strip], width: int, nodata: int = 255) -> Regions:
    """Trace the regions of a class raster that comes in strips, top to bottom; `nodata` belongs to no region.

    Raises:
        SceneError: The raster has more vertices or regions than can be numbered.
    """
    dtype, strips = peeked(strips)
    tracer = Tracer(width, nodata, dtype)
    threads = min(processors(), MOST)
    for strip in map_ahead(tracer.traced, strips, threads):
        tracer.join(strip)
    return tracer.take(threads)


class Tracer:
    """Feed strips, take regions.

    Holds one row of runs, two corners per column, 16 bytes per corner and up to 24 per (provisional) region. Never a
    pixel.
    """

    def __init__(self, width: int, nodata: int = 255, dtype: DTypeLike = np.uint8) -> None:
        self._width, self._dtype = width, np.dtype(dtype)
        self._nodata: Any = self._dtype.type(nodata)
        self._row = 0
        self._weighed = False
        self._front = new_front(width, nodata, dtype)
        self._tables = new_tables(dtype)
        self._spare: list[TracedStrip] = []

    def feed(self, strip: Strip) -> None:
        """Take in the rows that follow those before.

        Raises:
            ValueError: They don't, or are not as wide as the scene.
        """
        self.join(self.traced(strip))

    def traced(self, strip: Strip) -> TracedStrip:
        """Trace a strip by itself; threads may do so at the same time, in any order.

        Raises:
            ValueError: It is not as wide as the scene.
        """
        if (width := strip.ids.shape[1]) != self._width:
            raise ValueError(f"expected {self._width} px wide strips; got one {width} px wide")
        weights = np.empty((0, 0), np.uint8) if strip.confidence is None else strip.confidence
        ids = np.require(strip.ids, self._dtype, ["C", "W"])
        try:
            traced = self._spare.pop()
        except IndexError:  # no other thread has finished one
            traced = TracedStrip.new(self._width, int(self._nodata), self._dtype)
        traced.is_weighed = strip.confidence is not None
        traced.trace(strip.row, ids, np.require(weights, np.uint8, ["C", "W"]), self._nodata)
        return traced

    def join(self, strip: TracedStrip) -> None:
        """Take in a strip that was traced by itself: the one that follows those before.

        Raises:
            ValueError: It does not follow them.
        """
        if strip.row != self._row:
            raise ValueError(f"expected row {self._row}; got row {strip.row}")
        self._weighed |= strip.is_weighed
        make_room(self._tables, strip.tables.used + most_per_row(self._width))
        join_strip(strip.tables, strip.front, (strip.row, strip.rows), self._nodata, self._front, self._tables)
        self._row += strip.rows
        strip.empty()
        self._spare.append(strip)

    def take(self, threads: int = 1) -> Regions:
        """Close the scene and return its regions, whose rings some threads write. The tracer is spent afterwards."""
        self.feed(Strip(self._row, np.full((1, self._width), self._nodata, self._dtype)))
        self._spare.clear()
        return finish(self._tables, self._weighed, threads)
