"""Whether a scene was predicted before, by the tags of its class raster.

In: the paths of the results, and the settings. Out: yes or no; no pixel is read.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from geoseg.commands.output_paths import OutputPaths
from geoseg.core.errors import OutputError
from geoseg.core.files import quiet_georeferencing, sidecar
from geoseg.inference.cores import CONFIDENCE_TAG
from geoseg.inference.fingerprint import output_fingerprints, raster_fingerprint
from geoseg.inference.unlike import UNLIKE
from geoseg.outputs.geotiff import COUNT_TAG
from geoseg.raster.notices_tag import stated_notices
from geoseg.spec import PredictSpec, parse_json


def is_done(paths: OutputPaths, spec: PredictSpec, fingerprint: str) -> bool:
    """Whether all results exist, made from the same scene and model with the same settings.

    Args:
        paths: paths of the results.
        spec: settings.
        fingerprint: digest of what decides the class raster, before it is generalised.

    Raises:
        OutputError: if the class raster exists, and its pixels would differ.
    """
    if not paths.landcover.exists():
        return False
    tags = _tags(paths.landcover)
    if tags.get("GEOSEG_FINGERPRINT") != raster_fingerprint(fingerprint, spec.vector):
        raise OutputError(
            f"{paths.landcover} exists, made from another scene or model or with other settings: pass --overwrite to "
            "replace it, or choose another --output"
        )
    made = parse_json(tags.get("GEOSEG_OUTPUTS", "{}"), "GEOSEG_OUTPUTS")
    is_same = all(made.get(kind) == digest for kind, digest in output_fingerprints(spec).items())
    return is_same and all(path.exists() and path.stat().st_size for path in (*paths, sidecar(paths.landcover)))


def stated_engine(landcover: Path) -> str:
    """The engine that computed a class raster, by its tags; nothing if they do not name it."""
    settings = parse_json(_tags(landcover).get("GEOSEG_SETTINGS", "{}"), "GEOSEG_SETTINGS")
    return str(settings.get("engine", "")) if isinstance(settings, dict) else ""


def stated_confidence(landcover: Path) -> float | None:
    """Mean probability of the chosen class, 0 to 1, by the tags of a class raster; None if they do not name it."""
    with suppress(KeyError, ValueError):
        return float(_tags(landcover)[CONFIDENCE_TAG])
    return None


def stated_unlikeness(landcover: Path) -> str | None:
    """The notice that the scene looks unlike the training imagery, by the tags of a class raster; None without one."""
    return next((line for line in stated_notices(_tags(landcover)) if line.startswith(UNLIKE)), None)


def stated_instances(instances: Path) -> int | None:
    """Number of instances, by the tags of their raster; None if they do not name it."""
    with suppress(KeyError, ValueError):
        return int(_tags(instances)[COUNT_TAG])
    return None


def _tags(raster: Path) -> dict[str, str]:
    try:
        with quiet_georeferencing(), rasterio.open(raster) as opened:
            return dict(opened.tags())
    except RasterioError:
        return {}
