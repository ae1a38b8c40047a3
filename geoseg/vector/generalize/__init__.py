"""Class rasters made coarser as maps are: small regions go to a neighbour, holes are filled, specks are voted away.

In: strips of class ids from top to bottom. Out: the same strips with other ids. What is merged is decided on a graph of
regions, which a first pass over the strips builds; a second pass writes the new ids. So memory depends on the number of
regions, not of pixels. Knows neither files nor polygons.
"""
