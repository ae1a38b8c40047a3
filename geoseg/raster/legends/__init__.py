"""Legend sources: where the names and colours of a class raster's values stand, in it or beside it.

A new source is a file here with a `LegendSource`, and a line in `LEGENDS` below; one of another package is an entry
point of the group `geoseg.legends`. All are loaded when a class raster is opened.

In: an open class raster, or a legend file. Out: a Legend. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.raster.legend import Legend
from geoseg.raster.legends.place import LegendPlace, UnreadableLegend, open_place

__all__ = ["LEGENDS", "LegendPlace", "LegendReading", "LegendSource", "UnreadableLegend", "read_legend", "with_file"]


class LegendSource(Protocol):
    """A place in which the names and colours of a class raster's values may stand."""

    names_all: bool
    """Whether a legend found there names every class that may occur, as geoseg's own does, and needs no other."""
    suffixes: tuple[str, ...]
    """Endings of the files that it reads alone, in lower case; none where the legend stands in rasters only."""

    def find(self, place: LegendPlace) -> Legend:
        """The legend in or beside a raster; an empty one if there is none.

        Raises:
            UnreadableLegend: if there is one that cannot be read.
        """
        ...

    def read(self, path: Path) -> Legend:
        """The legend of a file: of the source's own kind, or of the raster in which it stands.

        Raises:
            UnreadableLegend: if it cannot be read.
        """
        ...

    def example(self, raster: Path, legend: Legend) -> Path:
        """Put a legend where `find` finds it, for tests: in or beside a raster (GeoTIFF); return a path for `read`."""
        ...


LEGENDS: Registry[LegendSource] = Registry(
    "legend source",
    "geoseg.legends",
    {
        "tags": "geoseg.raster.legends.tags:TAGS",
        "attribute_table": "geoseg.raster.legends.attribute_table:ATTRIBUTE_TABLE",
        "categories": "geoseg.raster.legends.categories:CATEGORIES",
        "flags": "geoseg.raster.legends.flags:FLAGS",
        "vat": "geoseg.raster.legends.vat:VAT",
        "qml": "geoseg.raster.legends.qml:QML",
        "sld": "geoseg.raster.legends.sld:SLD",
        "clr": "geoseg.raster.legends.clr:CLR",
        "csv": "geoseg.raster.legends.csv_table:CSV_TABLE",
        "color_table": "geoseg.raster.legends.color_table:COLOR_TABLE",
    },
)
"""Every legend source by name. Of several legends of one raster, the first one that names a value names it, and the
first one that colours it colours it; those of other packages come last."""


@dataclass(frozen=True)
class LegendReading:
    """The legend of a class raster, from all sources together."""

    legend: Legend
    """Names and colours."""
    is_complete: bool
    """Whether every class that may occur has a name."""
    notices: tuple[str, ...]
    """A sentence for each legend that cannot be read."""


def read_legend(raster: Any) -> LegendReading:
    """Read the legend of an open class raster; a source that cannot be read is left out, with a notice."""
    place, legend, notices = LegendPlace(raster), Legend(), []
    for source in map(LEGENDS.get, LEGENDS):
        try:
            found = source.find(place)
        except UnreadableLegend as error:
            notices.append(f"{error}: classes go by their numbers, unless another legend names them")
            continue
        legend = legend.completed_by(found)
        if source.names_all and found.names:
            return LegendReading(legend, True, tuple(notices))
    return LegendReading(legend, False, tuple(notices))


def with_file(reading: LegendReading, path: Path | None) -> LegendReading:
    """A legend with the names and colours of a legend file, or of another class raster, before all others.

    Raises:
        SpecError: if the file cannot be read, or holds neither names nor colours.
    """
    if path is None:
        return reading
    try:
        legend = _read_file(path)
    except UnreadableLegend as error:
        raise SpecError(f"legend: {error}: give {_kinds(LEGENDS)}, or a class raster with a legend") from None
    if not legend.names and not legend.colors:
        raise SpecError(f"legend: {path} names and colours no value: give {_kinds(LEGENDS)}, or a raster with a legend")
    return LegendReading(legend.completed_by(reading.legend), False, reading.notices)


def _read_file(path: Path) -> Legend:
    for source in map(LEGENDS.get, LEGENDS):
        if path.name.lower().endswith(source.suffixes):
            return source.read(path)
    with open_place(path) as place:
        return read_legend(place.raster).legend


def _kinds(names: Iterable[str]) -> str:
    suffixes = [suffix for name in names for suffix in LEGENDS.get(name).suffixes]
    return f"a file that ends in {', '.join(dict.fromkeys(suffixes))}"
