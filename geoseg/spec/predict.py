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
    """What decides the class of a pixel."""
    vector: VectorSpec = VectorSpec()
    """How the class raster is generalised, and how its polygons are made."""
    output: OutputSpec = OutputSpec()
    """What is written."""
    run: RunSpec = RunSpec()
    """On what it runs."""
