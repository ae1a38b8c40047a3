"""Branches of networks: what a network has besides the one that sees its windows, by the kind of its `BranchSpec`.

A branch is a `geoseg.models.branches.branch.Branch`. To know the names loads no network, nor PyTorch. Another package
adds one by an entry point of the group `geoseg.branches`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.core.errors import ModelError
from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from geoseg.models.branches.branch import Branch

BRANCHES: Registry[Branch] = Registry(
    "branch of a network",
    "geoseg.branches",
    {
        "plain": "geoseg.models.branches.plain:BRANCH",
        "context": "geoseg.models.branches.context:BRANCH",
        "refine": "geoseg.models.branches.refine:BRANCH",
    },
    ModelError,
)
