"""The protocol of kinds of products, and their registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geoseg.core.errors import SceneError
from geoseg.core.registry import Registry
from geoseg.scenes.products.listing import Listing
from geoseg.scenes.reference import SceneRef


@dataclass(frozen=True)
class FoundProduct:
    """A product in a listing."""

    scene: SceneRef
    """Its scene; its `problem` is set if it cannot be opened."""
    metadata: str
    """Its metadata file, relative to the listing."""
    prefix: str
    """Text with which the names of all of its files begin, relative to the listing."""


class Product(Protocol):
    """A kind of product."""

    @property
    def metadata(self) -> re.Pattern[str]:
        """Pattern of the names of its metadata files, by which users may name a product, too."""
        ...

    def find(self, listing: Listing) -> list[FoundProduct]:
        """The products of this kind among the files of a folder or an archive; none if there is none.

        A scene's path is that of the listing, or of its metadata file if there are several; its parts are the files
        of its bands, each with a name such as "B04 red", scale, offset and nodata value.
        """
        ...

    def example(self, folder: Path) -> Path:
        """Write a small product of this kind with at least the bands red, green and blue; its path."""
        ...


PRODUCTS: Registry[Product] = Registry(
    "kind of product",
    "geoseg.products",
    {
        "sentinel2": "geoseg.scenes.products.sentinel2:SENTINEL2",
        "landsat": "geoseg.scenes.products.landsat:LANDSAT",
    },
    SceneError,
)
"""All kinds of products by name, in the order in which they are tried."""
