"""A run that stops after some tile rows, as one that is killed does, but within this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from geoseg.inference.work_folder import Record


class Stopped(Exception):
    pass


@contextmanager
def stopped_after(rows: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, a run is stopped when it has finished so many tile rows; it must be."""
    save, saved = Record.save, list[Path]()

    def stop(record: Record, path: Path) -> None:
        if len(saved) == rows:
            raise Stopped
        saved.append(path)
        save(record, path)

    with monkeypatch.context() as patch:
        patch.setattr(Record, "save", stop)
        with pytest.raises(Stopped):
            yield
