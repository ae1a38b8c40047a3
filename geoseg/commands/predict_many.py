"""Many scenes with one model, one after the other or by the workers of a scheduler: what fails stops no other.

In: what `find_scenes` takes. Out: for each scene its result or why it has none.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from geoseg.commands.output_paths import check_all_outputs, name_outputs
from geoseg.commands.plan import PredictPlan, plan_prediction
from geoseg.commands.predict import PredictResult
from geoseg.commands.scene_tasks import (
    ModelInput,
    PredictArguments,
    SceneFailure,
    outcome_of,
    predict_elsewhere,
    predict_here,
    tasks_of,
)
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.executors.protocol import Workplace
from geoseg.core.executors.registry import open_executor
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.scenes import SceneRef, find_scenes
from geoseg.scenes.find import SceneInput
from geoseg.spec import PredictSpec, parse_spec

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")


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


@dataclass(frozen=True)
class SceneBatch:
    """Scenes that are worked on in one run, and what `predict` is given for each."""

    scenes: Sequence[SceneRef]
    """Which."""
    output: str | os.PathLike[str] | None = None
    """A folder, or None for the current one."""
    model: ModelInput = None
    """As for `predict`; loaded once."""
    scheduler: str | Client | None = None
    """Where scenes are worked on: text of --scheduler, or a client; None for this process."""
    overwrite: bool = False
    """Replace results that exist."""
    resume: bool = False
    """Skip what is done, and go on with what was begun."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of PredictSpec."""

    @cached_property
    def spec(self) -> PredictSpec:
        """The settings, checked.

        Raises:
            SpecError: if one makes no sense.
        """
        return parse_spec(PredictSpec, dict(self.settings), source="settings")

    @property
    def replaces(self) -> bool:
        """Whether results may exist already."""
        return self.overwrite or self.resume


def predict_many(
    scenes: SceneInput | Sequence[SceneInput],
    output: str | os.PathLike[str] | None = None,
    *,
    model: ModelInput = None,
    asset: str | None = None,
    reporter: Reporter = SILENT,
    **options: Any,
) -> ManyResult:
    """Classify many scenes, each as `predict` does; one that fails does not stop the rest.

    Args:
        scenes: rasters, folders, patterns, lists or STAC Items, as `find_scenes` takes them.
        output: a folder (default: the current one).
        model: as for `predict`; loaded once.
        asset: key of the asset that is the scene, for STAC Items.
        reporter: takes notices and progress; the stage `scenes` counts scenes, the others are those of `predict`.
        options: fields of PredictSpec, and `overwrite`, `resume`, `scheduler` as for `predict`. Without the first two,
            results that exist are refused before any scene is begun; a scheduler's workers take a scene each.

    Raises:
        GeosegError: if no scene can be begun: scenes cannot be listed, results exist, or the model cannot be loaded.
    """
    found = find_scenes(scenes, asset=asset, reporter=reporter)
    return ManyResult(tuple(predict_each(batch_of(found, output, model=model, **options), reporter)))


def batch_of(scenes: Sequence[SceneRef], output: str | os.PathLike[str] | None = None, **options: Any) -> SceneBatch:
    """A batch with options by their names, those of the batch and fields of PredictSpec in one."""
    own = {name: options.pop(name) for name in ("model", "scheduler", "overwrite", "resume") if name in options}
    return SceneBatch(scenes, output, **own, settings=options)


def predict_each(batch: SceneBatch, reporter: Reporter = SILENT) -> Iterator[PredictResult | SceneFailure]:
    """Classify scenes, and give what came of each as soon as it is known: one after the other, or as workers end them.

    Raises:
        GeosegError: with the first outcome, if no scene can be begun; see `predict_many`.
    """
    check_all_outputs(batch.scenes, batch.output, batch.spec.output, overwrite=batch.replaces)
    arguments = PredictArguments(batch.output, {"overwrite": batch.overwrite, "resume": batch.resume, **batch.settings})
    tasks = tasks_of(batch.scenes)
    with open_executor(Workplace(batch.scheduler)) as executor:
        if executor.is_here:
            each = predict_here(arguments, tasks, _loaded(batch.model), executor, reporter)
        else:
            each = predict_elsewhere(arguments, tasks, batch.model, executor)
        yield from _counted(each, len(tasks), reporter)


def plan_each(batch: SceneBatch, reporter: Reporter = SILENT) -> Iterator[PredictPlan | SceneFailure]:
    """Say what `predict_each` would do from the beginning and in this process, without forwarding a pixel.

    Raises:
        GeosegError: with the first outcome, as `predict_each` does.
    """
    check_all_outputs(batch.scenes, batch.output, batch.spec.output, overwrite=batch.replaces)
    yield from _counted(_plans(batch, _loaded(batch.model), reporter), len(batch.scenes), reporter)


def _plans(batch: SceneBatch, model: Model, reporter: Reporter) -> Generator[PredictPlan | SceneFailure, None, None]:
    for task in tasks_of(batch.scenes):
        task.announce(reporter)
        yield outcome_of(task.scene, partial(_plan, batch, task.scene, model))


def _plan(batch: SceneBatch, scene: SceneRef, model: Model) -> PredictPlan:
    paths = name_outputs(scene.name, batch.output, batch.spec.output)  # for a plan calls a scene by its file
    rasters = {name: path for name in ("scores", "confidence") if (path := getattr(paths, name)) is not None}
    settings = {**batch.settings, **rasters}
    return plan_prediction(scene, paths.landcover, model=model, overwrite=batch.replaces, **settings)


def _loaded(model: ModelInput) -> Model:
    return model if isinstance(model, Model) else load_model(model)


def _counted(each: Generator[T, None, None], count: int, reporter: Reporter) -> Iterator[T]:
    """Pass outcomes on, and report how many scenes have one."""
    stage = Stage(reporter, "scenes", count)
    stage.advance()
    with closing(each):
        for outcome in each:
            yield outcome
            stage.advance(1)
