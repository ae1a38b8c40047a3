"""`geoseg info --env`: where geoseg runs, as a report of a fault needs it.

In: the running process. Out: plain values, without secrets and without the user's home folder. What is broken is
described instead of raised, and PyTorch is imported only where there may be an accelerator.
"""

from __future__ import annotations

import locale
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoseg.core.files import one_line
from geoseg.core.redaction import public_text
from geoseg.core.version import __version__

_PACKAGES = (
    "torch", "torchvision", "lightning", "timm", "segmentation-models-pytorch", "kornia", "safetensors", "numpy",
    "numba", "rasterio", "pyogrio", "geopandas", "pandas", "pyproj", "shapely", "pyarrow", "pillow", "pydantic",
    "click", "distributed",
)  # fmt: skip
RASTER_DRIVERS = (
    "GTiff", "COG", "VRT", "GTI", "JP2OpenJPEG", "JPEG", "PNG", "WEBP", "HFA", "ENVI", "netCDF", "HDF5", "Zarr",
    "SENTINEL2", "WMS", "WMTS", "MBTiles", "STACIT", "HTTP",
)  # fmt: skip
"""GDAL's drivers of the rasters that scenes come in, and of servers."""
VECTOR_DRIVERS = (
    "GPKG", "ESRI Shapefile", "GeoJSON", "FlatGeobuf", "Parquet", "PMTiles", "MBTiles", "OpenFileGDB", "LIBKML", "GML",
)  # fmt: skip
"""GDAL's drivers of labels, areas of interest and polygons; GeoParquet is also written and read without one."""
_VARIABLES = re.compile(
    r"(GDAL|CPL|OGR|PROJ|VSI|VRT|GTIFF|GEOSEG|OMP|MKL|OPENBLAS|CUDA|NVIDIA|PYTORCH|TORCHINDUCTOR|NUMBA|LC|CURL|SSL|AWS|"
    r"AZURE|GS|GOOGLE)_.*|PYTHONPATH|LANG|(HTTPS?|NO|ALL)_PROXY",
    re.IGNORECASE,
)
"""Environment variables that change what the libraries do."""
_SECRET = re.compile(
    r"AWS_(?!REGION|DEFAULT_REGION|NO_SIGN_REQUEST|REQUEST_PAYER)|AZURE_|GS_|GOOGLE_|"
    r".*(TOKEN|KEY|SECRET|PASS|PWD|AUTH|HEADER|COOKIE|CREDENTIAL|PROXY|USER|ACCOUNT)",
    re.IGNORECASE,
)
"""Variables of which only the name is shown."""
_ACCELERATORS = "/dev/nvidiactl", "/dev/dxg", "/dev/kfd"
"""Files that a Linux system with an accelerator for PyTorch has: of NVIDIA's driver, of WSL, of AMD's driver."""
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_MEMORY = Path("/proc/meminfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


def describe_environment() -> dict[str, Any]:
    """Versions, devices, drivers, memory and settings from outside, by their names."""
    variables = _variables(os.environ)  # libraries set some when they are imported
    values = {
        "geoseg": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "system": f"{platform.platform()}, {platform.machine()}",
        "encoding": f"{sys.getfilesystemencoding()}, {locale.getpreferredencoding(False)}",
        "cpus": _tried(_cpus),
        "memory": _tried(_memory),
        "devices": _tried(_devices),
        "packages": {name: _version(name) for name in _PACKAGES},
        "libraries": _libraries(),
        "raster_drivers": _tried(lambda: _among(RASTER_DRIVERS, _raster_drivers())),
        "vector_drivers": _tried(lambda: _among(VECTOR_DRIVERS, _vector_drivers())),
        "added_by_packages": _tried(_added),
        "variables": variables,
    }
    public: dict[str, Any] = _without_home(values)
    return public


def _tried(describe: Callable[[], Any]) -> Any:
    """What a function gives, or the reason why it gives nothing."""
    try:
        return describe()
    except Exception as error:  # a library that is broken raises anything, and that is what a report is for
        return f"failed: {type(error).__name__}: {one_line(error)}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# ----------------------------------------------------------------------------------------------------------- machine


def _cpus() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} usable of {os.cpu_count()}"


def _memory() -> str | None:
    """Memory of the machine, what of it is free, and the limit of a container; None where neither is known."""
    if not _MEMORY.exists():
        known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ())
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.1f} GB" if known else None
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", _MEMORY.read_text(), re.MULTILINE))
    text = f"{int(sizes['MemTotal']) / 1e6:.1f} GB, {int(sizes['MemAvailable']) / 1e6:.1f} GB of it available"
    limit = _CONTROL_GROUP.read_text().strip() if _CONTROL_GROUP.exists() else "max"
    return f"{text}, limited to {int(limit) / 1e9:.1f} GB" if limit.isdigit() else text


def _devices() -> list[str]:
    """What PyTorch can run on; the reason where a driver is there, and PyTorch cannot use it."""
    if sys.platform == "linux" and not any(map(os.path.exists, _ACCELERATORS)):
        return ["cpu"]
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            found.append(f"cuda:{index}: {device.name}, {device.total_memory / 1e9:.1f} GB")
    elif sys.platform == "linux":
        found.append(f"cuda: {_tried(lambda: torch.zeros(1, device='cuda').device)}")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


# --------------------------------------------------------------------------------------------------------- libraries


def _libraries() -> dict[str, Any]:
    """Versions of libraries inside of packages, each of which may bring its own."""
    return {
        "gdal_of_rasterio": _tried(lambda: _attribute("rasterio", "__gdal_version__")),
        "proj_of_rasterio": _tried(lambda: _attribute("rasterio", "__proj_version__")),
        "gdal_of_pyogrio": _tried(lambda: ".".join(map(str, _attribute("pyogrio", "__gdal_version__")))),
        "proj_of_pyproj": _tried(lambda: _attribute("pyproj", "proj_version_str")),
        "proj_data": _tried(lambda: _attribute("pyproj.datadir", "get_data_dir")()),
        "geos_of_shapely": _tried(lambda: _attribute("shapely", "geos_version_string")),
        "cuda_of_torch": _tried(_cuda_of_torch),
        "nvidia_driver": _tried(_nvidia_driver),
    }


def _attribute(module: str, name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(module), name)


def _cuda_of_torch() -> str | None:
    """The CUDA, or HIP, that PyTorch was built for; read from its files, as its import takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    found = re.findall(r"^(cuda|hip)\b[^=\n]*= *'([^']+)'", text, re.MULTILINE)
    return ", ".join(f"{name} {number}" for name, number in found) or None


def _nvidia_driver() -> str | None:
    return _NVIDIA_DRIVER.read_text().splitlines()[0] if _NVIDIA_DRIVER.exists() else None


def _raster_drivers() -> Iterable[str]:
    from rasterio.env import Env

    with Env() as env:
        names: Iterable[str] = env.drivers()
    return names


def _vector_drivers() -> Iterable[str]:
    from pyogrio import list_drivers

    names: Iterable[str] = list_drivers()
    return names


def _among(wanted: Iterable[str], there: Iterable[str]) -> dict[str, list[str]]:
    known = set(there)
    return {
        "there": [name for name in wanted if name in known],
        "missing": [name for name in wanted if name not in known],
    }


def _added() -> list[str]:
    """What other packages add to geoseg: package, version, and name in its set."""
    groups = [group for group in entry_points().groups if group.startswith("geoseg.")]
    return sorted(_origin(point) for group in groups for point in entry_points(group=group))


def _origin(point: EntryPoint) -> str:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
    return f"{package}: {point.group}: {point.name}"


# ---------------------------------------------------------------------------------------------------------- settings


def _variables(given: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that matter; of those that may hold a secret, that they are set."""
    return {
        name: "(set)" if _SECRET.match(name) else public_text(value)
        for name, value in sorted(given.items())
        if _VARIABLES.fullmatch(name) and value not in ("", os.devnull)
    }


def _without_home(value: Any) -> Any:
    """Values with ~ for the home folder, whose name is often that of a person."""
    if isinstance(value, dict):
        return {name: _without_home(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_home(inner) for inner in value]
    home = os.path.expanduser("~")
    return value.replace(home, "~") if isinstance(value, str) and len(home) > 1 else value
