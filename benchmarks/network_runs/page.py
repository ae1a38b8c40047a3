"""Figures of all networks as `docs/networks.json`, their picture, and the page that shows both.

In: the results in a folder. Out: files in docs/.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from .picture import Dot, draw
from .plan import Plan
from .results import run_key, timed, trained

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES, PICTURE = DOCS / "networks.json", DOCS / "pictures" / "networks.svg"
MAKER = DOCS / "make_networks_reference.py"
MOST_SEEDS = 100
SPEED = "fp32_mpx_s", "bf16_mpx_s", "memory_mib"


def measured_runs() -> dict[str, float]:
    """Processor seconds of a run of each network, as they were measured for the page; empty without them."""
    if not FIGURES.exists():
        return {}
    return {name: one["run_s"] for name, one in json.loads(FIGURES.read_text("utf-8"))["networks"].items()}


def write_page(plan: Plan, folder: Path) -> list[Path]:
    """Write the figures, the picture and the page; return their paths.

    Raises:
        SystemExit: if a network is not trained in the folder, or not timed.
    """
    _check(plan, folder)
    found = {name: _figures(folder, name) for name in plan.networks}
    FIGURES.write_text(json.dumps({"about": _about(plan, folder), "networks": found}, indent=1) + "\n", "utf-8")
    dots = [
        Dot(name, one["bf16_mpx_s"], one["miou"], one["miou_least"], one["miou_most"], is_bold=one["seeds"] > 1)
        for name, one in found.items()
    ]
    PICTURE.write_text(draw(dots, "Mpx/s, forward, bf16, 2 cores", "mIoU at a small budget"), "utf-8")
    environment = os.environ | {"PYTHONPATH": str(DOCS.parent)}
    subprocess.run([sys.executable, str(MAKER)], check=True, env=environment)
    return [FIGURES, PICTURE, MAKER.with_name("networks.md")]


def _check(plan: Plan, folder: Path) -> None:
    lacking = {
        "train": [name for name in plan.networks if run_key(name, 0) not in trained(folder)],
        "speed": [name for name in plan.networks if name not in timed(folder)],
    }
    for command, names in lacking.items():
        if names:
            raise SystemExit(f"{folder} lacks {', '.join(names)}: run `python benchmarks/networks.py {command}` before")


def _figures(folder: Path, name: str) -> dict[str, Any]:
    done, speed = trained(folder), timed(folder)[name]
    runs = [done[key] for seed in range(MOST_SEEDS) if (key := run_key(name, seed)) in done]
    scores = [one["miou"] for one in runs]
    return {
        "encoder": runs[0]["encoder"],
        "parameters": runs[0]["parameters"],
        "seeds": len(runs),
        "miou": round(statistics.fmean(scores), 4),
        "miou_least": min(scores),
        "miou_most": max(scores),
        "training_s": round(statistics.fmean(one["training_s"] for one in runs), 1),
        "run_s": round(statistics.fmean(one["run_s"] for one in runs), 1),
        **{key: speed[key] for key in SPEED},
    }


def _about(plan: Plan, folder: Path) -> dict[str, Any]:
    settings = {key: plan.base[key] for key in ("window", "batch_size", "epochs", "windows_per_epoch", "precision")}
    speed = timed(folder)[next(iter(plan.networks))]
    return settings | {
        "learning_rate": plan.base["optimizer"]["learning_rate"],
        "speed_side": speed["side"],
        "speed_threads": speed["threads"],
        "processor": _processor(),
        "torch": torch.__version__.partition("+")[0],
        "left_out": dict(plan.left_out),
    }


def _processor() -> str:
    """Name of the processor, as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    has_bf16 = any("avx512_bf16" in line for line in lines if line.startswith("flags"))
    return f"{named}{' with AVX512-BF16' if has_bf16 else ''}"
