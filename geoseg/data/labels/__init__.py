"""Label formats: rasters of class ids, rasters and pictures coded by colour, polygons.

A new label format is a file here, and a line in `LABEL_FORMATS` below, before the format that takes every file; one of
another package is an entry point of the group `geoseg.labels`. All are loaded when labels are opened.

In: a file, the grid
of its image, the classes, and which value of the file stands for which class. Out: class indexes, window by window
(h, w), uint8, IGNORE where nothing is labelled. Knows no tensors and no scenes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.core.errors import LabelError
from geoseg.core.registry import Registry
from geoseg.data.labels.borders import WithoutBorders
from geoseg.data.labels.corrections import CorrectedLabels, corrections_on
from geoseg.data.labels.opened import Indexes, Labels
from geoseg.data.labels.rules import LabelRules
from geoseg.data.labels.source import LabelSource
from geoseg.data.labels.uniform import UniformLabels

if TYPE_CHECKING:
    from geoseg.data.labels.example import Example, Shown

__all__ = [
    "LABEL_FORMATS", "Indexes", "LabelFormat", "LabelRules", "LabelSource", "Labels", "label_format", "open_labels",
    "unmarked_labels",
]  # fmt: skip


class LabelFormat(Protocol):
    """A file format for the classes of an image's pixels.

    Labels of another place are refused. A format whose files do not say where they lie must at least compare their size
    with the image's; its example says so by `is_georeferenced`.
    """

    is_vector: bool
    """Whether its files hold vector features, with columns and layers; else they are rasters on the image's grid."""

    def matches(self, source: LabelSource) -> bool:
        """Whether a file is taken for one of this format: by its extension, the header of a raster, or the rules.

        Raises:
            LabelError: if it cannot be read.
        """
        ...

    def open(self, source: LabelSource) -> Labels:
        """Open the labels on the grid of their image.

        Raises:
            LabelError: if the file cannot be read, does not lie on the image, or is not coded as the rules say.
            SpecError: if the rules make no sense.
        """
        ...

    def example(self, folder: Path, shown: Shown) -> Example:
        """Write an example of this format for tests and first trials; return its path, and the rules to read it by.

        The file is called `labels`, with an extension of the format.
        """
        ...


LABEL_FORMATS: Registry[LabelFormat] = Registry(
    "label format",
    "geoseg.labels",
    {
        "places": "geoseg.data.labels.places:PLACES_FILES",
        "polygons": "geoseg.data.labels.polygons:POLYGONS",
        "colours": "geoseg.data.labels.colours:COLOURS",
        "palette": "geoseg.data.labels.colours:PALETTE",
        "class_ids": "geoseg.data.labels.class_ids:CLASS_IDS",
    },
    LabelError,
)
"""Every label format by name, geoseg's own in the order in which they are tried; the last one takes every file that no
other takes."""


def label_format(source: LabelSource) -> LabelFormat:
    """The first format that matches a file; formats of other packages are tried before geoseg's own.

    Raises:
        LabelError: if the file cannot be read.
    """
    others_first = sorted(LABEL_FORMATS, key=LABEL_FORMATS.own.__contains__)
    return next(found for name in others_first if (found := LABEL_FORMATS.get(name)).matches(source))


def open_labels(source: LabelSource) -> Labels:
    """Open labels on the grid of their image, in the format that matches the file, with the corrections of the rules.

    Raises:
        LabelError: if a file cannot be read, or does not lie on the image.
        SpecError: if the rules name a class that is not among the classes.
    """
    corrections = corrections_on(source)
    everywhere = source.rules.everywhere
    labels = label_format(source).open(source) if everywhere is None else UniformLabels(everywhere)
    if source.rules.border_px:
        labels = WithoutBorders(labels, source.grid, source.rules.border_px)
    return CorrectedLabels(labels, corrections) if corrections else labels


def unmarked_labels(pixels: int) -> str:
    """The notice for a number of pixels that `Labels.unmarked_px` counts."""
    return (
        f"{pixels:,} px of the value 255 count as not labelled, though the file does not say that 255 is nodata: name "
        "255 in data.label_values of a config if it is a class, else say so with gdal_edit.py -a_nodata 255"
    )
