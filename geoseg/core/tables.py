"""CSV files as spreadsheets save them: any usual separator, UTF-8, or UTF-16 with a byte order mark.

In: a CSV file. Out: its rows as dicts by column, with their line numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from geoseg.core.errors import LabelError
from geoseg.core.regular_files import read_bounded

_SEPARATORS = ",;\t|"
_MARKS = (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")
"""Byte order marks and their encodings; UTF-8 may begin with one, too."""


class Table:
    """A CSV file whose columns are found regardless of case."""

    def __init__(self, path: Path):
        """Read the file.

        Raises:
            OSError: if it cannot be read.
            LabelError: if it is not Unicode text.
        """
        text = _decoded(read_bounded(path), path)
        first, _, rest = text.partition("\n")
        if first.strip().lower().startswith("sep="):  # a hint that Excel takes and keeps
            separator, text = first.strip()[4:5] or "\t", rest
        else:
            separator = _separator(first)
        self._rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        self._names = [name.strip() for name in next(self._rows, [])]

    def columns(self, wanted: Iterable[str]) -> dict[str, str]:
        """The wanted columns that the file has, as {name in the file: wanted name}."""
        by_name = {name: name for name in self._names}
        by_case = {name.casefold(): name for name in reversed(self._names)}
        found = {name: by_name.get(name) or by_case.get(name.casefold()) for name in wanted}
        return {own: name for name, own in found.items() if own is not None}

    def rows(self, wanted: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """Line number of each row that is not empty, and its cells by wanted column.

        Raises:
            csv.Error: if a row is malformed.
        """
        columns = self.columns(wanted)
        for cells in self._rows:
            if any(cell.strip() for cell in cells):
                line = dict(zip(self._names, cells, strict=False))
                yield self._rows.line_num, {name: line.get(own, "").strip() for own, name in columns.items()}


def _separator(header: str) -> str:
    """The separator of the header's column names."""
    return max(_SEPARATORS, key=header.count)


def _decoded(content: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise LabelError(
            f"cannot read the list of tiles {path}: its encoding is not UTF-8 (but perhaps Windows-1252): save it as "
            "CSV UTF-8"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise LabelError(f"cannot read the list of tiles {path}: its encoding is not UTF-8: save it as CSV UTF-8")
    return text
