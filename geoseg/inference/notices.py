"""Notices for the user before a scene is classified, one line each. Knows no network."""

from __future__ import annotations

from geoseg.raster.bands.matching import BandChoice
from geoseg.raster.fill import Fill
from geoseg.raster.scaling import scaling_notice
from geoseg.raster.scene_info import SceneInfo
from geoseg.spec import ClassifySpec, ModelSpec


def scene_notices(info: SceneInfo, choice: BandChoice, model: ModelSpec, spec: ClassifySpec) -> list[str]:
    """How bands were chosen, and where scaling or georeferencing may spoil the result, one line each."""
    lines = [choice.describe(model.bands, info.descriptions)]
    if spec.match is None:
        own, is_rescaled = info.scaling_of(choice.indexes), spec.given_rescale is not None
        scaling = scaling_notice(own, model.scaling, is_rescaled=is_rescaled)
        lines += [scaling] if scaling else []
    if spec.refine_fraction < 1 and not (model.branch.skips and spec.context):
        lines.append("the model refines no coarser views here: --refine-fraction changes nothing")
    if info.gcps[0] or (info.rpcs is not None and info.crs is None):
        lines.append(
            "the scene is placed by control points or RPCs only: kept as they are, polygons are in pixel coordinates"
        )
    elif info.crs is None or info.transform.is_identity:
        lines.append(
            "the scene has no CRS: "
            + ("polygons are in pixel coordinates" if info.transform.is_identity else "no areas")
        )
    return lines


def default_notice(model: ModelSpec) -> str:
    """Notice of the model that is taken where none is named: what it is for, and the first of its limits."""
    limits = model.card.limits.partition(". ")[0].rstrip(".")
    texts = [model.card.what_for.rstrip("."), limits and f"limits: {limits}"]
    return "; ".join([f"no --model given: {model.name}", *filter(None, texts), "see geoseg info default"])


def fill_notice(fill: Fill | None, spec: ClassifySpec) -> str | None:
    """Notice of fill that no tag declares, or of --nodata auto without any; None if there is nothing to say."""
    if spec.nodata == "auto":
        counts = "none, so that nothing but what the file says is nodata"
        return f"--nodata auto: {counts}" if fill is None else f"--nodata auto: {fill.describe()} and counts as nodata"
    if fill is None:
        return None
    remedy = f"--nodata {fill.value:g} or --nodata auto" if fill.is_exact else "--nodata auto"
    return f"{fill.describe()} and is classified like any other pixels: if they hold no data, pass {remedy}"
