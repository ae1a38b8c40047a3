"""The runs of the study: what each arm trains, in order, and about how long it takes.

In: the study's settings, a ground (imagery with labels) and its local network. Out: a TrainSpec per run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geoseg.models.build import build_network
from geoseg.spec import (
    ClassSpec,
    ModelSpec,
    NetworkSpec,
    NormalizationSpec,
    TrainSpec,
    load_train_spec,
    load_yaml,
    parse_spec,
)

SETTINGS = Path(__file__).with_name("study.yaml")
LOCAL, MAGNIFIED = "local", "magnified"
"""Networks that arms start from: trained on windows alone, or on coarser views, too."""
MOST_SEEDS = 100
BACKWARD = 2
"""Time of a backward pass over that of a forward pass."""


@dataclass(frozen=True)
class Arm:
    """A way to go on from the local network."""

    name: str
    """Name of its folder."""
    title: str
    """What the table calls it."""
    changes: Mapping[str, Any]
    """Settings that differ from the ground's."""
    start: str
    """The network it starts from."""
    seeds: int
    """Most seeds it is trained with."""


@dataclass(frozen=True)
class Ground:
    """Imagery with labels, and the settings of all runs on it."""

    name: str
    """Name of its folder."""
    base: Mapping[str, Any]
    """Settings that all runs share."""
    starts: Mapping[str, Mapping[str, Any]]
    """Settings of the networks that arms start from, by name."""
    arms: tuple[Arm, ...]
    """What is compared."""
    reach_px: int | None = None
    """Least distance of the evidence in drawn scenes; None where the images are photographs."""

    def spec(self, changes: Mapping[str, Any], tiles: Path, seed: int, start: Path | None) -> TrainSpec:
        """Settings of one run.

        Args:
            changes: settings of the arm.
            tiles: list of the labelled images.
            seed: of the run.
            start: bundle of the network it starts from; None as the ground's settings have it.
        """
        values = merged(self.base, changes)
        values = merged(values, {"data": {"tiles": str(tiles)}, "seed": seed})
        if start is not None:
            values = merged(values, {"init_from": str(start)})
        return parse_spec(TrainSpec, values, source=f"study, {self.name}")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some of them changed; mappings are changed key by key."""
    together = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        together[key] = merged(base[key], value) if nested else value
    return together


def load_grounds() -> dict[str, Ground]:
    """All grounds of the study, by name."""
    table = load_yaml(SETTINGS)
    return {name: _ground(name, values, table["arms"]) for name, values in table["grounds"].items()}


def _ground(name: str, values: Mapping[str, Any], arms: Mapping[str, Any]) -> Ground:
    base = values["base"]
    if "config" in values:
        base = merged(load_train_spec(SETTINGS.parent / values["config"]).model_dump(mode="json"), base)
    found = []
    for arm, table in arms.items():
        if arm in values["arms"]:
            settings = merged(table["settings"], values["arms"][arm])
            start, seeds = table.get("start", LOCAL), table.get("seeds", MOST_SEEDS)
            found.append(Arm(arm, table["title"], settings, start, seeds))
    starts = {start: values[start] for start in (LOCAL, MAGNIFIED)}
    return Ground(name, base, starts, tuple(found), values.get("reach_px"))


def seconds_per_mpx(network: NetworkSpec, bands: int, precision: str) -> float:
    """Seconds of a forward pass of a million pixels on this machine; training takes `1 + BACKWARD` times that."""
    spec = ModelSpec(
        name="probe",
        network=network,
        bands=tuple(f"band{i}" for i in range(bands)),
        normalization=NormalizationSpec(mean=(0,) * bands, std=(1,) * bands),
        classes=tuple(ClassSpec(id=i, name=str(i), color="#000000") for i in range(6)),
    )
    module = build_network(spec).train().to(memory_format=torch.channels_last)
    image = torch.rand(4, bands, 256, 256).to(memory_format=torch.channels_last)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = module(image).float().mean()
        loss.backward()
        times.append(time.perf_counter() - began)
    return min(times) / (1 + BACKWARD) / image[:, 0].numel() * 1e6


def forward_mpx(spec: TrainSpec) -> float:
    """Pixels that a run forwards, in millions: those it trains on count `1 + BACKWARD` times."""
    windows, own = spec.epochs * spec.windows_per_epoch, spec.window**2
    once = spec.cache.windows if spec.cache is not None else windows
    views = [level.size**2 for level in spec.views]
    if spec.refine is not None:
        frozen = spec.refine.freeze_local
        trained = 0.0 if frozen else windows * 2 * own
        return (once * (own + sum(views)) if frozen else trained * (1 + BACKWARD)) / 1e6
    trained, forwarded = (windows * sum(views), once * own) if views else (windows * own, 0)
    return (trained * (1 + BACKWARD) + forwarded) / 1e6


def runs(ground: Ground, seeds: int) -> Iterator[tuple[Arm, int]]:
    """Every arm with every seed, seed by seed: a study that is stopped has whole seeds."""
    for seed in range(seeds):
        yield from ((arm, seed) for arm in ground.arms if seed < arm.seeds)
