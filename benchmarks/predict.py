"""What `geoseg predict` costs beside the network's own arithmetic, on scenes that it makes itself.

    python benchmarks/predict.py ratio        predict over the bare forward pass of the same scene
    python benchmarks/predict.py profile      where the time of predict goes, beside the forward pass
    python benchmarks/predict.py precision    classes in 16-bit arithmetic against those in fp32 on real SCENES
    python benchmarks/predict.py devices      one process against several that share the scene
    python benchmarks/predict.py framework    a 1 x 1 convolution as the network: seconds per megapixel, added memory
    python benchmarks/predict.py memory       peak memory at 8k, 16k, 32k squared, of a very wide and a very tall scene
    python benchmarks/predict.py agreement    pixels that agree with one forward pass over the whole scene, in fp32

Each measurement runs in a process of its own. `--side`, `--model` and `--threads` change what is measured; a model is a
bundle's path, default, pointwise (a 1 x 1 convolution), or a network with random weights: the name of an encoder of a
U-Net, or of an architecture and an encoder, as in segformer/mit_b1.
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
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window as RasterioWindow

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"


def make_scene(path: Path, height: int, width: int) -> Path:
    """Write a DEFLATE-compressed, tiled RGB scene: the sample scene, mirrored side by side."""
    with rasterio.open(SAMPLE / "scene.tif") as sample:
        image = sample.read([1, 2, 3])
    pattern = np.concatenate([image, image[:, :, ::-1]], axis=2)
    pattern = np.concatenate([pattern, pattern[:, ::-1]], axis=1)
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "photometric": "RGB", "crs": "EPSG:32617", "tiled": True,
        "transform": from_origin(3e5, 4.3e6, 0.6, 0.6), "compress": "deflate", "zlevel": 1, "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with rasterio.open(path, "w", height=height, width=width, **profile) as scene:
        for row in range(0, height, 512):
            rows = np.arange(row, min(row + 512, height)) % pattern.shape[1]
            for col in range(0, width, 8192):
                cols = np.arange(col, min(col + 8192, width)) % pattern.shape[2]
                window = RasterioWindow(col, row, len(cols), len(rows))
                scene.write(pattern[:, rows[:, None], cols], window=window)
    return path


def peak_rss() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_predict(scene: str, output: str, model: str | None, settings: dict[str, object]) -> dict[str, object]:
    """Predict once, after a small scene that warms everything up; time and memory of the second run."""
    import geoseg
    from geoseg.inference.tally import paint

    loaded = find_model(model)
    window = np.zeros((1024, 1024), np.uint8)
    paint(window, window == 0, window[0, :1])  # loads the compiled loop, which small scenes do without
    small = make_scene(Path(output) / "small.tif", 256, 256)
    geoseg.predict(small, output, model=loaded, overwrite=True, **settings)
    before = peak_rss()
    result = geoseg.predict(scene, output, model=loaded, overwrite=True, **settings)
    return {
        "seconds": result.seconds, "precision": result.precision, "forwarded": result.forwarded_px / result.scene_px,
        "polygons": result.polygons, "peak_mib": peak_rss() / 2**20, "added_mib": (peak_rss() - before) / 2**20,
        "mpx": result.scene_px / 1e6,
    }  # fmt: skip


def measure_forward(scene: str, model: str | None, precision: str, tile: int, fused: bool) -> dict[str, object]:
    """Forward the pixels of a scene in tiles without overlap, held in memory: the network's own arithmetic, with the
    normalisation in front of it and nothing behind it; as predict does, or as PyTorch comes. One tile at a time, which
    is as fast as several on a CPU."""
    import torch

    from geoseg.core.memory import kept_memory
    from geoseg.models.runner import Runner, RunnerOptions, choose_device

    loaded = find_model(model)
    device = choose_device("auto")
    if fused:
        runner = Runner(
            loaded.module, "auto", precision, RunnerOptions(bands=len(loaded.spec.bands), ranges=loaded.ranges)
        )

        def forward(image: np.ndarray) -> object:
            return runner(image)
    else:
        network = loaded.module.to(device).to(memory_format=torch.channels_last).eval()

        def forward(image: np.ndarray) -> object:
            values = torch.from_numpy(image).to(device).float()  # laid out by the network itself, once it is normalised
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision != "fp32"):
                return network(values)

    with rasterio.open(scene) as dataset:
        tiles = [
            dataset.read(window=RasterioWindow(col, row, tile, tile))[None]
            for row in range(0, dataset.height - tile + 1, tile)
            for col in range(0, dataset.width - tile + 1, tile)
        ]
    with kept_memory() if fused else nullcontext():
        forward(tiles[0])
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.monotonic()
        for image in tiles:
            forward(image)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return {"seconds": time.monotonic() - started, "mpx": len(tiles) * tile**2 / 1e6}


def find_model(name: str | None):
    """A bundle, the default model, a 1 x 1 convolution (pointwise), or a network of an architecture and an encoder."""
    import torch

    from geoseg import ClassSpec, Model, ModelSpec, NetworkSpec, NormalizationSpec, load_model
    from geoseg.models.build import build_network

    if name is None or name == "default" or name.endswith(".safetensors"):
        return load_model(name)
    architecture, _, encoder = name.rpartition("/")
    network = {"architecture": "pointwise"}
    if name != "pointwise":
        network = {"architecture": architecture or "unet", "encoder": encoder}
    from geoseg.models.quantization.network import find_ranges
    from geoseg.training.run.fit_seams import find_seams

    torch.manual_seed(0)
    spec = ModelSpec(
        name=name, network=NetworkSpec(**network), bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(50,) * 3), resolution_m=0.6,
        classes=tuple(ClassSpec(id=i, name=f"class {i}", color="#808080") for i in range(5)),
    )  # fmt: skip
    with rasterio.open(SAMPLE / "scene.tif") as sample:
        window = torch.from_numpy(sample.read([1, 2, 3])[None, :, :512, :512])
    model = Model(spec, build_network(spec).eval())
    spec = spec.model_copy(update={"seams": find_seams(model, window.numpy(), "cpu")})
    return Model(spec, model.module, ranges=find_ranges(model.module, [window]))


def measure_agreement(scene: str, output: str, model: str | None) -> dict[str, object]:
    """Compare the class raster with one forward pass over the whole scene, padded alike, in fp32."""
    import torch

    import geoseg
    from geoseg.inference.windows import BORDER

    loaded = geoseg.load_model(model)
    result = geoseg.predict(
        scene, output, model=loaded, overwrite=True, precision="fp32", polygons=False, preview=False
    )
    with rasterio.open(scene) as dataset:
        image = dataset.read([1, 2, 3]).astype(np.float32)
    height, width = image.shape[1:]
    multiple = loaded.spec.network.multiple
    rows, cols = (-(-(n + 2 * BORDER) // multiple) * multiple - n - BORDER for n in (height, width))
    padded = np.pad(image, ((0, 0), (BORDER, rows), (BORDER, cols)), mode="reflect")
    with torch.inference_mode():
        whole = loaded.module(torch.from_numpy(padded)[None])[0].argmax(0).numpy()
    with rasterio.open(result.paths["landcover"]) as dataset:
        agree = dataset.read(1) == whole[BORDER : BORDER + height, BORDER : BORDER + width]
    sides = {"top": agree[:8], "bottom": agree[-8:], "left": agree[:, :8], "right": agree[:, -8:]}
    return {"all": float(agree.mean())} | {side: float(part.mean()) for side, part in sides.items()}


def apart(function: str, *arguments: object, threads: int, large_pages: bool = True) -> dict[str, Any]:
    """Call a function of this file in a process of its own, with the large pages that geoseg asks for or as PyTorch
    comes."""
    code = (
        f"import sys, json, torch; torch.set_num_threads({threads}); "
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        f"import predict; print(json.dumps(predict.{function}(*json.loads(sys.argv[1]))))"
    )
    environment = os.environ | ({} if large_pages else {"THP_MEM_ALLOC_ENABLE": "0"})
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)], check=True, stdout=subprocess.PIPE, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


RASTER_ONLY = {"polygons": False, "preview": False, "stac": False}


def run_ratio(folder: Path, options: argparse.Namespace) -> None:
    """Predict, with and without polygons, over the bare forward pass in PyTorch, and of what predict makes of it.

    All ways run in turn, every other time the other way round; the fastest run of each counts.
    """
    scene = str(make_scene(folder / "scene.tif", options.side, options.side))
    ways = [(settings, precision) for precision in options.precisions for settings in (RASTER_ONLY, {})]
    passes = {("bf16" if precision == "int8" else precision, False) for precision in options.precisions}
    passes |= {(precision, True) for precision in options.precisions}
    bare: dict[tuple[str, bool], list[float]] = {one: [] for one in sorted(passes)}
    made: list[list[dict[str, Any]]] = [[] for _ in ways]

    def forward(precision: str, fused: bool) -> None:
        given = scene, options.model, precision, 1024, fused
        run = apart("measure_forward", *given, threads=options.threads, large_pages=fused)
        bare[precision, fused].append(run["seconds"] / run["mpx"])

    def predict(number: int) -> None:
        settings, precision = ways[number]
        given = scene, str(folder), options.model, settings | {"precision": precision}
        made[number].append(apart("measure_predict", *given, threads=options.threads))

    steps = [partial(forward, *one) for one in bare] + [partial(predict, number) for number in range(len(ways))]
    for turn in range(options.runs):
        for step in steps[:: -1 if turn % 2 else 1]:
            step()
    for (settings, precision), runs in zip(ways, made, strict=True):
        floats = "bf16" if precision == "int8" else precision  # integers over the bare pass in bf16
        plain, own = min(bare[floats, False]), min(bare[precision, True])
        run = min(runs, key=lambda run: run["seconds"]["total"])
        total, again = run["seconds"]["total"] / run["mpx"], run["forwarded"]
        print(
            f"{options.side}² {run['precision']} {'raster only' if settings else 'with polygons and preview'}: "
            f"{total:.3f} s/Mpx; over bare {floats} of PyTorch ({plain:.3f}) {total / plain:.2f}; over that, fused "
            f"({own:.3f}) {total / own:.2f}, of as many pixels as were forwarded ({again:.3f} x) "
            f"{total / own / again:.2f}; {run['added_mib']:.0f} MiB above a 256² scene  {run['seconds']}"
        )


def run_framework(folder: Path, options: argparse.Namespace) -> None:
    """The framework's own cost: a 1 x 1 convolution on 6000 x 6000 pixels."""
    scene = str(make_scene(folder / "scene.tif", 6000, 6000))
    for precision in ("fp32", "auto"):
        given = scene, str(folder), "pointwise", RASTER_ONLY | {"precision": precision}
        made = apart("measure_predict", *given, threads=options.threads)
        print(
            f"6000² 1 x 1 convolution {made['precision']}: {made['seconds']['total'] / made['mpx']:.3f} s/Mpx, "
            f"{made['added_mib']:.0f} MiB above a 256² scene, {made['peak_mib']:.0f} MiB in all  {made['seconds']}"
        )


def run_memory(folder: Path, options: argparse.Namespace) -> None:
    """Peak memory by scene size; the raster alone, since polygons are held until they are written."""
    for height, width in ((8192, 8192), (16384, 16384), (32768, 32768), (2048, 204800), (204800, 2048)):
        scene = str(make_scene(folder / "scene.tif", height, width))
        made = apart(
            "measure_predict", scene, str(folder), options.model or "pointwise", RASTER_ONLY, threads=options.threads
        )
        print(f"{height} x {width}: peak {made['peak_mib']:.0f} MiB, {made['added_mib']:.0f} above a 256² scene")


def measure_profile(scene: str, output: str, model: str | None, settings: dict[str, object]) -> dict[str, object]:
    """Predict once, with a clock around each step of the thread that forwards, and the CPU time of all others."""
    import geoseg
    from geoseg.inference import tile_rows
    from geoseg.inference.blend import Blender
    from geoseg.models.runner import Runner

    spent: dict[str, float] = {}

    def timed(name, function):
        def call(*arguments, **named):
            started = time.monotonic()
            try:
                return function(*arguments, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.monotonic() - started

        return call

    def reading(items, depth):
        batches = iter(read_ahead(items, depth))
        while (item := timed("waiting for reading", next)(batches, None)) is not None:
            yield item

    read_ahead = tile_rows.read_ahead
    loaded = find_model(model)
    small = make_scene(Path(output) / "small.tif", 256, 256)
    geoseg.predict(small, output, model=loaded, overwrite=True, **settings)
    tile_rows.read_ahead = reading
    Runner.__call__ = timed("forward", Runner.__call__)
    Blender.feed = timed("blending", Blender.feed)
    tile_rows.decide = timed("deciding", tile_rows.decide)
    tile_rows.WriteBehind.put = timed("waiting for writing", tile_rows.WriteBehind.put)
    result = geoseg.predict(scene, output, model=loaded, overwrite=True, **settings)
    return {"spent": spent, "seconds": result.seconds, "mpx": result.scene_px / 1e6, "precision": result.precision}


def run_profile(folder: Path, options: argparse.Namespace) -> None:
    """Where the time goes."""
    scene = str(make_scene(folder / "scene.tif", options.side, options.side))
    made = apart("measure_profile", scene, str(folder), options.model, RASTER_ONLY, threads=options.threads)
    total = made["seconds"]["total"]
    rest = made["seconds"]["predict"] - sum(made["spent"].values())
    steps = made["spent"] | {"the rest": rest, "writing the COG": made["seconds"]["write"]}
    print(
        f"{options.side}² {made['precision']}, {total:.1f} s: "
        + ", ".join(f"{k} {v / total:.1%}" for k, v in steps.items())
    )


def measure_precision(scene: str, output: str, settings: dict[str, object]) -> dict[str, object]:
    """Probabilities of a scene in fp32 against the classes in 16-bit arithmetic."""
    import geoseg

    kept = {}
    for precision in ("fp32", "auto"):
        scores = Path(output) / f"{precision}.tif"
        result = geoseg.predict(scene, output, overwrite=True, precision=precision, scores=scores, **settings)
        kept[precision] = scores
    differ = clear = clear_differ = pixels = 0
    with rasterio.open(kept["fp32"]) as exact, rasterio.open(kept["auto"]) as rounded:
        for _, window in exact.block_windows():
            p, q = exact.read(window=window), rounded.read(window=window)
            valid = np.isfinite(p).all(axis=0)
            best = np.sort(p[:, valid], axis=0)
            apart = p[:, valid].argmax(axis=0) != q[:, valid].argmax(axis=0)
            is_clear = best[-1] - best[-2] > 0.1
            pixels, differ = pixels + int(valid.sum()), differ + int(apart.sum())
            clear, clear_differ = clear + int(is_clear.sum()), clear_differ + int((apart & is_clear).sum())
    return {"precision": result.precision, "pixels": pixels, "differ": differ / pixels, "clear": clear / pixels,
            "clear_agree": 1 - clear_differ / max(1, clear)}  # fmt: skip


def run_precision(folder: Path, options: argparse.Namespace) -> None:
    """16-bit arithmetic against fp32 on real scenes."""
    for scene in options.scenes:
        made = apart("measure_precision", scene, str(folder), RASTER_ONLY, threads=options.threads)
        print(
            f"{Path(scene).name}: {made['pixels'] / 1e6:.1f} Mpx, {made['precision']} differs from fp32 in "
            f"{made['differ']:.3%}; where fp32's two best are more than 0.1 apart ({made['clear']:.1%} of the pixels) "
            f"{made['clear_agree']:.4%} agree"
        )


def run_devices(folder: Path, options: argparse.Namespace) -> None:
    """One process with a single thread against two of them."""
    scene = str(make_scene(folder / "scene.tif", options.side, options.side))
    spent = {}
    for devices in ("1", "2"):
        settings = RASTER_ONLY | {"devices": devices}
        made = apart("measure_predict", scene, str(folder), options.model, settings, threads=1)
        spent[devices] = made["seconds"]["predict"]
    print(
        f"{options.side}² {made['precision']}: {spent['1']:.1f} s in one process, {spent['2']:.1f} s in two, with the "
        f"start of theirs: {spent['1'] / spent['2']:.2f} times as fast"
    )


def run_agreement(folder: Path, options: argparse.Namespace) -> None:
    """Agreement with the whole-scene forward pass."""
    sys.path.insert(0, str(SAMPLE))
    from make_sample_data import make_scene as make_landscape

    image, _ = make_landscape(1900, 2300, 5)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", height=1900, width=2300, count=3, dtype="uint8", photometric="RGB",
        crs="EPSG:32617", transform=from_origin(3e5, 4.3e6, 0.6, 0.6),
    ) as dataset:  # fmt: skip
        dataset.write(image[:3])
    made = apart("measure_agreement", str(folder / "scene.tif"), str(folder), options.model, threads=options.threads)
    print("1900 x 2300 fp32: " + ", ".join(f"{where} {share:.3%}" for where, share in made.items()))


RUNS = {
    "ratio": run_ratio, "profile": run_profile, "framework": run_framework, "memory": run_memory,
    "agreement": run_agreement, "precision": run_precision, "devices": run_devices,
}  # fmt: skip


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(RUNS))
    parser.add_argument("scenes", nargs="*", help="scenes for `precision`")
    parser.add_argument("--side", type=int, default=4096, help="side of the scene for `ratio`, `profile`, `devices`")
    parser.add_argument("--model", help="bundle; default: the default model (for `memory`: a 1 x 1 convolution)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=2, help="of each way, for `ratio`")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"], help="for `ratio`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        RUNS[options.what](Path(folder), options)


if __name__ == "__main__":
    main()
