"""Where the results of a prediction go, and whether they may go there; decided before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from geoseg.errors import OutputError
from geoseg.files import quiet_georeferencing
from geoseg.scene import scene_name
from geoseg.spec import PredictSpec, parse_spec

RASTER_SUFFIXES = (".tif", ".tiff")
OTHER_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".parquet", ".png", ".jpg", ".vrt", ".img", ".jp2")
_PX_PER_BYTE = 30
"""Imagery stored in fewer bytes than this is mostly empty, and empty pixels take no space."""


@dataclass(frozen=True)
class OutputPaths:
    """The files one scene gives; None for those that are not wanted."""

    landcover: Path
    """Class raster."""
    polygons: Path | None
    """GeoPackage."""
    preview: Path | None
    """Picture."""
    scores: Path | None
    """Per-class probabilities."""
    confidence: Path | None
    """Probability of the chosen class."""
    style: Path
    """Style for QGIS (QML)."""
    sld: Path
    """Style for other programs (SLD)."""
    item: Path | None
    """STAC Item."""

    def __iter__(self) -> Iterator[Path]:
        return (path for path in vars(self).values() if path is not None)


def name_outputs(name: str, output: str | os.PathLike[str] | None, spec: PredictSpec) -> OutputPaths:
    """Name the results of a scene of that name: `output` is a folder, or the class raster itself if it ends in .tif.

    Raises:
        OutputError: if a path is clearly meant as another kind of file.
    """
    landcover = _raster_path("." if output is None else output, f"{name}_landcover.tif")
    return OutputPaths(
        landcover=landcover,
        polygons=landcover.with_suffix(".gpkg") if spec.polygons else None,
        preview=landcover.with_suffix(".png") if spec.preview else None,
        scores=_raster_path(spec.scores, f"{name}_scores.tif") if spec.scores else None,
        confidence=_raster_path(spec.confidence, f"{name}_confidence.tif") if spec.confidence else None,
        style=landcover.with_suffix(".qml"),
        sld=landcover.with_suffix(".sld"),
        item=landcover.with_suffix(".json") if spec.stac else None,
    )


def _raster_path(given: str | os.PathLike[str], name: str) -> Path:
    path = Path(given)
    if path.is_dir():
        return path / name
    if path.suffix.lower() in OTHER_SUFFIXES:
        raise OutputError(f"{path} is no class raster: give a folder, or a path that ends in .tif")
    return path if path.suffix.lower() in RASTER_SUFFIXES else path / name


def check_all_outputs(scenes: Sequence[str], output: str | None, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Refuse the outputs of any of several scenes before the first is begun.

    Raises:
        OutputError: naming the file and the way out.
    """
    spec = parse_spec(PredictSpec, settings, source="settings")
    for scene in scenes:
        check_outputs(name_outputs(scene_name(scene), output, spec), scene, overwrite=overwrite)


def check_outputs(paths: OutputPaths, scene: str, *, overwrite: bool) -> None:
    """Refuse outputs that exist, that are one another, or that would replace the scene.

    Raises:
        OutputError: naming the file and the way out.
    """
    wanted = list(paths)
    if len({path.resolve() for path in wanted}) < len(wanted):
        raise OutputError(f"two results would be the same file among {', '.join(map(str, wanted))}: name them apart")
    for path in wanted:
        if os.path.exists(scene) and path.resolve() == Path(scene).resolve():
            raise OutputError(f"{path} is the scene itself: choose another --output")
        if path.is_dir():
            raise OutputError(f"{path} is a folder: choose another --output")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --output")


def is_done(paths: OutputPaths, fingerprint: str) -> bool:
    """Whether all results are there, made from the same scene and model with the same settings.

    Raises:
        OutputError: if they were made from others.
    """
    if not paths.landcover.exists():
        return False
    try:
        with quiet_georeferencing(), rasterio.open(paths.landcover) as raster:
            made_from = raster.tags().get("GEOSEG_FINGERPRINT")
    except RasterioError:
        made_from = None
    if made_from != fingerprint:
        raise OutputError(
            f"{paths.landcover} exists, made from another scene or model or with other settings: pass --overwrite to "
            "replace it, or choose another --output"
        )
    return all(path.exists() for path in paths)


def check_space(folder: Path, scene: str, pixels: int, bytes_per_pixel: int) -> None:
    """Refuse work whose files would not fit on the disk.

    Raises:
        OutputError: naming the space needed and the space there is.
    """
    if os.path.isfile(scene):
        pixels = min(pixels, _PX_PER_BYTE * os.path.getsize(scene))
    needed = pixels * bytes_per_pixel
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OutputError(
            f"{existing} has {free / 1e6:,.0f} MB free, this scene needs up to {needed / 1e6:,.0f} MB while it is "
            "predicted: choose another --output"
        )
