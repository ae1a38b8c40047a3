"""Paths of the results of a prediction, checked before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.core.composites import paths_in
from geoseg.core.errors import OutputError
from geoseg.core.naming import LONGEST_FILE_NAME, is_utf8, shortened
from geoseg.vector.formats import FORMATS, check_extension

if TYPE_CHECKING:
    from geoseg.scenes import SceneRef
    from geoseg.spec import OutputSpec, PredictSpec

RASTER_SUFFIXES = (".tif", ".tiff")
OTHER_SUFFIXES = (*FORMATS.own, ".png", ".jpg", ".vrt", ".img", ".jp2")
_ITEM = ".json"
"""Ending of the STAC Item."""
_LONGEST_NAME = LONGEST_FILE_NAME - len(".aux.xml")
"""Bytes of a result's name, beside which another with a longer one may lie."""


@dataclass(frozen=True)
class OutputPaths:
    """The files of one scene; None for those that are not to be written."""

    landcover: Path
    """Class raster."""
    polygons: tuple[Path, ...]
    """Vector files, one for each format."""
    preview: Path | None
    """Picture."""
    scores: Path | None
    """Per-class probabilities."""
    confidence: Path | None
    """Probability of the chosen class."""
    uncertainty: Path | None
    """Uncertainty of the class."""
    instances: Path | None
    """Numbers of instances."""
    style: Path
    """Style for QGIS (QML)."""
    sld: Path
    """Style for other programs (SLD)."""
    item: Path | None
    """STAC Item."""

    def __iter__(self) -> Iterator[Path]:
        return iter(self.by_kind().values())

    def by_kind(self) -> dict[str, Path]:
        """All files by kind: the names of these fields, but for further formats of polygons, as in polygons_shp."""
        further = {f"polygons_{path.suffix[1:]}": path for path in self.polygons[1:]}
        files = {"landcover": self.landcover, "polygons": next(iter(self.polygons), None), **further}
        return {kind: path for kind, path in (vars(self) | files).items() if path is not None}


def name_outputs(name: str, output: str | os.PathLike[str] | None, spec: PredictSpec) -> OutputPaths:
    """Name the results of a scene of that name: `output` is a folder, or the class raster itself if it ends in .tif.

    Raises:
        OutputError: if a path is clearly meant as another kind of file.
    """
    name = shortened(name)
    landcover = _raster_path("." if output is None else output, f"{name}_landcover.tif")
    check_names([landcover])
    wanted = spec.output
    return OutputPaths(
        landcover=landcover,
        polygons=tuple(landcover.with_suffix(end) for end in _endings(wanted)) if wanted.polygons else (),
        preview=landcover.with_suffix(".png") if wanted.preview else None,
        scores=_raster_path(wanted.scores, f"{name}_scores.tif") if wanted.scores else None,
        confidence=_raster_path(wanted.confidence, f"{name}_confidence.tif") if wanted.confidence else None,
        uncertainty=_raster_path(wanted.uncertainty, f"{name}_uncertainty.tif") if wanted.uncertainty else None,
        instances=instances_path(landcover) if spec.vector.instances is not None else None,
        style=landcover.with_suffix(".qml"),
        sld=landcover.with_suffix(".sld"),
        item=landcover.with_suffix(_ITEM) if wanted.stac else None,
    )


def instances_path(path: Path) -> Path:
    """Path of the raster of instances beside a class raster, or beside polygons."""
    return path.with_name(f"{path.stem}_instances.tif")


def _endings(spec: OutputSpec) -> list[str]:
    """Endings of the vector files, each once.

    Raises:
        OutputError: if one names no format, or is that of the Item.
    """
    found = [check_extension(f"polygons.{name.strip().removeprefix('.')}") for name in spec.format]
    if spec.stac and _ITEM in found:
        raise OutputError("the STAC Item ends in .json: ask for the format geojson, or leave out the Item (no-stac)")
    return list(dict.fromkeys(found))


def _raster_path(given: str | os.PathLike[str], name: str) -> Path:
    path = Path(given)
    if os.path.isdir(path):
        return path / name
    if path.suffix.lower() in OTHER_SUFFIXES:
        raise OutputError(f"{path} is no class raster: give a folder, or a path that ends in .tif")
    return path if path.suffix.lower() in RASTER_SUFFIXES else path / name


def check_all_outputs(
    scenes: Sequence[SceneRef], output: str | os.PathLike[str] | None, spec: PredictSpec, *, overwrite: bool
) -> None:
    """Refuse the outputs of any of several scenes before the first is begun; lists every folder once.

    Raises:
        OutputError: naming the file and what to do.
    """
    from geoseg.scenes.paths import is_local

    if len(scenes) > 1:
        rasters = {f"--{kind}": getattr(spec.output, kind) for kind in ("scores", "confidence", "uncertainty")}
        _check_folders(len(scenes), {"--output": output, **rasters})
    folders = _Folders()
    taken = {folders.place(path) for scene in scenes for path in paths_in(scene.path) if is_local(path)}
    for scene in scenes:
        if scene.problem is not None:
            continue
        for path in name_outputs(scene.name, output, spec):
            if folders.place(path) in taken:
                raise OutputError(f"{path} is one of the scenes itself: choose another --output")
            if not overwrite and path.name in folders.names(path.parent):
                raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --output")


def _check_folders(scenes: int, given: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Refuse one file name for the results of several scenes."""
    for flag, path in given.items():
        if path is not None and Path(path).suffix.lower() in RASTER_SUFFIXES and not os.path.isdir(path):
            raise OutputError(f"{flag} {path} is one file for {scenes:,} scenes: give a folder")


class _Folders:
    """Names in folders, and their real paths; each folder is listed once."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}
        self._places: dict[str, str] = {}

    def names(self, folder: Path) -> frozenset[str]:
        """Names in a folder; none if it does not exist."""
        if folder not in self._names:
            with suppress(OSError):
                self._names[folder] = frozenset(os.listdir(folder))
        return self._names.setdefault(folder, frozenset())

    def place(self, path: str | os.PathLike[str]) -> tuple[str, str]:
        """Folder without links and name: the same for the same file, unless its name itself is a link."""
        folder, name = os.path.split(path)
        if folder not in self._places:
            self._places[folder] = os.path.realpath(folder)
        return self._places[folder], name


def check_outputs(paths: OutputPaths, scene: str, *, overwrite: bool) -> None:
    """Refuse outputs that exist, that are the same file, or that would replace the scene.

    Raises:
        OutputError: naming the file and what to do.
    """
    wanted = list(paths)
    check_names(wanted)
    if len({path.resolve() for path in wanted}) < len(wanted):
        raise OutputError(f"two results would be the same file among {', '.join(map(str, wanted))}: name them apart")
    for path in wanted:
        if any(os.path.exists(part) and path.resolve() == Path(part).resolve() for part in paths_in(scene)):
            raise OutputError(f"{path} is the scene itself: choose another --output")
        if path.is_dir():
            raise OutputError(f"{path} is a folder: choose another --output")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --output")


def check_names(paths: Iterable[Path]) -> None:
    """Refuse invalid file names before any work is done.

    Raises:
        OutputError: naming the file and what to do.
    """
    for path in paths:
        if not is_utf8(path):
            raise OutputError(f"{path} is no text in UTF-8: choose another --output")
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise OutputError(
                f"{path.name[:40]}... is longer than the name of a file can be: choose a shorter --output"
            )


def check_space(folder: Path, pixels: int, bytes_per_pixel: int, there: int = 0) -> None:
    """Refuse work whose files would not fit on the disk, not counting those that exist.

    Raises:
        OutputError: naming the needed and the free space.
    """
    needed = max(0, pixels * bytes_per_pixel - there)
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OutputError(
            f"{existing} has {free / 1e6:,.0f} MB free, this scene needs up to {needed / 1e6:,.0f} MB while it is "
            "predicted: choose another --output"
        )
