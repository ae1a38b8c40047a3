"""Trains the arms of the study one by one, as `geoseg train` does, and keeps their scores.

In: arms.yaml, and the CSV of the tiles. Out: a JSON file for each run; a study that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from context_study.plan import merged
from network_runs.arms import ArmStudy, arm_key, result_of
from network_runs.training import train_scored

from geoseg.spec import TrainSpec, load_train_spec, load_yaml, parse_spec

from .tiles import label_some, weak_labels

SETTINGS = Path(__file__).with_name("arms.yaml")
WORDS = {"share", "marks", "reference", "unlabelled"}
"""Words of an arm that are no settings of a run."""


@dataclass(frozen=True)
class Study(ArmStudy):
    """The runs of the study in a folder."""

    folder: Path
    """Gets the results and the lists of tiles."""
    tiles: Path
    """CSV of the labelled tiles."""
    settings: Mapping[str, Mapping[str, Any]]
    """Settings of each arm by name."""
    base: Mapping[str, Any]
    """Settings that all runs share."""

    @property
    def arms(self) -> Mapping[str, Mapping[str, Any]]:
        """Settings of each arm by name."""
        return self.settings

    def scored(self, name: str, seed: int) -> dict[str, Any]:
        """Train an arm; its bundle is removed."""
        return result_of(train_scored(self.spec(name, seed), self.folder / "running" / arm_key(name, seed)))

    def spec(self, name: str, seed: int) -> TrainSpec:
        """Settings of one run."""
        arm = self.arms[name]
        own = {key: value for key, value in arm.items() if key not in WORDS}
        data = merged(own.pop("data", {}), self._data(arm, seed))
        return parse_spec(TrainSpec, merged(self.base, own | {"data": data, "seed": seed}), source=name)

    def _data(self, arm: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Settings of the data of an arm: full masks of some tiles, or weak ones of all."""
        folder = self.folder / "tiles"
        if "marks" in arm:
            return {"tiles": str(weak_labels(self.tiles, arm["marks"], seed, folder))}
        part = label_some(self.tiles, arm["share"], seed, folder)
        unlabelled = {"unlabelled": list(part.unlabelled)} if arm.get("unlabelled", "method" in arm) else {}
        return {"tiles": str(part.listing), **unlabelled}


def base_settings(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings that the runs of a study share, given its YAML and the folder where that lies."""
    shared = load_train_spec(folder / table["config"]).model_dump(mode="json")
    return merged({key: value for key, value in shared.items() if key != "network"}, table["settings"])


def open_study(folder: Path, tiles: Path) -> Study:
    """The study of arms.yaml in a folder."""
    table = load_yaml(SETTINGS)
    return Study(folder, tiles, table["arms"], base_settings(table, SETTINGS.parent))
