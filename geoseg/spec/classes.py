"""A land-cover class: its number, name and colour."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from geoseg.spec.base import NODATA_ID, Name, Spec

LARGEST_CODE = 2**63 - 1
"""Largest value of a class in label rasters."""


class ClassSpec(Spec):
    """One land-cover class."""

    id: int = Field(ge=0, lt=NODATA_ID)
    """Value in the class raster, 0 to 254."""
    name: Name
    """Name shown to people."""
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    """Colour as #rrggbb."""
    code: int | None = Field(default=None, ge=-LARGEST_CODE, le=LARGEST_CODE)
    """Value in label rasters, and of polygons, where it is another than the id, e.g. 311 of CORINE."""

    @property
    def label_value(self) -> int:
        """Value in label rasters."""
        return self.id if self.code is None else self.code

    @model_serializer(mode="wrap")
    def _without_empty_code(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = plain(self)
        return {name: value for name, value in values.items() if name != "code" or value is not None}
