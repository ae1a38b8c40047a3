"""Colour maps as text, of ArcGIS (.clr) and QGIS (.txt): value, red, green, blue, alpha, label."""

from __future__ import annotations

from pathlib import Path

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import BesideRaster
from geoseg.raster.legends.place import UnreadableLegend, class_name, hex_color, read_text, whole

REMARKS = "#", "//", "INTERPOLATION:"
"""Beginnings of lines without a value."""


class Clr(BesideRaster):
    """A line for each value."""

    suffixes = (".clr", ".txt")

    def read(self, path: Path) -> Legend:
        """The legend in a colour map.

        Raises:
            UnreadableLegend: if a line begins with a whole number, and no colour follows.
        """
        names: dict[int, str] = {}
        colors: dict[int, str] = {}
        for number, line in enumerate(read_text(path).splitlines(), 1):
            cells = _cells(line)
            if line.strip().startswith(REMARKS) or not cells or (value := whole(cells[0])) is None:
                continue
            parts = [whole(cell) for cell in cells[1:4]]
            if len(parts) < 3 or None in parts:
                raise UnreadableLegend(f"{path}, line {number}, is no value with red, green and blue")
            colors[value] = hex_color(*(part or 0 for part in parts))
            label = class_name(" ".join(cells[5:] if whole(cells[4]) is not None else cells[4:])) if cells[4:] else ""
            names |= {value: label} if label and whole(label) != value else {}
        return Legend(names, colors)

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write a colour map beside a raster."""
        path = raster.with_suffix(".clr")
        rows = [(k, *bytes.fromhex(legend.colors[k][1:]), 255, name) for k, name in legend.names.items()]
        path.write_text("".join(f"{' '.join(map(str, row))}\n" for row in rows), encoding="utf-8")
        return path


def _cells(line: str) -> list[str]:
    """Cells between commas, of which the last may be in the label, or between spaces."""
    return [cell.strip() for cell in line.split(",", 5)] if line.count(",") >= 3 else line.split()


CLR = Clr()
