"""Times the forward pass of each network, and measures its memory, in a process of its own.

Processes are forked from one that has imported the libraries and computed nothing, so that 40 of them take no minutes
to start.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch  # noqa: F401  # imported before the processes are forked
import timm  # noqa: F401
import torch

from geoseg.models.build import build_network
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, NormalizationSpec

from .plan import Plan
from .results import timed

CLASSES, BANDS = 6, 3
PRECISIONS = "fp32", "bf16"


@dataclass(frozen=True)
class Measure:
    """How a network is timed."""

    side: int = 512
    """Height and width of the one window that is classified again and again, in pixels."""
    threads: int = 2
    """Threads of the process."""
    seconds: float = 1.0
    """Least time of the passes that count, in each arithmetic; the fastest one is taken."""

    def estimate(self, networks: Collection[str]) -> float:
        """Seconds for some networks."""
        return len(networks) * 3 * len(PRECISIONS) * self.seconds


def measure_all(plan: Plan, folder: Path, only: Collection[str], measure: Measure) -> Iterator[dict[str, Any]]:
    """Measure the networks that are not measured yet, and keep what is found."""
    for name in left(plan, folder, only):
        found = _apart(plan.networks[name], measure)
        timed(folder).keep(name, {"network": name, **found, "side": measure.side, "threads": measure.threads})
        yield timed(folder)[name]


def left(plan: Plan, folder: Path, only: Collection[str]) -> list[str]:
    """The networks that are not measured."""
    return [name for name in plan.networks if name not in timed(folder) and (not only or name in only)]


def _apart(network: NetworkSpec, measure: Measure) -> dict[str, Any]:
    """What `_measured` returns, from a process of its own."""
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(far, network, measure))
    process.start()
    far.close()
    try:
        found: dict[str, Any] = near.recv()
    except EOFError:
        raise SystemExit(f"{network.architecture}: its process ended without a result: see above") from None
    process.join()
    return found


def _send(pipe: Any, network: NetworkSpec, measure: Measure) -> None:
    pipe.send(_measured(network, measure))


def _measured(network: NetworkSpec, measure: Measure) -> dict[str, Any]:
    torch.set_num_threads(measure.threads)
    torch.manual_seed(0)
    window = np.random.default_rng(0).integers(0, 255, (1, BANDS, measure.side, measure.side)).astype(np.float32)
    spec = ModelSpec(
        name="speed",
        network=network,
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(110,) * BANDS, std=(50,) * BANDS),
        classes=tuple(ClassSpec(id=i, name=str(i), color="#000000") for i in range(CLASSES)),
    )
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        runner = Runner(build_network(spec), "cpu", precision, RunnerOptions(bands=BANDS, multiple=network.multiple))
        found[f"{precision}_mpx_s"] = float(f"{window[0, 0].size / 1e6 / _fastest(runner, window, measure):.4g}")
        found |= {"memory_mib": _peak_mib()} if precision == PRECISIONS[0] else {}
    return found


def _fastest(runner: Runner, window: np.ndarray, measure: Measure) -> float:
    runner(window)
    times: list[float] = []
    while sum(times) < measure.seconds or len(times) < 2:
        began = time.perf_counter()
        runner(window)
        times.append(time.perf_counter() - began)
    return min(times)


def _peak_mib() -> int:
    """Largest resident memory of this process so far, in MiB."""
    kib = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text("utf-8"))
    assert kib is not None
    return int(kib[1]) // 1024
