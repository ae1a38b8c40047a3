"""Many scenes on a Dask cluster: each by one worker from end to end, large ones shared among all.

In: scenes, a client, the arguments of `predict`. Out: what came of each scene, as soon as it is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from geoseg.commands.predict import PredictResult, predict
from geoseg.commands.predict_many import SceneFailure, outcome_of
from geoseg.core.errors import GeosegError
from geoseg.inference.cluster import result_of
from geoseg.inference.shards import ONE_AT_A_TIME, bundle_path
from geoseg.models.bundle import Model, load_model
from geoseg.raster.scene import Scene
from geoseg.scenes import SceneRef

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class WholeScene:
    """A scene that one worker classifies from end to end, unless it is large."""

    scene: SceneRef
    """Which."""
    output: str | None
    """As for `predict`."""
    options: dict[str, Any]
    """Other arguments of `predict`."""


IS_LARGE = "large"
"""What a worker answers that was given a scene of more than `LARGE_PX` pixels."""
LARGE_PX = 2**29
"""Scenes with more pixels are shared among all workers."""


def predict_scene(task: WholeScene, model: Model | str | None) -> PredictResult | SceneFailure | str:
    """Classify a scene, on a worker; large ones are left to the one who asked."""
    with ONE_AT_A_TIME:
        with suppress(GeosegError), Scene.open(task.scene.path) as scene:
            if scene.info.pixels > LARGE_PX:
                return IS_LARGE
        return outcome_of(task.scene, partial(_predict_here, task, model))


def _predict_here(task: WholeScene, model: Model | str | None) -> PredictResult:
    """Classify a scene in this process alone: Dask's may not start others."""
    loaded = model if isinstance(model, Model) else _load_once(model, os.path.getmtime(model) if model else 0)
    options = task.options | {"devices": None}
    return predict(task.scene, task.output, model=loaded, **options)


@lru_cache(maxsize=1)
def _load_once(path: str | None, _changed: float) -> Model:
    return load_model(path)


def predict_on_cluster(
    client: Client, tasks: Sequence[WholeScene], model: Model | str | os.PathLike[str] | None
) -> Iterator[PredictResult | SceneFailure]:
    """Classify scenes on the workers of a cluster, each by one of them, large ones by all; in the order they end."""
    from distributed import as_completed

    given = client.scatter(model, broadcast=True) if isinstance(model, Model) else bundle_path(model)
    futures = {client.submit(predict_scene, task, given, pure=False): task for task in tasks}
    large = []
    for future in as_completed(futures):
        task = futures[future]
        outcome = outcome_of(task.scene, partial(result_of, future))
        if outcome == IS_LARGE:
            large.append(task)
        else:
            yield outcome
    for task in large:
        options = task.options | {"model": model, "scheduler": client}
        yield outcome_of(task.scene, partial(predict, task.scene, task.output, **options))
