"""ONNX Runtime against PyTorch on the CPU, on the same windows: time and memory, in fp32, and PyTorch's bf16.

    python benchmarks/onnx_runtime.py [MODEL] [--threads 1 2] [--windows 4] [--rounds 3] [--ways WAY...]

MODEL is a bundle, or the encoder of a U-Net with random weights, e.g. encoder:resnet18. `ONNX fp32` is the exported
model; `engine onnx` is the bundle as `predict --engine onnx` runs it. Each way runs in a process of its own, in turns,
and the best round of each counts: the time per window on the clock, that of the processor, which others on the machine
change less, and the largest memory.
Needs geoseg[onnx].
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import geoseg

WAYS = {
    "torch fp32": ("torch", "fp32"),
    "torch bf16": ("torch", "bf16"),
    "ONNX fp32": ("onnx", "auto"),
    "engine onnx": ("torch", "onnx"),
}


def measure(model: str, precision: str, threads: int, windows: int) -> dict[str, float]:
    """Forward windows once more than is measured; seconds per window, and the peak of this process in MB."""
    import torch

    from geoseg.models.bundle import load_model
    from geoseg.models.onnx_engine.body import OnnxEngine
    from geoseg.models.runner import Runner, RunnerOptions

    torch.set_num_threads(threads)
    loaded = load_model(model)
    spec = loaded.spec
    engine = None
    if precision == "onnx":
        precision, sizes = "fp32", frozenset({(spec.tile, spec.tile)})
        engine = OnnxEngine(spec.network.model_dump_json(), sizes, len(spec.bands))
    options = RunnerOptions(multiple=spec.network.multiple, bands=len(spec.bands), onnx=engine)
    runner = Runner(loaded.module, "cpu", precision, options)
    shape = windows + 1, 1, len(spec.bands), spec.tile, spec.tile
    images = np.random.default_rng(0).integers(1, 255, shape).astype(np.float32)
    runner(images[0])
    wall, cpu = time.perf_counter(), time.process_time()
    for image in images[1:]:
        runner(image)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall / windows, "cpu": cpu / windows, "peak_mb": peak}


def bundle_of(model: str, folder: Path) -> str:
    """A bundle by its path, or one made of a U-Net with random weights."""
    kind, _, encoder = model.partition(":")
    if kind != "encoder":
        return model
    from geoseg.models.build import build_network
    from geoseg.models.bundle import save_model
    from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, NormalizationSpec

    spec = ModelSpec(
        name=encoder,
        bands=("red", "green", "blue"),
        classes=tuple(ClassSpec(id=i, name=f"class {i}", color=f"#{i:02x}8080") for i in range(6)),
        network=NetworkSpec(architecture="unet", encoder=encoder),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
        tile=1024,
        overlap=64,
    )
    return str(save_model(build_network(spec), spec, folder / f"{encoder}.safetensors"))


def run_apart(*arguments: object, threads: int) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--measure", json.dumps([str(one) for one in arguments])]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure all ways and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        model, precision, threads, windows = json.loads(given.measure)
        print(json.dumps(measure(model, precision, int(threads), int(windows))))
        return
    with tempfile.TemporaryDirectory() as folder:
        models = {"torch": bundle_of(given.model, Path(folder))}
        if "ONNX fp32" in given.ways:
            (exported,) = geoseg.export_model(models["torch"], Path(folder) / "model.onnx").paths
            models["onnx"] = str(exported)
        for threads in given.threads:
            best: dict[str, dict[str, float]] = {}
            for _ in range(given.rounds):
                for way in given.ways:
                    kind, precision = WAYS[way]
                    one = run_apart(models[kind], precision, threads, given.windows, threads=threads)
                    best[way] = {name: min(value, best.get(way, one)[name]) for name, value in one.items()}
            for way, found in best.items():
                ratio = found["cpu"] / best[given.ways[0]]["cpu"]
                print(
                    f"{threads} threads, {way:10}: {found['wall']:6.2f} s, {found['cpu']:6.2f} s of the processor a "
                    f"window ({ratio:.2f} of {given.ways[0]}), {found['peak_mb']:5.0f} MB"
                )


if __name__ == "__main__":
    main()
