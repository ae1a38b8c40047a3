"""Many scenes, one after the other with one model: what fails does not stop the rest.

In: what `find_scenes` takes. Out: for each scene, in order, its result or why it has none. Holds one scene's work at a
time.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geoseg.errors import GeosegError, SceneError
from geoseg.files import one_line
from geoseg.models import Model, load_model
from geoseg.pipelines.job import Notice
from geoseg.pipelines.outputs import check_all_outputs, name_outputs
from geoseg.pipelines.plan import PredictPlan, plan_prediction
from geoseg.pipelines.predict import PredictResult, Progress, predict
from geoseg.scenes import SceneRef, find_scenes
from geoseg.scenes.find import SceneInput
from geoseg.spec import PredictSpec, parse_spec

T = TypeVar("T")


@dataclass(frozen=True)
class SceneFailure:
    """A scene without a result, and why."""

    scene: str
    """Path or URL of the scene."""
    error: str
    """What is wrong, on one line; it begins with the type of an error that geoseg did not expect."""
    traceback: str | None = None
    """Where an error that geoseg did not expect came from."""


@dataclass(frozen=True)
class ManyResult:
    """What came of many scenes."""

    outcomes: tuple[PredictResult | SceneFailure, ...]
    """One for each scene, in order."""

    @property
    def results(self) -> tuple[PredictResult, ...]:
        """Those of the scenes that were classified."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, PredictResult))

    @property
    def failures(self) -> tuple[SceneFailure, ...]:
        """Those of the scenes that were not."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, SceneFailure))


def predict_many(
    scenes: SceneInput | Sequence[SceneInput],
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    asset: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
    **settings: Any,
) -> ManyResult:
    """Classify many scenes, each as `predict` does; one that fails does not stop the rest.

    Args:
        scenes: rasters, folders, patterns, lists or STAC Items, as `find_scenes` takes them.
        output: a folder (default: the current one).
        model: as for `predict`; loaded once.
        asset: key of the asset that is the scene, for STAC Items.
        overwrite: replace results that exist; without it they are refused before any scene is begun.
        progress: called with (stage, done, total); the stage 'scenes' counts scenes, the others are those of `predict`.
        notice: called with each line worth reading, as it comes up.
        settings: fields of PredictSpec.

    Raises:
        GeosegError: if no scene can be begun: scenes cannot be listed, results exist, or the model cannot be loaded.
    """
    outcomes = predict_each(
        find_scenes(scenes, asset=asset, notice=notice),
        output,
        model=model,
        overwrite=overwrite,
        progress=progress,
        notice=notice,
        **settings,
    )
    return ManyResult(tuple(outcomes))


def predict_each(
    scenes: Sequence[SceneRef],
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
    **settings: Any,
) -> Iterator[PredictResult | SceneFailure]:
    """Classify scenes one after the other, and give what came of each as soon as it is known.

    The arguments and errors are those of `predict_many`; errors come up with the first outcome.
    """
    check_all_outputs(scenes, output, _spec(settings), overwrite=overwrite)
    loaded = model if isinstance(model, Model) else load_model(model)

    def work(scene: SceneRef) -> PredictResult:
        return predict(
            scene.path,
            output,
            model=loaded,
            name=scene.name,
            overwrite=overwrite,
            progress=progress,
            notice=notice,
            **settings,
        )

    yield from _each(scenes, work, progress or _ignore, notice or _ignore)


def plan_each(
    scenes: Sequence[SceneRef],
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
    **settings: Any,
) -> Iterator[PredictPlan | SceneFailure]:
    """Say what `predict_each` would do with the same arguments, without forwarding a pixel."""
    spec = _spec(settings)
    check_all_outputs(scenes, output, spec, overwrite=overwrite)
    loaded = model if isinstance(model, Model) else load_model(model)

    def work(scene: SceneRef) -> PredictPlan:
        paths = name_outputs(scene.name, output, spec)  # for a plan calls a scene by its file
        rasters = {"scores": paths.scores, "confidence": paths.confidence}
        return plan_prediction(
            scene.path, paths.landcover, model=loaded, overwrite=overwrite, **settings | _given(rasters)
        )

    yield from _each(scenes, work, progress or _ignore, notice or _ignore)


def _each(
    scenes: Sequence[SceneRef], work: Callable[[SceneRef], T], progress: Progress, notice: Notice
) -> Iterator[T | SceneFailure]:
    """Work on each scene; an error is that scene's alone, whatever it is, an interruption ends all."""
    for done, scene in enumerate(scenes):
        progress("scenes", done, len(scenes))
        notice(f"== scene {done + 1:,} of {len(scenes):,}: {scene.path}")
        try:
            if scene.problem is not None:
                raise SceneError(scene.problem)
            outcome: T | SceneFailure = work(scene)
        except GeosegError as error:
            outcome = SceneFailure(scene.path, str(error))
        except Exception as error:
            outcome = SceneFailure(scene.path, f"{type(error).__name__}: {one_line(error)}", traceback.format_exc())
        yield outcome
    progress("scenes", len(scenes), len(scenes))


def _spec(settings: dict[str, Any]) -> PredictSpec:
    return parse_spec(PredictSpec, settings, source="settings")


def _given(paths: dict[str, Path | None]) -> dict[str, Path]:
    return {name: path for name, path in paths.items() if path is not None}


def _ignore(*_: object) -> None:
    return None
