"""Names of fusions: how what a context branch sees is fused with what a window shows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.spec.base import Name

FUSIONS: Registry[Any] = Registry(
    "fusion",
    "geoseg.fusions",
    {
        "gated": "geoseg.models.fusions.gated:GatedFusion",
        "fctl": "geoseg.models.fusions.fctl:FctlFusion",
        "glnet": "geoseg.models.fusions.glnet:GlnetFusion",
        "sgnet": "geoseg.models.fusions.sgnet:SgnetFusion",
    },
)
"""Fusions by name; each is a subclass of `geoseg.models.fusions.fusion.Fusion`."""
DEFAULT_FUSION = "gated"


def _known(name: str) -> str:
    try:
        return FUSIONS.check(name)
    except SpecError as error:
        raise ValueError(f"{error} (one of another package needs that package: install it)") from None


FusionName = Annotated[Name, AfterValidator(_known)]
"""A name of `FUSIONS`."""
