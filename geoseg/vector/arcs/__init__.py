"""Borders of traced regions as arcs, each stored once, so that a change to an arc applies to the regions on both sides.

In: regions on the pixel lattice. Out: the same regions with fewer or rounder vertices, still a coverage. Knows neither
files nor coordinate systems; lengths and areas are in pixels.

Rings are cut where three regions meet (nodata counts as one), the *nodes*, which stay where they are. Between two
nodes runs an *arc*, which the region on its left passes forwards and the one on its right backwards. No change lets an
arc touch another one or itself: a vertex is removed, or a corner cut, only if the triangle between the old and the new
line holds no vertex of any arc. An arc that entered the triangle would have to leave it through the side by which it
came, since it crosses no other arc, and so would have a vertex in it.
"""

from __future__ import annotations

from geoseg.vector.arcs.cut import Arcs, cut, join
from geoseg.vector.arcs.simplify import simplify
from geoseg.vector.arcs.smooth import smooth

__all__ = ["Arcs", "cut", "join", "simplify", "smooth"]
