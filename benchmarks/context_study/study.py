"""Runs the study on one ground: trains what is not trained yet, classifies, and writes the table and the pictures.

Everything finished stays in the ground's folder, and is not done again: a study that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import click
import numpy as np

from geoseg import load_model, train
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.models.weights.start import start_from
from geoseg.spec import ModelSpec, TrainSpec
from geoseg.training.data.training_data import read_training_data

from .figures import Places, difference, ious, miou
from .grounds import write_drawn, write_dubai
from .maps import ClassMaps, Validation, alone, in_context, refined
from .plan import LOCAL, Ground, forward_mpx, load_grounds, merged, runs, seconds_per_mpx

LEAST_FILLED = 0.8
"""Pixels count whose views hold data in at least this share of their pixels."""
TUNED = "fine-tuned", "larger", "views"
"""Arms that train the local network on, for as long as the context branch is trained."""
FRACTIONS = 0.5, 1.0
"""Shares of the windows that are refined."""


@dataclass(frozen=True)
class Study:
    """One ground's study in a folder."""

    ground: Ground
    """What is trained."""
    tiles: Path
    """List of its labelled images."""
    folder: Path
    """Gets all results."""
    seeds: int
    """Seeds of each arm."""

    def estimate(self, arms: Collection[str] = ()) -> float:
        """Seconds of what `train` has to do, on this machine as it is now."""
        left = [spec for _, _, spec in self._left(arms)]
        if not left:
            return 0
        each = seconds_per_mpx(left[0].network, len(left[0].data.bands), "bf16")
        return sum(each * forward_mpx(spec) for spec in left)

    def train(self, arms: Collection[str] = ()) -> None:
        """Train the networks that arms start from, and some arms; default: all."""
        for arm, seed, spec in self._left(arms):
            result = train(spec, self._run(arm, seed), resume=True)
            click.echo(f"{self.ground.name}  {arm:<12} seed {seed}  {result.seconds:,.0f} s")

    def _left(self, arms: Collection[str]) -> list[tuple[str, int, TrainSpec]]:
        """The runs that are not done."""
        wanted = {*self.ground.starts, *(arms or (arm.name for arm in self.ground.arms))}
        return [run for run in self._specs() if run[0] in wanted and not self._is_done(*run[:2])]

    def _is_done(self, arm: str, seed: int) -> bool:
        return (self._run(arm, seed) / "report.html").exists()

    def classify(self) -> None:
        """Write the class maps of all runs that are done."""
        for arm, seed, _ in self._specs():
            if self._is_done(arm, seed):
                self._keep(arm, seed, partial(self._maps, arm, self._bundle(arm, seed)))

    def _maps(self, arm: str, bundle: Path) -> dict[str, ClassMaps]:
        if arm in self.ground.starts:
            return alone(self._without_branch(bundle), self._validation("context"))
        model = load_model(bundle)
        if arm == "context":
            return in_context(model, self._validation("context"))
        if arm != "module":
            return alone(self._without_branch(bundle), self._validation(arm))
        found = {}
        for fraction in FRACTIONS:
            maps = refined(model, Validation(self.side, model.spec), fraction, controls=fraction == 1)
            found |= {f"{name or 'refined'} {fraction:g}": maps for name, maps in maps.items()}
        return found

    def _without_branch(self, path: Path) -> Model:
        """The network of a bundle, without its branch."""
        spec = load_model(path).spec.model_copy(update={"refine": None, "context": None})
        network = build_network(spec)
        start_from(network, spec, path)
        return Model(spec, network.eval())

    @cached_property
    def side(self):
        """The validation rasters."""
        return read_training_data(next(spec for _, _, spec in self._specs()), only="val").val

    def places(self) -> Places:
        """The pixels whose views are filled."""
        path = self.folder / "filled.npz"
        if not path.exists():
            np.savez(path, *self._validation("context").filled())
        with np.load(path) as stored:
            counted = [stored[name] >= LEAST_FILLED for name in stored.files]
        return Places(self._validation("context").truth, counted, len(self.ground.base["classes"]))

    def load(self, arm: str, name: str = "") -> list[ClassMaps]:
        """The class maps of every seed of an arm that is done."""
        found = []
        for seed in range(self.seeds):
            path = self.folder / "maps" / f"{arm}-{seed}.npz"
            if path.exists():
                with np.load(path) as stored:
                    found.append([stored[key] for key in stored.files if key.rsplit("/", 1)[0] == name])
        return found

    def _keep(self, arm: str, seed: int, make: Callable[[], dict[str, ClassMaps]]) -> None:
        path = self.folder / "maps" / f"{arm}-{seed}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            maps = {f"{name}/{i}": one for name, several in make().items() for i, one in enumerate(several)}
            draft = path.with_suffix(".tmp.npz")
            np.savez_compressed(draft, **maps)
            draft.rename(path)

    def _validation(self, arm: str) -> Validation:
        """The windows of an arm; those of the context have its views."""
        return self._validations.setdefault(arm, Validation(self.side, self._model_spec(arm)))

    @cached_property
    def _validations(self) -> dict[str, Validation]:
        return {}

    def _model_spec(self, arm: str) -> ModelSpec:
        changes = next(one.changes for one in self.ground.arms if one.name == arm)
        spec = self.ground.spec(changes, self.tiles, 0, self._bundle(LOCAL, 0))
        windows = {"tile": spec.tile, "overlap": spec.overlap, "refine": None, "context": spec.context}
        return load_model(self._bundle(LOCAL, 0)).spec.model_copy(update=windows)

    def _specs(self) -> Iterator[tuple[str, int, TrainSpec]]:
        """Name, seed and settings of every run; what is cached is shared by all seeds."""
        for start, changes in self.ground.starts.items():
            yield start, 0, self.ground.spec(changes, self.tiles, 0, None)
        for arm, seed in runs(self.ground, self.seeds):
            shared = {"cache": {"folder": str(self.folder / "cache")}} if "cache" in arm.changes else {}
            start = self._bundle(arm.start, 0)
            yield arm.name, seed, self.ground.spec(merged(arm.changes, shared), self.tiles, seed, start)

    def _run(self, arm: str, seed: int) -> Path:
        return self.folder / f"{arm}-{seed}"

    def _bundle(self, arm: str, seed: int) -> Path:
        return self._run(arm, seed) / f"{self.ground.base['name']}.safetensors"


def open_studies(folder: Path, dubai: Path | None, only: Collection[str], seeds: int) -> list[Study]:
    """The studies of all grounds that there are images of, written to the folder if they are not there yet."""
    found = []
    for name, ground in load_grounds().items():
        is_drawn = ground.reach_px is not None
        if (not only or name in only) and (is_drawn or dubai is not None):
            images = folder / name / "images"
            if not (images / "tiles.csv").exists():
                write_drawn(ground.reach_px, images) if is_drawn else write_dubai(dubai, images)
            found.append(Study(ground, images / "tiles.csv", folder / name, seeds))
    return found


def table(study: Study) -> str:
    """The scores of all arms, and their differences, as a Markdown table."""
    places = study.places()
    counts = {key: [places.counts(maps) for maps in study.load(*key)] for key in _columns()}
    counts = {key: found for key, found in counts.items() if found}
    local, lines = counts["local", ""], []
    names = [c["name"] for c in study.ground.base["classes"]]
    best = max((key for key in counts if key[0] in (LOCAL, *TUNED)), key=lambda key: _mean(counts[key]))
    lines += [f"| | seeds | mIoU | less what it starts from | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for key, found in counts.items():
        per_class = np.mean([ious(one) for one in found], axis=0)
        base = counts.get(("magnified", ""), local) if key[0] == "module" else local
        less = "" if key[0] in study.ground.starts else str(difference(found, base))
        figures = " | ".join(f"{value:.3f}" for value in per_class)
        lines.append(f"| {_title(study, *key)} | {len(found)} | {_mean(found):.3f} | {less} | {figures} |")
    shown = {"best without context": f"{best[0]}: {_mean(counts[best]):.3f}"}
    own = counts.get(("context", ""))
    compared = {"best without context": best} | {name: ("context", name) for name in ("another window's", "empty")}
    for title, other in compared.items():
        if own and other in counts:
            others = counts[other]
            count = len(own) if len(others) == 1 else min(len(own), len(others))
            shown[f"context less {title}"] = str(difference(own[:count], others[:count]))
    covered = sum(int(one.sum()) for one in places.counted) / sum(one.size for one in places.counted)
    lines += ["", f"{covered:.0%} of the pixels have views filled to {LEAST_FILLED:.0%}; {len(local[0])} blocks", ""]
    lines += [f"{name}: {value}" for name, value in shown.items()]
    return "\n".join(lines)


def _mean(found: Sequence) -> float:
    return float(np.mean([miou(one) for one in found]))


def _columns() -> list[tuple[str, str]]:
    context = [("context", name) for name in ("", "another window's", "empty")]
    controls = [(name, "") for name in TUNED]
    refinement = [("module", f"{name} 1") for name in ("coarse", "mean", "refined", "shuffled", "no map")]
    return [("local", ""), *controls, *context, ("magnified", ""), *refinement, ("module", "refined 0.5")]


def _title(study: Study, arm: str, shown: str) -> str:
    titles = {one.name: one.title for one in study.ground.arms}
    titles |= {"local": "local", "magnified": "local, trained on coarser views, too"}
    return f"{titles[arm]}, {shown}" if shown else titles[arm]


def write_table(study: Study) -> Path:
    """Write the table, and the same figures as they are for each seed."""
    path = study.folder / "table.md"
    path.write_text(table(study) + "\n")
    return path
