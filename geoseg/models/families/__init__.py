"""Families of networks by the names of their architectures. To know the names loads no network, nor PyTorch.

A family is a `geoseg.models.families.body.Family`. Another package adds one by an entry point of the group
`geoseg.networks`, under the name that `network.architecture` of a config shall have.
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
