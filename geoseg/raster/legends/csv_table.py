"""Legends as CSV files: a column with the value, one with the name, and colours as red, green, blue or as #rrggbb."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from geoseg.core.files import one_line
from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import BesideRaster
from geoseg.raster.legends.columns import VALUE_NAMES, Column, legend_of
from geoseg.raster.legends.place import UnreadableLegend, read_text, whole

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_SEPARATORS = ",;\t|"


class CsvTable(BesideRaster):
    """A table with a header; one without a column of values is none."""

    suffixes = (".csv",)

    def read(self, path: Path) -> Legend:
        """The legend in a CSV file with any usual separator."""
        text = read_text(path)
        header = text.partition("\n")[0]
        try:
            rows = list(csv.reader(io.StringIO(text), delimiter=max(_SEPARATORS, key=header.count)))
        except csv.Error as error:
            raise UnreadableLegend(f"{path} is no table ({one_line(error)})") from None
        names = [name.strip() for name in rows[0]] if rows else []
        if not any(name.lower() in VALUE_NAMES for name in names):
            return Legend()
        lines = [row for row in rows[1:] if len(row) == len(names)]
        columns = [Column(name, [row[k].strip() for row in lines]) for k, name in enumerate(names)]
        colors = next((c for c in columns if any(map(_COLOR.fullmatch, map(str, c.cells)))), None)
        named = legend_of([column for column in columns if column is not colors])
        return named if colors is None else Legend(named.names, _hex_colors(columns, colors)).completed_by(named)

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write a table beside a raster."""
        path = raster.with_suffix(".csv")
        rows = [("code", "name", "color"), *((k, name, legend.colors[k]) for k, name in legend.names.items())]
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return path


def _hex_colors(columns: list[Column], colors: Column) -> dict[int, str]:
    """Colours by value, given the column that holds them as #rrggbb."""
    by_name = {column.name.lower(): column for column in reversed(columns)}
    values = next(by_name[name] for name in VALUE_NAMES if name in by_name)
    pairs = zip(map(whole, values.cells), map(str, colors.cells), strict=True)
    return {value: color.lower() for value, color in pairs if value is not None and _COLOR.fullmatch(color)}


CSV_TABLE = CsvTable()
