"""Measures of uncertainty: how unsure a model is of the class of a pixel, 0 to 1.

A new measure is a file here, and a line in `UNCERTAINTIES` below; one of another package is an entry point of the group
`geoseg.uncertainties`.
"""

from __future__ import annotations

from geoseg.core.registry import Registry
from geoseg.inference.uncertainties.uncertainty import Uncertainty

UNCERTAINTIES: Registry[Uncertainty] = Registry(
    "measure of uncertainty",
    "geoseg.uncertainties",
    {
        "entropy": "geoseg.inference.uncertainties.entropy:ENTROPY",
        "margin": "geoseg.inference.uncertainties.margin:MARGIN",
        "disagreement": "geoseg.inference.uncertainties.disagreement:DISAGREEMENT",
    },
)
"""Every measure by name."""
