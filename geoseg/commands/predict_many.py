"""Predictions of many scenes with one model, one after the other or by the workers of a scheduler.

In: what `find_scenes` takes. Out: for each scene its result or its error; a scene that fails does not stop others.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar, Unpack, cast

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
from geoseg.inference.uncertainties.written import written_uncertainty
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.scenes import SceneRef, find_scenes
from geoseg.scenes.find import SceneInput
from geoseg.spec import PredictSpec, parse_spec, split_existing
from geoseg.spec.settings import PredictSettings

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")


@dataclass(frozen=True)
class ManyResult:
    """The results of many scenes."""

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
    """The scenes of one run, and the arguments of `predict` for each."""

    scenes: Sequence[SceneRef]
    """Which."""
    output: str | os.PathLike[str] | None = None
    """A folder, or None for the current one."""
    model: ModelInput = None
    """As for `predict`; loaded once."""
    scheduler: str | Client | None = None
    """Where scenes are worked on: text of --scheduler, or a client; None for this process."""
    settings: PredictSettings = field(default_factory=PredictSettings)
    """As for `predict`."""

    @cached_property
    def spec(self) -> PredictSpec:
        """The settings of the predictions.

        Raises:
            SpecError: if a setting is invalid.
        """
        return parse_spec(PredictSpec, split_existing(self.settings)[1], source="settings")

    @property
    def replaces(self) -> bool:
        """Whether results may exist already."""
        return split_existing(self.settings)[0].may_replace


def predict_many(
    scenes: SceneInput | Sequence[SceneInput],
    output: str | os.PathLike[str] | None = None,
    *,
    model: ModelInput = None,
    asset: str | None = None,
    scheduler: str | Client | None = None,
    reporter: Reporter = SILENT,
    **settings: Unpack[PredictSettings],
) -> ManyResult:
    """Classify many scenes, each as `predict` does; one that fails does not stop the rest.

    Args:
        scenes: rasters, folders, patterns, lists or STAC Items, as `find_scenes` takes them.
        output: a folder (default: the current one).
        model: as for `predict`; loaded once.
        asset: key of the asset that is the scene, for STAC Items.
        scheduler: classify scenes on the workers of a Dask cluster, each of which takes a scene; see `predict`.
        reporter: takes notices and progress; the stage `scenes` counts scenes, the others are those of `predict`.
        settings: as for `predict`; without overwrite=True results that exist are refused before any scene is begun,
            with resume=True those that are done are skipped.

    Raises:
        GeosegError: if no scene can be begun: scenes cannot be listed, results exist, or the model cannot be loaded.
    """
    found = find_scenes(scenes, asset=asset, reporter=reporter)
    return ManyResult(
        tuple(predict_each(batch_of(found, output, model=model, scheduler=scheduler, **settings), reporter))
    )


def batch_of(
    scenes: Sequence[SceneRef],
    output: str | os.PathLike[str] | None = None,
    *,
    model: ModelInput = None,
    scheduler: str | Client | None = None,
    **settings: Unpack[PredictSettings],
) -> SceneBatch:
    """A batch with settings by their names."""
    return SceneBatch(scenes, output, model, scheduler, settings)


def predict_each(batch: SceneBatch, reporter: Reporter = SILENT) -> Iterator[PredictResult | SceneFailure]:
    """Classify scenes, and yield the outcome of each when it is known: one after the other, or as workers finish.

    Raises:
        GeosegError: with the first outcome, if no scene can be begun; see `predict_many`.
    """
    _check(batch)
    arguments = PredictArguments(batch.output, batch.settings)
    tasks = tasks_of(batch.scenes)
    with open_executor(Workplace(batch.scheduler)) as executor:
        if executor.is_here:
            each = predict_here(arguments, tasks, _loaded(batch.model), executor, reporter)
        else:
            each = predict_elsewhere(arguments, tasks, batch.model, executor)
        yield from _counted(each, len(tasks), reporter)


def _check(batch: SceneBatch) -> None:
    """Refuse what would fail for every scene.

    Raises:
        GeosegError: naming the file or the setting, and what to do.
    """
    check_all_outputs(batch.scenes, batch.output, batch.spec, overwrite=batch.replaces)
    written_uncertainty(batch.spec.output)


def plan_each(batch: SceneBatch, reporter: Reporter = SILENT) -> Iterator[PredictPlan | SceneFailure]:
    """Plan `predict_each` from the beginning and in this process, without running the network.

    Raises:
        GeosegError: with the first outcome, as `predict_each` does.
    """
    _check(batch)
    yield from _counted(_plans(batch, _loaded(batch.model), reporter), len(batch.scenes), reporter)


def _plans(batch: SceneBatch, model: Model, reporter: Reporter) -> Generator[PredictPlan | SceneFailure, None, None]:
    for task in tasks_of(batch.scenes):
        task.announce(reporter)
        yield outcome_of(task.scene, partial(_plan, batch, task.scene, model))


def _plan(batch: SceneBatch, scene: SceneRef, model: Model) -> PredictPlan:
    paths = name_outputs(scene.name, batch.output, batch.spec)  # for a plan calls a scene by its file
    rasters = {kind: getattr(paths, kind) for kind in ("scores", "confidence", "uncertainty")}
    settings = cast(PredictSettings, {**batch.settings, **rasters})
    return plan_prediction(scene, paths.landcover, model=model, **settings)


def _loaded(model: ModelInput) -> Model:
    return model if isinstance(model, Model) else load_model(model)


def _counted(each: Generator[T, None, None], count: int, reporter: Reporter) -> Iterator[T]:
    """Pass outcomes on, and report their number."""
    stage = Stage(reporter, "scenes", count)
    stage.advance()
    with closing(each):
        for outcome in each:
            yield outcome
            stage.advance(1)
