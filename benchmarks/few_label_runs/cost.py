"""Time of a step and peak memory of each method, each in a process of its own.

In: a study. Out: processor seconds of a step, and MiB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from network_runs.training import train_scored

from .study import Study, open_study

STEPS = 24
"""Steps of each run."""


def measure(arm: str, tiles: Path, threads: int) -> dict[str, Any]:
    """Seconds of a step of an arm, and its peak memory in MiB, by a process of its own."""
    command = [sys.executable, "-m", "few_label_runs.cost", arm, str(tiles), str(threads)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def methods(study: Study) -> Mapping[str, Mapping[str, Any]]:
    """The arms with an eighth of the labels, which differ in their method alone, and one of points for trees."""
    return {name: arm for name, arm in study.arms.items() if name.startswith("1/8") or "tree" in name}


def _run(arm: str, tiles: Path) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        study = open_study(Path(folder), tiles)
        spec = study.spec(arm, 0)
        short = spec.model_copy(update={"windows_per_epoch": STEPS * spec.batch_size})
        seconds = train_scored(short, Path(folder) / "run").training_s
    return {"step_s": seconds / STEPS, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(_run(sys.argv[1], Path(sys.argv[2]))))
