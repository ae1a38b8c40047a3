"""What is measured of a network, as a JSON file for each run: a table that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Results:
    """The results in a folder."""

    folder: Path
    """Gets a file for each."""

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def __getitem__(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._path(key).read_text("utf-8"))
        return found

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self.folder.glob("*.json")))

    def keep(self, key: str, found: Mapping[str, Any]) -> None:
        """Write a result, complete or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self._path(key).with_suffix(".tmp")
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        draft.rename(self._path(key))

    def write_all(self, path: Path) -> None:
        """Write all results as a line of JSON each, by their keys, for another machine to go on from."""
        lines = [json.dumps({"key": key, **self[key]}) for key in self]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def take_all(self, path: Path) -> None:
        """Keep the results in a file of `write_all` that are not there yet."""
        for line in path.read_text("utf-8").splitlines():
            found = json.loads(line)
            if (key := found.pop("key")) not in self:
                self.keep(key, found)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def trained(folder: Path) -> Results:
    """Results of training, by `run_key`."""
    return Results(folder / "trained")


def timed(folder: Path) -> Results:
    """Speed and memory, by architecture."""
    return Results(folder / "timed")


def run_key(name: str, seed: int) -> str:
    """Key of a run among the results of training."""
    return f"{name}-{seed}"
