"""What `geoseg predict` costs beside the network's own arithmetic, on scenes that it makes itself.

    python benchmarks/predict.py ratio        predict over the bare forward pass of the same scene
    python benchmarks/predict.py framework    a 1 x 1 convolution as the network: seconds per megapixel, added memory
    python benchmarks/predict.py memory       peak memory at 4k, 8k, 16k squared, of a very wide and a very tall scene
    python benchmarks/predict.py agreement    pixels that agree with one forward pass over the whole scene, in fp32

Each measurement runs in a process of its own. `--side`, `--model` and `--threads` change what is measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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

    loaded = pointwise_model() if model == "pointwise" else geoseg.load_model(model)
    small = make_scene(Path(output) / "small.tif", 256, 256)
    geoseg.predict(small, output, model=loaded, overwrite=True, **settings)
    before = peak_rss()
    result = geoseg.predict(scene, output, model=loaded, overwrite=True, **settings)
    return {
        "seconds": result.seconds, "precision": result.precision, "forwarded": result.forwarded_px / result.scene_px,
        "polygons": result.polygons, "peak_mib": peak_rss() / 2**20, "added_mib": (peak_rss() - before) / 2**20,
        "mpx": result.scene_px / 1e6,
    }  # fmt: skip


def measure_forward(scene: str, model: str | None, precision: str, tile: int) -> dict[str, object]:
    """Forward the pixels of a scene in tiles without overlap, held in memory: the network's own arithmetic."""
    import geoseg
    from geoseg.models import Runner

    runner = Runner(geoseg.load_model(model).module, precision=precision)
    with rasterio.open(scene) as dataset:
        tiles = [
            dataset.read(window=RasterioWindow(col, row, tile, tile))[None]
            for row in range(0, dataset.height - tile + 1, tile)
            for col in range(0, dataset.width - tile + 1, tile)
        ]
    runner._forward(tiles[0])
    started = time.monotonic()
    for image in tiles:
        runner._forward(image)
    seconds = time.monotonic() - started
    return {"seconds": seconds, "mpx": len(tiles) * tile**2 / 1e6, "precision": runner.precision}


def pointwise_model():
    """A 1 x 1 convolution from three bands to five classes."""
    from geoseg import ClassSpec, Model, ModelSpec, NetworkSpec, NormalizationSpec
    from geoseg.models import build_network

    spec = ModelSpec(
        name="pointwise", network=NetworkSpec(architecture="pointwise"), bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(120,) * 3, std=(50,) * 3), resolution_m=0.6,
        classes=tuple(ClassSpec(id=i, name=f"class {i}", color="#808080") for i in range(5)),
    )  # fmt: skip
    return Model(spec, build_network(spec).eval())


def measure_agreement(scene: str, output: str, model: str | None) -> dict[str, object]:
    """Compare the class raster with one forward pass over the whole scene, padded alike, in fp32."""
    import torch

    import geoseg
    from geoseg.pipelines.job import BORDER

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


def apart(function: str, *arguments: object, threads: int) -> dict[str, object]:
    """Call a function of this file in a process of its own."""
    code = (
        f"import sys, json, torch; torch.set_num_threads({threads}); "
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        f"import predict; print(json.dumps(predict.{function}(*json.loads(sys.argv[1]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


RASTER_ONLY = {"polygons": False, "preview": False}


def run_ratio(folder: Path, options: argparse.Namespace) -> None:
    """Predict, with and without polygons, over the bare forward pass."""
    scene = str(make_scene(folder / "scene.tif", options.side, options.side))
    for precision in ("fp32", "auto"):
        bare = apart("measure_forward", scene, options.model, precision, 1024, threads=options.threads)
        per_mpx = bare["seconds"] / bare["mpx"]
        for name, settings in (("raster only", RASTER_ONLY), ("with polygons and preview", {})):
            made = apart(
                "measure_predict",
                scene,
                str(folder),
                options.model,
                settings | {"precision": precision},
                threads=options.threads,
            )
            total = made["seconds"]["total"] / made["mpx"]
            print(
                f"{options.side}² {made['precision']} {name}: {total:.3f} s/Mpx over {per_mpx:.3f} bare = "
                f"{total / per_mpx:.2f} (forwarded {made['forwarded']:.2f} x)  {made['seconds']}"
            )


def run_framework(folder: Path, options: argparse.Namespace) -> None:
    """The framework's own cost: a 1 x 1 convolution on 6000 x 6000 pixels."""
    scene = str(make_scene(folder / "scene.tif", 6000, 6000))
    for precision in ("fp32", "auto"):
        made = apart(
            "measure_predict",
            scene,
            str(folder),
            "pointwise",
            RASTER_ONLY | {"precision": precision},
            threads=options.threads,
        )
        print(
            f"6000² 1 x 1 convolution {made['precision']}: {made['seconds']['total'] / made['mpx']:.3f} s/Mpx, "
            f"{made['added_mib']:.0f} MiB above a 256² scene, {made['peak_mib']:.0f} MiB in all  {made['seconds']}"
        )


def run_memory(folder: Path, options: argparse.Namespace) -> None:
    """Peak memory by scene size; the raster alone, since polygons are held until they are written."""
    for height, width in ((4096, 4096), (8192, 8192), (16384, 16384), (2048, 131072), (131072, 2048)):
        scene = str(make_scene(folder / "scene.tif", height, width))
        made = apart(
            "measure_predict", scene, str(folder), options.model or "pointwise", RASTER_ONLY, threads=options.threads
        )
        print(f"{height} x {width}: peak {made['peak_mib']:.0f} MiB, {made['added_mib']:.0f} above a 256² scene")


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


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ratio", "framework", "memory", "agreement"])
    parser.add_argument("--side", type=int, default=4096, help="side of the scene for `ratio`")
    parser.add_argument("--model", help="bundle; default: the default model (for `memory`: a 1 x 1 convolution)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        {"ratio": run_ratio, "framework": run_framework, "memory": run_memory, "agreement": run_agreement}[
            options.what
        ](Path(folder), options)


if __name__ == "__main__":
    main()
