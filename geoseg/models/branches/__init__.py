"""Branches by the kind of a `BranchSpec`: what a network has besides the body that classifies windows alone.

A branch is a `geoseg.models.branches.branch.Branch`. Listing the names imports neither networks nor PyTorch. Another
package adds one by an entry point of the group `geoseg.branches`.
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
