"""geoseg against other tools: the same weights, scene and threads, each tool in an environment of its own.

    python benchmarks/rivals.py unet --work DIR        a U-Net with ResNet-18 on 3000 x 2500 pixels
    python benchmarks/rivals.py null --work DIR        a 1 x 1 convolution on 6000 x 6000 pixels: the tools' own cost
    python benchmarks/rivals.py install --work DIR     make the environments, and no more

DIR keeps the environments (12 GB; made where they are missing, with pip), the scenes and the weights. `--only NAME...`
takes some of the tools, `--threads` sets the threads of all, `--calls` how often each is called: the fastest call's
time and the first one's memory count. geoseg runs in this interpreter. How each tool is called:
benchmarks/rivals/run_*.py. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rasterio

sys.path.insert(0, str(Path(__file__).with_name("rivals")))
from case import Case

RUNNERS = Path(__file__).with_name("rivals")
BASE = ("torch==2.14.1", "torchvision==0.29.1", "segmentation-models-pytorch==0.5.0", "rasterio==1.4.4")
"""Held once, in an environment that the others see into."""
SCENES = {"unet": (2500, 3000), "null": (6000, 6000)}
"""Height and width."""
EDGES = {"top": np.s_[:8], "bottom": np.s_[-8:], "left": np.s_[:, :8], "right": np.s_[:, -8:]}
"""The outer pixels of a class map."""


@dataclass(frozen=True)
class Tool:
    """One way to classify the scene."""

    name: str
    runner: str
    """The file run_<runner>.py."""
    packages: tuple[str, ...] = ()
    """What its environment holds; none: geoseg's own interpreter."""
    bare: bool = False
    """Whether it only forwards, and gives no class map."""
    network_only: bool = False
    """Whether its classes come from other input than the network expects, so that agreement says nothing."""


TOOLS = (
    Tool("bare forward, fp32", "bare_fp32", bare=True),
    Tool("bare forward, fp32, channels last", "bare_channels_last", bare=True),
    Tool("bare forward, bf16, channels last", "bare_bf16", bare=True),
    Tool("geoseg, fp32", "geoseg_fp32"),
    Tool("geoseg, bf16", "geoseg_auto"),
    Tool("geoseg", "geoseg_int8"),
    Tool("habitat-mapper", "habitat_mapper", ("habitat-mapper==0.16.2", "onnx", "onnxscript")),
    Tool("TerraTorch", "terratorch", ("terratorch==1.2.11",)),
    Tool("OmniCloudMask", "omnicloudmask", ("omnicloudmask==1.8.1",), network_only=True),
    Tool(
        "Raster Vision",
        "raster_vision",
        tuple(f"rastervision-{part}==0.31.1" for part in ("core", "pytorch-learner", "pytorch-backend")),
    ),
    Tool("TorchGeo, a loop", "torchgeo", ("torchgeo==0.8.1", "requests")),
    Tool("geoai", "geoai", ("geoai-py==0.40.1",)),
    Tool("geo-inference", "geo_inference", ("geo-inference==3.2.4",)),
)


class Failed(Exception):
    """A tool could not be installed, or stopped; says why in a line."""


# -------------------------------------------------------------------------------------------------------- environments


def interpreter(tool: Tool, work: Path) -> Path:
    """The Python that a tool runs in; what is missing is installed."""
    if not tool.packages:
        return Path(sys.executable)
    base = work / "env" / "base"
    environment(base, BASE)
    return environment(work / "env" / tool.runner, tool.packages, base)


def environment(folder: Path, packages: tuple[str, ...], base: Path | None = None) -> Path:
    """Python of a virtual environment with these packages, made where it is missing; it sees into the base's."""
    python = folder / "bin" / "python"
    done = folder / "packages.json"
    if done.exists() and json.loads(done.read_text()) == list(packages):
        return python
    print(f"installing {' '.join(packages)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    if base:
        (site_packages(folder) / "base.pth").write_text(f"{site_packages(base)}\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    run(install, folder.with_name(f"{folder.name}-install.log"), os.environ)
    done.write_text(json.dumps(packages))
    return python


def site_packages(folder: Path) -> Path:
    """Where an environment keeps its packages."""
    return next((folder / "lib").glob("python3*/site-packages")).resolve()


def run(command: list[str], log: Path, variables: dict[str, str]) -> str:
    """Run a command; what it prints goes to a log, too.

    Raises:
        Failed: with the last line of what it printed, if it fails.
    """
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise Failed(f"{lines[-1][:200]} ({log.name})")
    return done.stdout


# --------------------------------------------------------------------------------------------------------- measurement


def variables(threads: int, ours: bool) -> dict[str, str]:
    """The process environment, with the threads of whatever reads them there."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if ours or name != "PYTHONPATH"}
    return kept | dict.fromkeys(names, str(threads)) | {"CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}


def measure(tool: Tool, case: Case, work: Path, calls: int) -> dict[str, object]:
    """Install a tool where it is missing, run it on the case, and hold its class map against the reference."""
    command = [str(interpreter(tool, work)), str(RUNNERS / "measure.py"), tool.runner]
    settings = variables(case.threads, ours=not tool.packages)
    given = json.dumps(asdict(case))
    log = work / f"{case.network}-{tool.runner}.log"
    run([*command, "prepare", "1", given], log, settings)
    measured = json.loads(run([*command, "run", str(calls), given], log, settings).splitlines()[-1])
    if tool.bare:
        return measured
    compared = compare(Path(measured["result"]), case)
    return measured | ({"nodata": compared["nodata"]} if tool.network_only else compared)


def compare(result: Path, case: Case) -> dict[str, float]:
    """Agreement with the whole-scene forward pass where there is data, in all and along the edges; fate of nodata."""
    reference = np.load(Path(case.scene).with_suffix(".npy"))
    with rasterio.open(case.scene) as scene, rasterio.open(result) as output:
        valid = scene.dataset_mask() > 0
        agree = output.read(1) == reference
        marked = output.read_masks(1) == 0
    agree &= ~marked
    shares = {name: float(agree[edge][valid[edge]].mean()) for name, edge in EDGES.items()}
    return shares | {"all": float(agree[valid].mean()), "nodata": float(marked[~valid].mean())}


# ------------------------------------------------------------------------------------------------------------- results


def table(rows: dict[str, dict[str, object]], pixels: int) -> str:
    """What was measured, as Markdown."""
    ours = [rows.get(name, {}).get("seconds") for name in ("geoseg", "geoseg, fp32")]
    heads = [
        "", "s", "s/Mpx", "over geoseg", "over geoseg, fp32", "MiB", "forwarded", "agrees", "worst edge", "nodata kept",
        "version",
    ]  # fmt: skip
    lines = [heads, ["---"] * len(heads)]
    lines += [line(name, row, ours, pixels) for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def line(name: str, row: dict[str, object], ours: list[float | None], pixels: int) -> list[str]:
    """One row's cells."""
    if "failed" in row:
        return [name, f"failed: {row['failed']}", *[""] * 9]
    seconds = row["seconds"]
    ratios = [f"{seconds / own:.2f}" if own else "" for own in ours]
    shares = row.get("all"), min((row[edge] for edge in EDGES if edge in row), default=None), row.get("nodata")
    percents = ["" if share is None else f"{share:.2%}" for share in shares]
    return [
        name, f"{seconds:.1f}", f"{seconds / pixels * 1e6:.3f}", *ratios, f"{row['added_mib']:,.0f}",
        f"{row['forwarded_px'] / pixels:.2f}", *percents, f"{row['version']}, {row['engine']}",
    ]  # fmt: skip


def machine(threads: int) -> str:
    """Processor, cores and threads."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, {threads} threads, Python {platform.python_version()}"


def chosen(options: argparse.Namespace) -> list[Tool]:
    """The tools that are asked for."""
    return [tool for tool in TOOLS if not options.only or tool.runner in options.only]


def install(work: Path, options: argparse.Namespace) -> None:
    """Make the environments that are missing."""
    for tool in chosen(options):
        try:
            interpreter(tool, work)
        except Failed as failure:
            print(f"{tool.name}: {failure}")


def compare_tools(work: Path, options: argparse.Namespace) -> None:
    """Measure all tools on one task, one after another, and print the table."""
    what = options.what
    network = {"unet": "unet", "null": "pointwise"}[what]
    height, width = SCENES[what]
    case = Case(str(work / what / "scene.tif"), network, str(work / what), str(work / "output"), options.threads)
    given = json.dumps(asdict(case))
    make = [sys.executable, str(RUNNERS / "make_case.py"), given, str(height), str(width)]
    subprocess.run(make, check=True, env=variables(options.threads, ours=True))
    rows = {}
    for tool in chosen(options):
        started = time.monotonic()
        try:
            rows[tool.name] = measure(tool, case, work, options.calls)
        except Failed as failure:
            rows[tool.name] = {"failed": str(failure)}
        print(f"{tool.name}: {time.monotonic() - started:.0f} s  {rows[tool.name]}", flush=True)
    (work / f"{what}.json").write_text(json.dumps(rows, indent=1))
    print(f"\n{machine(options.threads)}\n\n{table(rows, height * width)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*SCENES, "install"])
    parser.add_argument("--work", type=Path, help="folder of environments, scenes, weights; default: a temporary one")
    parser.add_argument("--only", nargs="+", choices=[tool.runner for tool in TOOLS], metavar="NAME")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=2)
    options = parser.parse_args()
    do = install if options.what == "install" else compare_tools
    with tempfile.TemporaryDirectory() as folder:
        work = (options.work or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        do(work, options)


if __name__ == "__main__":
    main()
