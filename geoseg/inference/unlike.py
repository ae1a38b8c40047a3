"""Whether a scene looks unlike what its model learnt from, judged when all of it is classified.

In: statistics of crops of the scene, its ground resolution, the training imagery in the bundle. Out: a notice. Values
and features are compared as the network sees the scene: after a rescale or a match, at the resolution of the source.
More than half of the crops must be farther away than 99 of 100 crops of the model's own region.
"""

from __future__ import annotations

import math

import numpy as np

from geoseg.inference.crop_statistics import CropStatistics
from geoseg.inference.fit import FITTING_FACTOR
from geoseg.inference.job import Job
from geoseg.raster.curves import Floats
from geoseg.raster.imagery import distances
from geoseg.spec import ImagerySpec, ModelSpec, SpreadSpec

UNLIKE = "this scene looks unlike what the model learnt from"
"""Beginning of the notice."""
_MUCH = 0.5
"""Share of the crops that must be far away."""
_EXTREME = 0.95
"""Rank of a band's median beyond which it is called bright or dark."""
_SHOWN_BANDS = 4
"""Bands that are named."""


def unlike_notice(job: Job, crops: CropStatistics | None) -> str | None:
    """In what a scene differs from what its model learnt from; None where it does not, or that is unknown."""
    imagery = job.model.spec.imagery
    if imagery is None:
        return None
    found = [_resolution(job, imagery)]
    if crops is not None:
        found += [_bands(crops, job.model.spec, imagery), _features(crops, imagery)]
    reasons = "; ".join(filter(None, found))
    return f"{UNLIKE} ({reasons}): expect poorer classes" if reasons else None


def _resolution(job: Job, imagery: ImagerySpec) -> str | None:
    own, known = job.scene.info.resolution_m, imagery.resolution_m
    if own is None or known is None:
        return None
    ratio = job.scene.height * job.scene.width / (job.source.height * job.source.width)
    seen, (low, high) = own * math.sqrt(ratio), known
    if low / FITTING_FACTOR <= seen and max(own, seen) <= high * FITTING_FACTOR:
        return None
    sizes = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
    return f"pixels of {own:.3g} m, the model knows {sizes} m"


def _bands(crops: CropStatistics, model: ModelSpec, imagery: ImagerySpec) -> str | None:
    if _far(crops.bands, imagery.bands) is None or imagery.bands is None:
        return None
    below = np.cumsum(crops.ranks, axis=1) < crops.ranks.sum(axis=1, keepdims=True) / 2
    ranks = below.sum(axis=1) / (crops.ranks.shape[1] - 1)
    extreme = [
        f"{name} {'brighter' if rank > _MUCH else 'darker'} than {min(max(rank, 1 - rank), 0.99):.0%} of it"
        for name, rank in zip(model.bands, ranks, strict=True)
        if not 1 - _EXTREME < rank < _EXTREME
    ]
    if extreme:
        return _some(extreme)
    count = len(model.bands)
    own = _some(
        [f"{name} {mean:.4g}" for name, mean in zip(model.bands, crops.bands.mean(axis=0)[:count], strict=True)]
    )
    known = _some([f"{mean:.4g}" for mean in imagery.bands.mean[:count]])
    return f"the bands go together otherwise, means {own} instead of {known}"


def _features(crops: CropStatistics, imagery: ImagerySpec) -> str | None:
    far = _far(crops.features, imagery.features)
    if far is None:
        return None
    return (
        f"in {far} of {len(crops.features)} sampled places the network's features are farther off than in 99 of 100 "
        "of its own region"
    )


def _far(vectors: Floats | np.ndarray, spread: SpreadSpec | None) -> int | None:
    """How many crops (N, D) are out of reach; None if not many are, or there is nothing to compare them with."""
    if spread is None or vectors.shape[1] != len(spread.mean):
        return None
    far = int((distances(np.asarray(vectors, np.float64), spread) > spread.reach).sum())
    return far if far > _MUCH * len(vectors) else None


def _some(texts: list[str]) -> str:
    return ", ".join(texts[:_SHOWN_BANDS]) + (", ..." if len(texts) > _SHOWN_BANDS else "")
