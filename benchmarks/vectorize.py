"""What polygons cost, against today's ways, and whether they are right, at any size.

    python benchmarks/vectorize.py rivals             time and memory on one raster, each way in its own process
    python benchmarks/vectorize.py command RASTER...  whole commands, from the start of Python to the end
    python benchmarks/vectorize.py proof RASTER...    burnt back, coverage, and memory, raw and generalised

Without a RASTER, proof makes one of 20,000 × 20,000 pixels. `--side` sets the side of the rasters that are made. GDAL's
own gdal_polygonize.py is measured where it is installed. Ways run in turn, `--rounds` times, every other time the other
way round; ratios are of one round, so that other work on the machine disturbs them less. All modules are compiled
beforehand, as an installation keeps them, also where the environment says otherwise (PYTHONDONTWRITEBYTECODE).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from scipy import ndimage

CLASSES = 6
PATCH_PX = 14.0
"""How smooth the classes' fields are."""
TILE = 2048
WAYS = ("geoseg", "rasterio", "gdal")
SCRIPT = """
import sys
import geopandas, rasterio
from rasterio.features import shapes
from shapely.geometry import shape
with rasterio.open(sys.argv[1]) as opened:
    ids, crs = opened.read(1), opened.crs
    found = list(shapes(ids, ids != opened.nodata, connectivity=4, transform=opened.transform))
geometry = [shape(polygon) for polygon, _ in found]
frame = geopandas.GeoDataFrame({"class_id": [int(value) for _, value in found]}, geometry=geometry, crs=crs)
frame.to_file(sys.argv[2], engine="pyogrio")
"""
"""Today's way, as a program."""
SETTINGS = {"raw": [], "generalised": ["--simplify", "1px", "--min-area", "9px", "--fill-holes", "9px"]}


def write_raster(path: Path, side: int) -> None:
    """A raster of ragged patches, a tile at a time: the largest of some smooth random fields."""
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "nodata": 255,
        "crs": "EPSG:32617", "transform": from_origin(3e5, 4.3e6, 0.6, 0.6), "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate",
    }  # fmt: skip
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **profile) as raster:
        for row in range(0, side, TILE):
            for col in range(0, side, TILE):
                fields = rng.standard_normal((CLASSES, TILE, TILE), np.float32)
                smooth = [ndimage.gaussian_filter(field, PATCH_PX, mode="wrap") for field in fields]
                height, width = min(TILE, side - row), min(TILE, side - col)
                ids = np.argmax(smooth, axis=0).astype(np.uint8)[:height, :width]
                raster.write(ids, 1, window=rasterio.windows.Window(col, row, width, height))


# ---------------------------------------------------------------------------------------------------------------- ways


def run_geoseg(raster: Path, output: Path) -> tuple[float, float, int]:
    """Seconds to geometry in memory (as WKB), seconds for all of it, and polygons."""
    from geoseg.raster.legend import Legend
    from geoseg.vector.polygonize import polygonize
    from geoseg.vector.write import write_polygons

    small = polygonize(raster.with_name("small.tif"), None, Legend())
    write_polygons(small, output.with_name("small.gpkg"))  # compiled code is loaded
    start = time.perf_counter()
    batches = list(polygonize(raster, None, Legend()).batches())
    geometry = time.perf_counter() - start
    del batches
    start = time.perf_counter()
    layer = polygonize(raster, None, Legend())
    write_polygons(layer, output)
    return geometry, time.perf_counter() - start, len(layer)


def run_rasterio(raster: Path, output: Path) -> tuple[float, float, int]:
    """The same with rasterio.features.shapes, shapely, geopandas and pyogrio."""
    import geopandas
    from rasterio.features import shapes
    from shapely.geometry import shape

    start = time.perf_counter()
    with rasterio.open(raster) as opened:
        found = list(shapes(opened.read(1), connectivity=4, transform=opened.transform))
        crs = opened.crs
    geometry = [shape(polygon) for polygon, _ in found]
    frame = geopandas.GeoDataFrame({"class_id": [int(value) for _, value in found]}, geometry=geometry, crs=crs)
    middle = time.perf_counter()
    frame.to_file(output, engine="pyogrio")
    return middle - start, time.perf_counter() - start, len(frame)


def run_gdal(raster: Path, output: Path) -> tuple[float, float, int]:
    """GDAL's program, which writes as it goes."""
    import pyogrio

    program = shutil.which("gdal_polygonize.py") or shutil.which("gdal_polygonize")
    if program is None:
        raise SystemExit("gdal_polygonize is not installed")
    start = time.perf_counter()
    subprocess.run([program, "-q", str(raster), "-f", "GPKG", str(output)], check=True)
    return float("nan"), time.perf_counter() - start, pyogrio.read_info(output)["features"]


def run_way(name: str, raster: Path) -> None:
    """Measure one way in this process, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        run = {"geoseg": run_geoseg, "rasterio": run_rasterio, "gdal": run_gdal}[name]
        geometry, together, polygons = run(raster, Path(folder) / "out.gpkg")
    who = resource.RUSAGE_CHILDREN if name == "gdal" else resource.RUSAGE_SELF
    memory = resource.getrusage(who).ru_maxrss / 1024
    print(geometry, together, memory, polygons)


def rivals(side: int, rounds: int) -> None:
    """All ways, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "classes.tif"
        write_raster(raster, side)
        write_raster(raster.with_name("small.tif"), 64)
        taken: dict[str, list[list[float]]] = {name: [] for name in WAYS}
        for number in range(rounds):
            for name in WAYS[:: -1 if number % 2 else 1]:
                command = [sys.executable, __file__, "way", name, str(raster)]
                run = subprocess.run(command, capture_output=True, text=True, env=environment(folder), check=False)
                if run.returncode:
                    print(run.stderr.strip().splitlines()[-1])
                    continue
                geometry, together, memory, polygons = map(float, run.stdout.split())
                taken[name].append([geometry, together])
                found = f"{memory:7,.0f} MiB   {polygons:,.0f} polygons"
                print(f"{name:<10} geometry {geometry:7.2f} s   all {together:7.2f} s   {found}", flush=True)
    for name in WAYS[1:]:
        ratios = [
            [b / a for a, b in zip(*pair, strict=True)] for pair in zip(taken["geoseg"], taken[name], strict=False)
        ]
        for kind, values in zip(("geometry", "all"), zip(*ratios, strict=True), strict=False):
            print(f"{name} over geoseg, {kind}: {spread(values)}")


def spread(values: tuple[float, ...] | list[float]) -> str:
    """Median and range of ratios."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def environment(folder: str) -> dict[str, str]:
    """The environment with compiled modules kept in a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}


# ------------------------------------------------------------------------------------------------------------- command


def commands(rasters: list[Path], rounds: int) -> None:
    """`geoseg vectorize` and a script of today's way, as processes."""
    with tempfile.TemporaryDirectory() as folder:
        output = [str(Path(folder) / "p.gpkg")]
        for raster in rasters:
            ways = {
                "geoseg": ["-m", "geoseg", "vectorize", str(raster), "--overwrite", "-o", *output],
                "rasterio": ["-c", SCRIPT, str(raster), *output],
            }
            for arguments in ways.values():  # modules are compiled, the raster is in memory
                seconds_of(arguments, folder)
            ratios = []
            for number in range(rounds):
                names = list(ways)[:: -1 if number % 2 else 1]
                taken = {name: seconds_of(ways[name], folder) for name in names}
                ratios.append([b / a for a, b in zip(taken["geoseg"], taken["rasterio"], strict=True)])
                print(
                    "   ".join(f"{name} {s:.2f} s, {cpu:.2f} s of cores" for name, (s, cpu) in taken.items()),
                    flush=True,
                )
            for kind, values in zip(("seconds", "seconds of cores"), zip(*ratios, strict=True), strict=True):
                print(f"{raster.name}, {kind}, rasterio over geoseg: {spread(values)}")


def seconds_of(arguments: list[str], folder: str) -> tuple[float, float]:
    """Seconds that a Python process takes, and those of all cores."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment(folder), stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


# --------------------------------------------------------------------------------------------------------------- proof


def proof(rasters: list[Path], side: int) -> None:
    """Check the polygons of rasters, raw and generalised, and tell the memory it takes to make them."""
    with tempfile.TemporaryDirectory() as folder:
        if not rasters:
            rasters = [Path(folder) / f"{side}.tif"]
            write_raster(rasters[0], side)
        for raster in rasters:
            for name, flags in SETTINGS.items():
                output = Path(folder) / f"{raster.stem}.gpkg"
                command = [sys.executable, "-m", "geoseg", "vectorize", str(raster), "-o", str(output), "--overwrite"]
                print(f"{raster.name}, {name}: {peak_mib([*command, *flags]):,.0f} MiB", flush=True)
                subprocess.run([*command, *flags, "--check"], check=True)


def peak_mib(command: list[str]) -> float:
    """Peak resident memory of a command."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    run = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return float(run.stdout)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rivals", "command", "proof", "way"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--side", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_intermixed_args()
    if given.what == "way":
        run_way(given.names[0], Path(given.names[1]))
    elif given.what == "rivals":
        rivals(given.side or 8192, given.rounds)
    elif given.what == "command":
        commands([Path(name) for name in given.names], given.rounds)
    else:
        proof([Path(name) for name in given.names], given.side or 20_000)


if __name__ == "__main__":
    main()
