"""Ways to adapt a network to a scene before it predicts it, without labels.

A new way is a file here, and a line in `ADAPTATIONS` below; one of another package is an entry point of the group
`geoseg.adaptations`.
"""

from __future__ import annotations

from geoseg.core.registry import Registry
from geoseg.inference.adaptations.adaptation import Adaptation

ADAPTATIONS: Registry[Adaptation] = Registry(
    "way to adapt a network",
    "geoseg.adaptations",
    {
        "bn": "geoseg.inference.adaptations.batch_norm:BATCH_NORM",
        "entropy": "geoseg.inference.adaptations.entropy:ENTROPY",
    },
)
"""Every way by name."""
