"""Which bands are visible light. In: names. Out: their indexes."""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.raster.bands.names import agreed_roles

VISIBLE = {"red", "green", "blue"}


def visible_bands(names: Sequence[str]) -> tuple[int, ...] | None:
    """Indexes of the bands of visible light; None where no name says what a band is."""
    roles = agreed_roles(names)
    if not any(role is not None for role in roles):
        return None
    return tuple(index for index, role in enumerate(roles) if role in VISIBLE)
