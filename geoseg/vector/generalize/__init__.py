"""Class rasters made coarser as maps are: small regions go to a neighbour, holes are filled, specks are voted away.

In: strips of class ids from top to bottom. Out: the same strips with other ids. What is merged is decided on a graph of
regions, which a first pass over the strips builds; a second pass writes the new ids. So memory depends on the number of
regions, not of pixels. Knows neither files nor polygons.
"""

from __future__ import annotations

from geoseg.vector.generalize.majority import majority_filter
from geoseg.vector.generalize.merge import MergeRules, plan_merge
from geoseg.vector.generalize.regions import RegionGraph, count_regions, relabel

__all__ = ["MergeRules", "RegionGraph", "count_regions", "majority_filter", "plan_merge", "relabel"]
