"""Codes of instances: in strips that are traced, each instance is a class of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from geoseg.raster.strips import Strip
from geoseg.vector.instances.numbering import Instances, Strips
from geoseg.vector.trace import Regions


@dataclass(frozen=True)
class InstanceCodes:
    """Codes of the classes of a raster, followed by those of its instances."""

    instances: Instances
    """The instances."""
    above: int
    """A number above all codes of classes, to which the numbers of instances are added."""

    def mark(self, strips: Strips) -> Iterator[Strip]:
        """Yield the strips with the code of the instance where there is one."""
        for strip in strips():
            number = self.instances.ids[strip.row : strip.stop].astype(np.int32)
            yield replace(strip, ids=np.where(number > 0, number + np.int32(self.above), strip.ids.astype(np.int32)))

    def part(self, regions: Regions) -> Regions:
        """Part the codes of regions into those of classes and numbers of instances."""
        number = np.maximum(regions.class_id - np.int64(self.above), 0)
        code = np.where(number > 0, self.instances.code[number], regions.class_id)
        return replace(regions, class_id=code, instance_id=number)
