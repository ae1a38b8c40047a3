"""Borders of traced regions as arcs, each stored once: what is done to one is done to both of its sides.

In: regions on the pixel lattice. Out: the same regions with fewer or rounder vertices, still a coverage. Knows neither
files nor coordinate systems; lengths and areas are in pixels.

Rings are cut where three regions meet (nodata counts as one), the *nodes*, which stay where they are. Between two
nodes runs an *arc*, which the region on its left passes forwards and the one on its right backwards. Nothing that is
done here lets an arc touch another one or itself: a vertex is only taken away, or a corner cut, if the triangle that
this wipes out holds no vertex of any arc. An arc that entered the triangle would have to leave it through the side by
which it came, since it crosses no other arc, and so would have a vertex in it.
"""

from __future__ import annotations

from geoseg.vector.arcs.cut import Arcs, cut, join
from geoseg.vector.arcs.simplify import simplify
from geoseg.vector.arcs.smooth import smooth

__all__ = ["Arcs", "cut", "join", "simplify", "smooth"]
