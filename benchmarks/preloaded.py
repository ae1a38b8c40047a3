"""Commands of geoseg, each in a process of its own that has loaded all other libraries before: 5 s less per command.

    python benchmarks/preloaded.py

Reads a line of JSON per command from standard input: its arguments, and the files for what it says and for its errors.
Answers with the number of its process, and when that has ended with its exit code, negative for a signal. geoseg itself
is loaded anew each time. Needs OMP_NUM_THREADS=1: threads do not survive a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys

LIBRARIES = (
    "click", "geopandas", "jinja2", "kornia", "lightning.pytorch", "numba", "PIL.Image", "pyarrow.parquet", "pydantic",
    "pyogrio", "pyproj", "rasterio", "rich.progress", "safetensors.torch", "segmentation_models_pytorch", "shapely",
    "tensorboard", "timm", "torch.utils.tensorboard", "torchmetrics", "yaml",
)  # fmt: skip


def run(arguments: list[str], output: str, errors: str) -> None:
    """Become a command."""
    for number, path in enumerate((os.devnull, output, errors)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    sys.stdin = open(0)  # noqa: SIM115  # the old one has read further lines
    sys.argv = ["geoseg", *arguments]
    runpy.run_module("geoseg", run_name="__main__", alter_sys=True)


def main() -> None:
    """Run what is asked for until nothing more is."""
    for name in LIBRARIES:
        importlib.import_module(name)
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            run(*json.loads(line))
            return
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
