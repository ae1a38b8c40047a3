"""Settings of training configs that are written for images and labels as they come."""

from __future__ import annotations

from geoseg.spec.base import FilePath, Spec


class InitSpec(Spec):
    """What a written config says, where the files leave it open."""

    column: str | None = None
    """Column of the polygons with the class; None means what looks like one."""
    layer: str | None = None
    """Layer of the vector file; needed if there are several."""
    init_from: FilePath | None = None
    """Model from which training goes on, a bundle or a run's folder, or default: the config has its network and its
    bands, and low learning rates."""
