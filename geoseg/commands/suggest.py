"""`geoseg suggest`: where to label next, as places in scenes with a model's guess of the labels in them.

In: scenes, a model, a SuggestSpec. Out: a GeoPackage to be corrected in QGIS, and a result that describes it. A scene
is never held in memory: its pixels pass through the network as those of a prediction do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.commands.suggest_scenes import OfScene, ScannedScene, ScanRequest, scan
from geoseg.commands.written_places import ChosenPlace, PlacesInScenes
from geoseg.core.errors import OutputError, SceneError
from geoseg.core.events import SILENT, NoticeLog, Reporter, Stage
from geoseg.core.naming import shown_names
from geoseg.core.redaction import public_form
from geoseg.core.wording import number_of
from geoseg.data.labels.places import check_nothing_done
from geoseg.geo.crs import map_crs
from geoseg.geo.geodesy import pixel_size_m
from geoseg.inference.places.spread import Candidates, spread
from geoseg.inference.uncertainties import UNCERTAINTIES
from geoseg.inference.work_folder import only_run
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.outputs.places import check_places_file
from geoseg.raster.gdal import gdal_settings
from geoseg.scenes import find_scenes
from geoseg.scenes.find import SceneInput
from geoseg.spec import ClassSpec, parse_spec, split_existing
from geoseg.spec.settings import SuggestSettings
from geoseg.spec.suggest import PlacesSpec, SuggestSpec

_EARTH_M = 6_371_008.8
"""Mean radius of the earth."""
_LABELLED = 0.5
"""Share of a window's pixels with data from which on it counts as labelled, so that others are to differ from it."""


@dataclass(frozen=True)
class SuggestedPlace:
    """A place to label."""

    scene: str
    """Name of the scene."""
    row: int
    """First row, in pixels of the scene, or of its part in the area of interest."""
    column: int
    """First column."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    uncertainty: float
    """Mean uncertainty of its pixels, 0 to 1."""
    class_shares: dict[str, float]
    """Predicted share of each class in it, 0 to 1."""
    valid_share: float
    """Share of its pixels with data, 0 to 1."""


@dataclass(frozen=True)
class SuggestResult:
    """The result of `suggest`."""

    output: Path
    """The file of places."""
    model: str
    """Name of the model."""
    scenes: tuple[str, ...]
    """The scenes, without passwords, keys and signatures."""
    places: tuple[SuggestedPlace, ...]
    """The places, the best one first."""
    labels: int
    """Number of polygons in them."""
    windows: int
    """Number of windows that could have been chosen."""
    mean_uncertainty: float
    """Mean uncertainty of these windows, 0 to 1."""
    settings: dict[str, Any]
    """The settings, those of the classification as resolved for the first scene."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"output": str(self.output)}


def suggest(
    scenes: SceneInput | Sequence[SceneInput],
    output: str | os.PathLike[str],
    *,
    model: Model | str | os.PathLike[str] | None = None,
    exclude: Sequence[str | os.PathLike[str]] = (),
    asset: str | None = None,
    reporter: Reporter = SILENT,
    **settings: Unpack[SuggestSettings],
) -> SuggestResult:
    """Find places in scenes whose labels would teach a model most, and write them with its guess of the labels.

    Args:
        scenes: rasters, folders, patterns, lists or STAC Items, as `find_scenes` takes them.
        output: the file of places, ending in .gpkg.
        model: a bundle's path or a loaded model; None means the default model.
        exclude: what is labelled already: vector files (points and lines as wide as labels are by default), files of
            places (those that are done), rasters of labels.
        asset: key of the asset that is the scene, for STAC Items.
        reporter: takes notices, and the progress of `scenes`, `predicting`, `windows` and `polygons`.
        settings: fields of SuggestSpec; overwrite=True to replace a file that exists, unless a place in it is done;
            resume=True to go on where a run with the same scenes, model and settings was stopped.

    Raises:
        GeosegError: one line: what is wrong, what to do. What was computed is kept for `resume`.
    """
    started, log = time.monotonic(), NoticeLog(reporter)
    existing, rest = split_existing(settings)
    spec = parse_spec(SuggestSpec, rest, source="settings")
    UNCERTAINTIES.check(spec.places.by)
    path = Path(output)
    check_places_file(path, existing.overwrite)
    check_nothing_done(path)
    found = find_scenes(scenes, asset=asset, reporter=log)
    loaded = model if isinstance(model, Model) else load_model(model)
    request = ScanRequest(loaded, spec, existing, tuple(map(Path, exclude)), path)
    with gdal_settings(), only_run(path), ExitStack() as unfinished:
        stage = Stage(log, "scenes", len(found))
        stage.advance()
        scanned = []
        for ref, name in zip(found, shown_names([Path(ref.path) for ref in found]), strict=True):
            heard = log if len(found) == 1 else OfScene(log, name)
            scanned.append(scan(ref, request, unfinished, heard))
            stage.advance(1)
        candidates = _candidates(scanned, spec.places)
        _check_candidates(candidates, spec.places, log)
        chosen = _chosen(spread(candidates, spec.places.count), scanned)
        places = PlacesInScenes(tuple(scanned), chosen, loaded.spec.classes, spec.places)
        labels = places.write(path, log)
        for work in (work for one in scanned for work in one.works):
            work.remove()
    open_windows = candidates.uncertainty[candidates.is_open]
    return SuggestResult(
        output=path,
        model=loaded.spec.name,
        scenes=tuple(public_form(one.path) for one in scanned),
        places=tuple(_described(place, loaded.spec.classes) for place in chosen),
        labels=labels,
        windows=len(open_windows),
        mean_uncertainty=float(open_windows.mean()),
        settings=spec.places.model_dump(mode="json") | scanned[0].settings,
        seconds=time.monotonic() - started,
        notices=tuple(log.lines),
    )


def _candidates(scanned: Sequence[ScannedScene], spec: PlacesSpec) -> Candidates:
    """The windows of all scenes."""
    each = [one.statistics for one in scanned]
    valid = np.concatenate([one.valid for one in each])
    labelled = np.concatenate([one.labelled for one in each])
    open_share = np.concatenate([one.open_share for one in each])
    return Candidates(
        uncertainty=np.concatenate([one.uncertainty for one in each]),
        shares=np.concatenate([one.class_shares for one in each]),
        positions=np.concatenate([_positions(one) for one in scanned]),
        areas_m2=np.concatenate([_areas_m2(one) for one in scanned]),
        is_open=(open_share > 0) & (open_share >= spec.min_valid),
        is_labelled=(labelled > 0) & (labelled >= _LABELLED * valid),
    )


def _positions(scene: ScannedScene) -> NDArray[np.float64]:
    """Centres of a scene's windows (N, 3), in metres from the centre of a sphere.

    Raises:
        SceneError: if its coordinate system is none on the earth.
    """
    found, t = scene.statistics, scene.info.transform
    columns, rows = found.columns + found.widths / 2, found.rows + found.heights / 2
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    try:
        crs = map_crs(scene.info.crs)
        assert crs is not None
        degrees = Transformer.from_crs(crs, CRS.from_epsg(4326), always_xy=True).transform(x, y)
    except (AssertionError, ProjError):
        raise SceneError(
            f"{public_form(scene.path)} has a coordinate system that is not one of the earth, so that places in it "
            "could not be drawn on a map: give it another one (gdalwarp, gdal_edit -a_srs)"
        ) from None
    longitude, latitude = np.radians(degrees)
    around = np.cos(latitude)
    unit = np.stack([around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)], axis=1)
    return np.asarray(_EARTH_M * np.nan_to_num(unit, posinf=0.0, neginf=0.0))


def _areas_m2(scene: ScannedScene) -> NDArray[np.float64]:
    """Areas of a scene's windows (N,), by the size of the pixel at its centre."""
    info, found = scene.info, scene.statistics
    size = pixel_size_m(info.crs, info.transform, info.height, info.width) or (1.0, 1.0)
    return np.asarray(found.heights * found.widths * size[0] * size[1])


def _check_candidates(candidates: Candidates, spec: PlacesSpec, reporter: Reporter) -> None:
    """Refuse scenes without a window to choose, and report it if there are fewer than are wanted.

    Raises:
        OutputError: if there is none.
    """
    found = int(candidates.is_open.sum())
    if not found:
        why = "labelled already or without data" if candidates.is_labelled.any() else "without data"
        raise OutputError(
            f"no window of {spec.side} px is left to suggest: all are for the most part {why}: lower min_valid "
            f"({spec.min_valid:g}) or side, or give other scenes"
        )
    if found < spec.count:
        reporter.notice(f"{number_of(found, 'window')} of {spec.side} px in all: fewer places than {spec.count}")


def _chosen(indexes: Sequence[int], scanned: Sequence[ScannedScene]) -> tuple[ChosenPlace, ...]:
    """Places by their indexes among the windows of all scenes."""
    begins = np.cumsum([0, *(len(one.statistics) for one in scanned)])
    scenes = np.searchsorted(begins, indexes, side="right") - 1
    return tuple(
        ChosenPlace(scanned[scene], int(index - begins[scene])) for index, scene in zip(indexes, scenes, strict=True)
    )


def _described(place: ChosenPlace, classes: Sequence[ClassSpec]) -> SuggestedPlace:
    window = place.window
    return SuggestedPlace(
        scene=public_form(place.scene.path),
        row=window.row,
        column=window.col,
        height=window.height,
        width=window.width,
        uncertainty=place.uncertainty,
        class_shares=place.class_shares(classes),
        valid_share=place.valid_share,
    )
