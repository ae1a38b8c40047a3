"""What polygons cost, against today's ways, and whether they are right, at any size.

    python benchmarks/vectorize.py rivals             time and memory on one raster, each way in its own process
    python benchmarks/vectorize.py proof RASTER...    burnt back, coverage, and memory, raw and generalised

Without a RASTER, proof makes one of 20,000 × 20,000 pixels. `--side` sets the side of the rasters that are made. GDAL's
own gdal_polygonize.py is measured where it is installed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
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
    """Seconds to geometry in memory (as WKB), seconds to write, and polygons."""
    from geoseg.raster.legend import Legend
    from geoseg.vector.polygonize import polygonize
    from geoseg.vector.write import write_polygons

    polygonize(raster.with_name("small.tif"), None, Legend())  # compiled code is loaded
    start = time.perf_counter()
    layer = polygonize(raster, None, Legend())
    batches = list(layer.batches())
    middle = time.perf_counter()
    del batches
    write = time.perf_counter()
    write_polygons(layer, output)
    return middle - start, time.perf_counter() - write, len(layer)


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
    return middle - start, time.perf_counter() - middle, len(frame)


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
        geometry, write, polygons = run(raster, Path(folder) / "out.gpkg")
    who = resource.RUSAGE_CHILDREN if name == "gdal" else resource.RUSAGE_SELF
    memory = resource.getrusage(who).ru_maxrss / 1024
    print(f"{name:<10} geometry {geometry:7.2f} s   write {write:7.2f} s   {memory:7,.0f} MiB   {polygons:,} polygons")


def rivals(side: int) -> None:
    """All ways, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "classes.tif"
        write_raster(raster, side)
        write_raster(raster.with_name("small.tif"), 64)
        for name in WAYS:
            subprocess.run([sys.executable, __file__, "way", name, str(raster)], check=False)


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
    parser.add_argument("what", choices=["rivals", "proof", "way"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--side", type=int)
    given = parser.parse_args()
    if given.what == "way":
        run_way(given.names[0], Path(given.names[1]))
    elif given.what == "rivals":
        rivals(given.side or 8192)
    else:
        proof([Path(name) for name in given.names], given.side or 20_000)


if __name__ == "__main__":
    main()
