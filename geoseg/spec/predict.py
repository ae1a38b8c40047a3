"""Settings of prediction: classification, polygons, outputs, devices."""

from __future__ import annotations

from geoseg.spec.classify import ClassifySpec
from geoseg.spec.combined import CombinedSpec
from geoseg.spec.output import OutputSpec
from geoseg.spec.run import RunSpec
from geoseg.spec.vector import VectorSpec


class PredictSpec(CombinedSpec):
    """Settings of prediction."""

    classify: ClassifySpec = ClassifySpec()
    """Settings that decide the class of a pixel."""
    vector: VectorSpec = VectorSpec()
    """Generalisation of the class raster, and polygons."""
    output: OutputSpec = OutputSpec()
    """Outputs."""
    run: RunSpec = RunSpec()
    """Devices and batch size."""
