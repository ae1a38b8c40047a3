"""Trains the ways to another region one by one, as `geoseg train` does, and scores them there.

In: arms.yaml, and the CSV of each region's tiles. Out: a JSON file for each run; a study that was stopped goes on where
it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from context_study.plan import merged
from few_label_runs.study import base_settings
from network_runs.arms import ArmStudy, arm_key, result_of, rounded
from network_runs.training import Scored, Stopwatch, read_metrics, train_scored

from geoseg import evaluate_model, train
from geoseg.core.errors import GeosegError
from geoseg.spec import TrainSpec, load_yaml, parse_spec

from .grounds import lay_ground

SETTINGS = Path(__file__).with_name("arms.yaml")
WORDS = {"learns", "reference", "model", "of", "predict", "target"}
"""Words of a way that are no settings of a run."""


@dataclass(frozen=True)
class Study(ArmStudy):
    """The runs of the study in a folder."""

    folder: Path
    """Gets the results, the lists of tiles, and the models that several ways score."""
    tiles: Mapping[str, Path]
    """CSV of the labelled tiles of each region."""
    table: Mapping[str, Any]
    """What arms.yaml holds."""
    base: Mapping[str, Any]
    """Settings that all runs share."""

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Each way in each direction, by the names of both; its reference is in the same direction."""
        return {
            f"{direction}: {way}": {**ends, **given, "reference": f"{direction}: {given.get('reference', '')}"}
            for (direction, ends), (way, given) in product(self.table["directions"].items(), self.table["ways"].items())
        }

    def spec(self, name: str, seed: int) -> TrainSpec:
        """Settings of one run."""
        arm = self.arms[name]
        own = {key: value for key, value in arm.items() if key not in {*WORDS, "source"}}
        learnt = arm["target"] if arm.get("learns") == "target" else arm["source"]
        ground = lay_ground(self.tiles, learnt, arm["target"], self.folder / "tiles")
        data = {"tiles": str(ground.listing), "label_values": {}, "legends": self._legends}
        if "method" in arm:
            data["target"] = list(ground.target)
        data = merged(data, own.pop("data", {}))
        return parse_spec(TrainSpec, merged(self.base, own | {"data": data, "seed": seed}), source=name)

    @property
    def _legends(self) -> dict[str, Any]:
        return {region: {"label_values": values} for region, values in self.table["regions"].items()}

    def scored(self, name: str, seed: int) -> dict[str, Any]:
        """Train an arm, or score a kept model."""
        arm, spec = self.arms[name], self.spec(name, seed)
        if "of" in arm:
            direction = name.partition(": ")[0]
            return self._evaluated(spec, self._model(f"{direction}: {arm['of']}", seed), arm["predict"])
        if arm.get("model") == "kept":
            return result_of(self._kept(spec, self._model(name, seed)))
        return result_of(train_scored(spec, self.folder / "running" / arm_key(name, seed)))

    def model(self, name: str, seed: int) -> tuple[Path, Mapping[str, Any]]:
        """The model of an arm, trained if it was not kept, and the settings of `predict` that it is used with."""
        arm = self.arms[name]
        direction = name.partition(": ")[0]
        kept = f"{direction}: {arm['of']}" if "of" in arm else name
        path = self._model(kept, seed)
        if not path.exists():
            self._kept(self.spec(kept, seed), path)
        return path, arm.get("predict", {})

    def _evaluated(self, spec: TrainSpec, model: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Scores of a kept model by other settings of `predict`."""
        if not model.exists():
            raise GeosegError(f"{model.name} is not trained yet: run the study without --only")
        scores = evaluate_model(model, spec, device="cpu", precision="bf16", **settings).scores
        return {**rounded(scores.miou, scores.iou), "figures": {}, "training_s": 0.0}

    def _model(self, name: str, seed: int) -> Path:
        return self.folder / "models" / f"{arm_key(name, seed)}.safetensors"

    def _kept(self, spec: TrainSpec, model: Path) -> Scored:
        """Train a model to the end, and keep it."""
        output, watch = model.with_suffix(""), Stopwatch(ends=False)
        shutil.rmtree(output, ignore_errors=True)
        train(spec, output, reporter=watch).bundle.rename(model)
        assert watch.scored is not None  # after its only epoch
        watch.scored.metrics.extend(read_metrics(output))
        shutil.rmtree(output)
        return watch.scored


def open_study(folder: Path, tiles: Mapping[str, Path]) -> Study:
    """The study of arms.yaml in a folder."""
    table = load_yaml(SETTINGS)
    return Study(folder, tiles, table, base_settings(table, SETTINGS.parent))
