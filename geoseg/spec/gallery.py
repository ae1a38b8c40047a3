"""An entry of the gallery: a model of others that may be used for any purpose. In: plain values. Out: what is known."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

from pydantic import Field

from geoseg.spec.base import LARGEST_SIZE_M, MOST_BANDS, NODATA_ID, Name, Spec, Text
from geoseg.spec.imported import ImportSpec


class GalleryEntry(Spec):
    """A model of others, as its makers describe it."""

    title: Text
    """What it maps, where, and on what imagery."""
    source: Text
    """Its address, as `geoseg import` takes it, or that of its ONNX file."""
    beside: tuple[Text, ...] = ()
    """Addresses of files that an ONNX file needs in its folder, such as the one that says what it takes."""
    options: tuple[Text, ...] = ()
    """What `geoseg predict` is given with an ONNX file for the scenes that it knows."""
    bands: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_BANDS)]
    """Bands in the order in which the network takes them."""
    resolution: float = Field(gt=0, le=LARGEST_SIZE_M)
    """Ground resolution of its training images in metres per pixel."""
    classes: Annotated[tuple[Name, ...], Field(min_length=2, max_length=NODATA_ID)]
    """Names of the classes that it knows."""
    licence: Text = Field(min_length=1)
    """Licence of the weights."""
    licence_source: Text = Field(min_length=1)
    """Where that licence is said."""
    made_by: Text
    """Its makers."""
    give: ImportSpec = ImportSpec()
    """What its files leave open, given to `geoseg import`."""
    notes: tuple[Text, ...] = ()
    """What else is to be known, a line each."""

    def command(self, name: str) -> str:
        """The command line that makes a bundle of it, NAME.safetensors, or that downloads and runs an ONNX file."""
        if self.source.endswith(".onnx"):
            return f"{self._download()} && {self._run()}"
        words = ["geoseg", "import", self.source, "-o", f"{name}.safetensors"]
        for option, value in self.give.said.items():
            words += [f"--{option}", _word(value)]
        return shlex.join(words)

    def _download(self) -> str:
        return shlex.join(["curl", *(word for address in (self.source, *self.beside) for word in ("-LO", address))])

    def _run(self) -> str:
        return shlex.join(["geoseg", "predict", "scene.tif", "-m", self.source.rpartition("/")[2], *self.options])


def _word(value: Any) -> str:
    """A value as an option has it."""
    parts = value if isinstance(value, tuple) else (value,)
    return ",".join(f"{part:g}" if isinstance(part, int | float) else str(part) for part in parts)
