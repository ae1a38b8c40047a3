"""Views: what a network sees besides its windows while a scene is predicted, by the kind of its branch.

A new view is a file here with a `geoseg.inference.views.view.View`, and a line in `VIEWS` below, or an entry point of
another package in the group `geoseg.views`, under the name that its `BranchSpec.kind` has. It is part of a way to see
more than a window, whose other parts `docs/extending.md` lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from geoseg.inference.views.view import View, ViewInputs

VIEWS: Registry[Callable[[ViewInputs], View]] = Registry(
    "view",
    "geoseg.views",
    {
        "plain": "geoseg.inference.views.nothing:Nothing",
        "context": "geoseg.inference.views.context:ContextView",
        "refine": "geoseg.inference.views.refine:RefineView",
    },
)
