"""Map generalisation of class rasters: majority filter, filling of holes, merging of regions below a minimum area.

In: strips of class ids from top to bottom. Out: the same strips with other ids. A first pass over the strips builds a
graph of regions, on which merging is decided; a second pass writes the new ids. So memory depends on the number of
regions, not of pixels. Knows neither files nor polygons.
"""
