"""Models as files of other tools, by the suffix of the file; a folder is smp's. Writes no files.

A new kind of export is a file here with an `Export`, and a line in `EXPORTS` below; its name is the suffix, e.g.
`.onnx`. One of another package is an entry point of the group `geoseg.exports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.core.errors import OutputError
from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from geoseg.models.model import Model

FOLDER = "folder"
"""Name of the export that is a folder, and has no suffix."""


@dataclass(frozen=True)
class ExportOptions:
    """What a user may choose."""

    size: int | None = None
    """Fixed height and width of the images in pixels; None leaves both free."""
    geoai: bool = False
    """Whether geoai's side file is made, too."""


@dataclass(frozen=True)
class Exported:
    """A model in another form."""

    files: Mapping[str, bytes]
    """Files by their names; the first is the model."""
    notices: tuple[str, ...] = ()
    """What was left out or is to be known, one sentence each."""


class Export(Protocol):
    """Writes models for another tool."""

    title: str
    """What it is, in a few words."""
    options: frozenset[str]
    """Names of the options that it heeds."""

    def make(self, model: Model, path: Path, options: ExportOptions) -> Exported:
        """The files of a model that is to lie at a path; of a folder, those in it.

        Licence and credits on the model's card are among them. A model that sees the surroundings of windows is
        exported without that branch where the form has no place for it; a notice says so.

        Raises:
            ModelError: if the model has no such form.
        """
        ...


EXPORTS: Registry[Export] = Registry(
    "kind of export",
    "geoseg.exports",
    {
        ".onnx": "geoseg.outputs.exports.onnx:EXPORT",
        ".pt2": "geoseg.outputs.exports.pt2:EXPORT",
        ".json": "geoseg.outputs.exports.stac:EXPORT",
        FOLDER: "geoseg.outputs.exports.smp:EXPORT",
    },
    OutputError,
)


def kind_of(path: Path) -> str:
    """Name of the export that a path asks for, by its suffix; a folder if it has none, or is one with dots in its name.

    Raises:
        OutputError: if no export has that suffix.
    """
    suffix = path.suffix.lower()
    if not suffix or (path.is_dir() and suffix not in EXPORTS):
        return FOLDER
    if suffix not in EXPORTS:
        known = ", ".join(name for name in EXPORTS if name != FOLDER)
        raise OutputError(f"{path}: there is no export to {suffix}: take one of {known}, or a folder")
    return suffix
