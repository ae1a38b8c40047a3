"""Families of networks by the names of their architectures. Listing the names imports neither networks nor PyTorch.

A family is a `geoseg.models.families.body.Family`. Another package adds one by an entry point of the group
`geoseg.networks`, whose name is the value of `network.architecture` in a config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.core.errors import ModelError
from geoseg.core.registry import Registry
from geoseg.spec.arguments import ARCHITECTURES

if TYPE_CHECKING:
    from geoseg.models.families.body import Family

FAMILIES: Registry[Family] = Registry(
    "architecture",
    "geoseg.networks",
    dict.fromkeys(ARCHITECTURES, "geoseg.models.families.smp:FAMILY")
    | {"pointwise": "geoseg.models.families.pointwise:FAMILY"},
    ModelError,
)
