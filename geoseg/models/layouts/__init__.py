"""File layouts of other tools' models, by name: what they say of a model, and where its weights are.

A new layout is a file here with a `Layout`, and a line in `LAYOUTS` below; one of another package is an entry point of
the group `geoseg.layouts`.

In: files that are not trusted. Out: weights, and what the files say of them. No code in them is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.core.errors import ModelError
from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from geoseg.models.layouts.found import Example, Found
    from geoseg.models.layouts.source import Source


class Layout(Protocol):
    """Reads the models of one tool."""

    title: str
    """The tool and its way of saving, e.g. "checkpoint of TorchGeo"."""

    def recognises(self, source: Source) -> bool:
        """Whether a source is of this layout, by what is in it: names of files and weights, never the name alone.

        Raises:
            ModelError: if a file of the source cannot be read.
        """
        ...

    def read(self, source: Source) -> Found:
        """The weights of a source of this layout, and what it says of them.

        Raises:
            ModelError: with the reason, if it holds what no network of geoseg can use.
        """
        ...

    def example(self, folder: Path) -> Example:
        """Write a small model in this layout, for tests."""
        ...


LAYOUTS: Registry[Layout] = Registry(
    "layout of models",
    "geoseg.layouts",
    {
        "raster_vision": "geoseg.models.layouts.raster_vision:RASTER_VISION",
        "dynamic_world": "geoseg.models.layouts.dynamic_world:DYNAMIC_WORLD",
        "flair_hub": "geoseg.models.layouts.flair_hub:FLAIR_HUB",
        "flair": "geoseg.models.layouts.flair:FLAIR",
        "torchgeo": "geoseg.models.layouts.torchgeo:TORCHGEO",
        "terratorch": "geoseg.models.layouts.terratorch:TERRATORCH",
        "geoai": "geoseg.models.layouts.geoai:GEOAI",
        "smp": "geoseg.models.layouts.smp:SMP",
        "state_dict": "geoseg.models.layouts.state_dict:STATE_DICT",
    },
    ModelError,
)
"""Every layout by name. Those of other packages are asked first, then geoseg's own in this order; the last takes any
weights."""


def layout_of(source: Source) -> tuple[str, Layout]:
    """The layout of a source, and its name.

    Raises:
        ModelError: if it is of none, or cannot be read.
    """
    for name in (*(name for name in LAYOUTS if name not in LAYOUTS.own), *LAYOUTS.own):
        if (layout := LAYOUTS.get(name)).recognises(source):
            return name, layout
    raise ModelError(
        f"{source.shown} holds no weights that geoseg knows how to read: give a folder or a file with a state dict, "
        "e.g. model.safetensors or model.pth"
    )
