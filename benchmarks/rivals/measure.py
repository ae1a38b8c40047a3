"""Run one tool on one case in this process, and print what it took as JSON.

    python measure.py TOOL prepare|run CALLS CASE.json

`prepare` writes the model in the format that the tool reads. `run` calls the tool CALLS times: memory is that of the
first call, time that of the fastest, as the first one compiles and imports what later ones have. Imports at the top of
a runner and its `setup` don't count, loading the model does.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import shutil
import sys
import time
from pathlib import Path

from case import Case, Counted


def memory_mib(field: str) -> float:
    """A field of this process's status: VmRSS, resident memory now, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def forget_peak() -> None:
    """Let the peak of resident memory start from here."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def measure(tool, case: Case, calls: int) -> dict[str, object]:
    """Seconds, memory, pixels forwarded, and where the result lies."""
    if hasattr(tool, "setup"):
        tool.setup(case)
    seconds, added = [], []
    for _ in range(calls):
        shutil.rmtree(case.output, ignore_errors=True)
        Path(case.output).mkdir(parents=True)
        Counted.pixels = 0
        forget_peak()
        before = memory_mib("VmRSS")
        started = time.perf_counter()
        result = tool.predict(case)
        seconds.append(time.perf_counter() - started)
        added.append(memory_mib("VmHWM") - before)
    return {
        "seconds": min(seconds), "calls": seconds, "added_mib": added[0], "result": result and str(result),
        "forwarded_px": Counted.pixels, "version": importlib.metadata.version(tool.PACKAGE), "engine": engine(tool),
    }  # fmt: skip


def engine(tool) -> str:
    """What the network runs in, and its version."""
    name = getattr(tool, "ENGINE", "torch")
    return f"{name} {importlib.metadata.version(name)}"


def main() -> None:
    """Do what is asked for."""
    name, what, calls, case = sys.argv[1], sys.argv[2], int(sys.argv[3]), Case(**json.loads(sys.argv[4]))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: case.threads])
    import torch

    torch.set_num_threads(case.threads)
    tool = importlib.import_module(f"run_{name}")
    if what == "run":
        print(json.dumps(measure(tool, case, calls)))
    elif hasattr(tool, "prepare"):
        tool.prepare(case)


if __name__ == "__main__":
    main()
