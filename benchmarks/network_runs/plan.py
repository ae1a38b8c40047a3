"""The runs of the table: which networks, with which encoders, settings and seeds.

In: networks.yaml. Out: a NetworkSpec for every network of geoseg, and a TrainSpec per run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from context_study.plan import merged

from geoseg.models.families import FAMILIES
from geoseg.spec import NetworkSpec, TrainSpec, load_train_spec, load_yaml, parse_spec

SETTINGS = Path(__file__).with_name("networks.yaml")
EXTRAS = "transformers"
"""Sources of networks that are an extra of geoseg, by their names in `NetworkInfo.source`, and as modules."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    base: Mapping[str, Any]
    """Settings that all runs share."""
    networks: Mapping[str, NetworkSpec]
    """Networks by architecture, in the order in which they are trained."""
    most_used: tuple[str, ...]
    """Architectures that are trained with several seeds."""
    left_out: Mapping[str, str]
    """Architectures that are not measured, with the reason."""

    def runs(self, seeds: int, only: Collection[str] = ()) -> Iterator[tuple[str, int]]:
        """Architecture and seed of every run; all networks once, then the most used ones again."""
        for seed in range(seeds):
            for name in self.networks:
                if (seed == 0 or name in self.most_used) and (not only or name in only):
                    yield name, seed

    def spec(self, name: str, seed: int, tiles: Path) -> TrainSpec:
        """Settings of one run.

        Args:
            name: an architecture.
            seed: of the run.
            tiles: list of the labelled images.
        """
        network = self.networks[name].model_dump(mode="json", exclude_defaults=True)
        own = {"network": network, "data": {"tiles": str(tiles)}, "seed": seed}
        return parse_spec(TrainSpec, merged(self.base, own), source=f"networks, {name}")


@cache
def load_plan() -> Plan:
    """The plan for all networks that can be built here."""
    table = load_yaml(SETTINGS)
    shared = load_train_spec(SETTINGS.parent / table["config"]).model_dump(mode="json")
    base = merged({key: value for key, value in shared.items() if key != "network"}, table["settings"])
    most_used = tuple(table["most_used"])
    left_out = {name: _lacking(name) for name in FAMILIES.own if _lacking(name)} | table["left_out"]
    names = [name for name in dict.fromkeys((*most_used, *FAMILIES.own)) if name not in left_out]
    return Plan(base, {name: _small(name, table) for name in names}, most_used, left_out)


def _small(name: str, table: Mapping[str, Any]) -> NetworkSpec:
    usual = FAMILIES.get(name).usual(name).model_dump(mode="json", exclude_defaults=True)
    encoder = table["encoders"].get(usual.get("encoder"), usual.get("encoder", ""))
    own = {"encoder": encoder, "arguments": table["arguments"].get(name, {})}
    return parse_spec(NetworkSpec, merged(usual, own), source=f"networks, {name}")


def _lacking(name: str) -> str:
    needs_extra = FAMILIES.get(name).info(name).source.startswith(EXTRAS)
    return f"needs geoseg[{EXTRAS}]" if needs_extra and find_spec(EXTRAS) is None else ""
