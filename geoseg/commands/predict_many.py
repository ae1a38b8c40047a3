"""Many scenes, one after the other with one model: what fails does not stop the rest.

In: what `find_scenes` takes. Out: for each scene, in order, its result or why it has none. Holds one scene's work at a
time.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from geoseg.commands.output_paths import check_all_outputs, name_outputs
from geoseg.commands.plan import PredictPlan, plan_prediction
from geoseg.commands.predict import PredictResult, predict
from geoseg.core.errors import SceneError
from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.core.files import one_line
from geoseg.core.redaction import public_form, public_text
from geoseg.core.system_errors import mendable
from geoseg.models.bundle import Model, load_model
from geoseg.scenes import SceneRef, find_scenes
from geoseg.scenes.find import SceneInput
from geoseg.spec import PredictSpec, parse_spec

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")


@dataclass(frozen=True)
class SceneFailure:
    """A scene without a result, and why."""

    scene: str
    """Path or URL of the scene, without passwords, keys and signatures."""
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
    resume: bool = False,
    scheduler: str | Client | None = None,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> ManyResult:
    """Classify many scenes, each as `predict` does; one that fails does not stop the rest.

    Args:
        scenes: rasters, folders, patterns, lists or STAC Items, as `find_scenes` takes them.
        output: a folder (default: the current one).
        model: as for `predict`; loaded once.
        asset: key of the asset that is the scene, for STAC Items.
        overwrite: replace results that exist; without it they are refused before any scene is begun.
        resume: skip what is done, and go on with what was begun; see `predict`.
        scheduler: classify scenes on the workers of a Dask cluster; see `predict`.
        reporter: takes notices and progress; the stage `scenes` counts scenes, the others are those of `predict`.
        settings: fields of PredictSpec.

    Raises:
        GeosegError: if no scene can be begun: scenes cannot be listed, results exist, or the model cannot be loaded.
    """
    outcomes = predict_each(
        find_scenes(scenes, asset=asset, reporter=reporter),
        output,
        model=model,
        overwrite=overwrite,
        resume=resume,
        scheduler=scheduler,
        reporter=reporter,
        **settings,
    )
    return ManyResult(tuple(outcomes))


def predict_each(
    scenes: Sequence[SceneRef],
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | Client | None = None,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Iterator[PredictResult | SceneFailure]:
    """Classify scenes one after the other, and give what came of each as soon as it is known.

    The arguments and errors are those of `predict_many`; errors come up with the first outcome. On a cluster scenes
    come in the order in which they end.
    """
    check_all_outputs(scenes, output, _spec(settings).output, overwrite=overwrite or resume)
    options = {"overwrite": overwrite, "resume": resume, **settings}
    if scheduler is not None:
        yield from _on_cluster(scenes, output, scheduler, model, options, reporter)
        return
    loaded = model if isinstance(model, Model) else load_model(model)

    def work(scene: SceneRef) -> PredictResult:
        return predict(
            scene,
            output,
            model=loaded,
            reporter=reporter,
            **options,
        )

    yield from _each(scenes, work, reporter)


def plan_each(
    scenes: Sequence[SceneRef],
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | Client | None = None,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Iterator[PredictPlan | SceneFailure]:
    """Say what `predict_each` would do from the beginning and in this process, without forwarding a pixel."""
    spec = _spec(settings)
    check_all_outputs(scenes, output, spec.output, overwrite=overwrite or resume)
    loaded = model if isinstance(model, Model) else load_model(model)

    def work(scene: SceneRef) -> PredictPlan:
        paths = name_outputs(scene.name, output, spec.output)  # for a plan calls a scene by its file
        rasters = {"scores": paths.scores, "confidence": paths.confidence}
        return plan_prediction(
            scene, paths.landcover, model=loaded, overwrite=overwrite or resume, **settings | _given(rasters)
        )

    yield from _each(scenes, work, reporter)


def _each(scenes: Sequence[SceneRef], work: Callable[[SceneRef], T], reporter: Reporter) -> Iterator[T | SceneFailure]:
    """Work on each scene; an error is that scene's alone, whatever it is, an interruption ends all."""
    for done, scene in enumerate(scenes):
        reporter.progress(Progress("scenes", done, len(scenes)))
        reporter.notice(f"== scene {done + 1:,} of {len(scenes):,}: {public_form(scene.path)}")
        yield outcome_of(scene, partial(work, scene))
    reporter.progress(Progress("scenes", len(scenes), len(scenes)))


def outcome_of(scene: SceneRef, work: Callable[[], T]) -> T | SceneFailure:
    """What work on a scene gives, or why it fails; only an interruption gets through."""
    try:
        if scene.problem is not None:
            raise SceneError(scene.problem)
        return work()
    except Exception as error:
        if (known := mendable(error)) is not None:
            return SceneFailure(public_form(scene.path), public_text(str(known), [scene.path]))
        line, trace = f"{type(error).__name__}: {one_line(error)}", traceback.format_exc()
        return SceneFailure(public_form(scene.path), *(public_text(text, [scene.path]) for text in (line, trace)))


def _on_cluster(
    scenes: Sequence[SceneRef],
    output: str | os.PathLike[str] | None,
    scheduler: str | Client,
    model: Model | str | os.PathLike[str] | None,
    options: dict[str, Any],
    reporter: Reporter,
) -> Iterator[PredictResult | SceneFailure]:
    """Classify scenes on a Dask cluster, in the order in which they end."""
    from geoseg.commands.cluster_scenes import WholeScene, predict_on_cluster
    from geoseg.inference.cluster import open_client

    folder = os.path.abspath("." if output is None else output)
    files = {name: os.path.abspath(options[name]) for name in ("scores", "confidence", "aoi") if options.get(name)}
    with open_client(scheduler) as client:
        tasks = [WholeScene(replace(scene, path=_absolute(scene.path)), folder, options | files) for scene in scenes]
        for done, outcome in enumerate(predict_on_cluster(client, tasks, model), 1):
            yield outcome
            reporter.progress(Progress("scenes", done, len(scenes)))


def _absolute(path: str) -> str:
    return os.path.abspath(path) if os.path.exists(path) else path


def _spec(settings: dict[str, Any]) -> PredictSpec:
    return parse_spec(PredictSpec, settings, source="settings")


def _given(paths: dict[str, Path | None]) -> dict[str, Path]:
    return {name: path for name, path in paths.items() if path is not None}
