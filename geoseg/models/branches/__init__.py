"""Branches by the kind of a `BranchSpec`: what a network has besides the body that classifies windows alone.

A new branch is a file here with a `geoseg.models.branches.branch.Branch`, and a line in `BRANCHES` below, or an entry
point of another package in the group `geoseg.branches`. It is part of a way to see more than a window, whose other
parts `docs/extending.md` lists. Listing the names imports neither networks nor PyTorch.
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
