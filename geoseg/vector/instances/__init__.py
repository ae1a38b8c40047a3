"""Instances: connected regions of chosen classes, each with a number of its own.

In: strips of codes from top to bottom, read as often as needed. Out: the number of the instance of each pixel, in a
file mapped into memory, so that memory depends on the number of regions and not of pixels. Numbers depend on the pixels
alone, not on the heights of the strips. Knows neither files of rasters nor polygons.
"""

from geoseg.vector.instances.codes import InstanceCodes
from geoseg.vector.instances.numbering import InstanceRules, Instances, numbered

__all__ = ["InstanceCodes", "InstanceRules", "Instances", "numbered"]
