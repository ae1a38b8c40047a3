"""The prediction of one of many scenes as a task of an executor, in this process or on a worker.

In: a scene and the arguments of `predict`. Out: its result, or its error.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from geoseg.commands.predict import PredictResult, predict
from geoseg.core.errors import GeosegError, SceneError
from geoseg.core.events import Reporter
from geoseg.core.executors.protocol import Executor, Worker
from geoseg.core.files import one_line
from geoseg.core.redaction import public_form, public_text
from geoseg.core.system_errors import as_geoseg_error
from geoseg.inference.shards import bundle_path
from geoseg.models.bundle import load_model
from geoseg.models.downloads import is_address
from geoseg.models.model import Model
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec.classify import TRAINING

T = TypeVar("T")
ModelInput = Model | str | os.PathLike[str] | None
"""A model, or the path of its bundle; None for the default one."""

_FILES = "scores", "confidence", "uncertainty", "aoi"
"""Options that are paths."""


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
class SceneTask:
    """One of many scenes."""

    scene: SceneRef
    """The scene."""
    number: int
    """Its number, from 1."""
    count: int
    """How many there are."""

    def announce(self, reporter: Reporter) -> None:
        """Report that the scene is started."""
        reporter.notice(f"== scene {self.number:,} of {self.count:,}: {public_form(self.scene.path)}")

    def anywhere(self) -> SceneTask:
        """A copy with absolute paths, for other processes and machines with the same files."""
        return replace(self, scene=self.scene.absolute())


@dataclass(frozen=True)
class PredictArguments:
    """The arguments of `predict` that are the same for all scenes, but for the model."""

    output: str | os.PathLike[str] | None
    """A folder, or None for the current one."""
    options: Mapping[str, Any]
    """All other arguments."""

    def run(self, scene: SceneRef, model: ModelInput, **options: Any) -> PredictResult:
        """Classify a scene; `options` override the common arguments."""
        return predict(scene, self.output, model=model, **{**self.options, **options})

    def anywhere(self) -> PredictArguments:
        """A copy with absolute paths, for other processes and machines with the same files."""
        files = {name: os.path.abspath(self.options[name]) for name in _FILES if self.options.get(name)}
        if (match := self.options.get("match")) and os.fspath(match) != TRAINING:
            files["match"] = SceneRef(os.fspath(match), "").absolute().path
        return PredictArguments(os.path.abspath(self.output or "."), {**self.options, **files})


def tasks_of(scenes: Sequence[SceneRef]) -> list[SceneTask]:
    """A task for each scene."""
    return [SceneTask(scene, number, len(scenes)) for number, scene in enumerate(scenes, 1)]


def outcome_of(scene: SceneRef, work: Callable[[], T]) -> T | SceneFailure:
    """The result of a scene, or its error as a SceneFailure; only an interruption is raised."""
    try:
        if scene.problem is not None:
            raise SceneError(scene.problem)
        return work()
    except Exception as error:
        if (known := as_geoseg_error(error)) is not None:
            return SceneFailure(public_form(scene.path), public_text(str(known), [scene.path]))
        line, trace = f"{type(error).__name__}: {one_line(error)}", traceback.format_exc()
        return SceneFailure(public_form(scene.path), *(public_text(text, [scene.path]) for text in (line, trace)))


def predict_here(
    arguments: PredictArguments, tasks: Sequence[SceneTask], model: Model, executor: Executor, reporter: Reporter
) -> Generator[PredictResult | SceneFailure, None, None]:
    """Classify scenes in this thread, one after the other."""

    def work(_worker: Worker, task: SceneTask) -> PredictResult | SceneFailure:
        task.announce(reporter)
        return outcome_of(task.scene, partial(arguments.run, task.scene, model, reporter=reporter))

    with closing(executor.map(work, tasks)) as outcomes:
        for outcome in outcomes:
            yield outcome.result()


# ------------------------------------------------------------------------------------------------------------ elsewhere


LARGE_PX = 2**29
"""Scenes with more pixels are divided among all workers."""


@dataclass(frozen=True)
class Large:
    """Outcome of a scene of more than `LARGE_PX` pixels, which all workers are to classify together."""


def predict_elsewhere(
    arguments: PredictArguments, tasks: Sequence[SceneTask], model: ModelInput, executor: Executor
) -> Generator[PredictResult | SceneFailure, None, None]:
    """Classify scenes on workers, each by one of them, then large ones by all; yields outcomes as they finish."""
    arguments, tasks, large = arguments.anywhere(), [task.anywhere() for task in tasks], []
    path, shared = (None, [model]) if isinstance(model, Model) else (bundle_path(model), [])
    with closing(executor.map(partial(predict_whole, arguments, path), tasks, shared)) as outcomes:
        for outcome in outcomes:
            found = outcome_of(outcome.task.scene, outcome.result)
            if isinstance(found, Large):
                large.append(outcome.task.scene)
            else:
                yield found
    for scene in large:
        yield outcome_of(scene, partial(arguments.run, scene, model, scheduler=executor))


def predict_whole(
    arguments: PredictArguments, path: str | None, worker: Worker, task: SceneTask, model: Model | None = None
) -> PredictResult | SceneFailure | Large:
    """Classify a scene from end to end on a worker, with a model or its path; large scenes are not classified."""
    with suppress(GeosegError), open_scene(task.scene) as scene:
        if scene.info.pixels > LARGE_PX:
            return Large()
    return outcome_of(task.scene, partial(_predict_alone, arguments, path, worker, task, model))


def _predict_alone(
    arguments: PredictArguments, path: str | None, worker: Worker, task: SceneTask, model: Model | None
) -> PredictResult:
    """Classify a scene in this process alone: workers of a cluster may not start processes."""
    if model is None:
        changed = os.path.getmtime(path) if path and not is_address(path) else 0
        model = worker.keep((path, changed), lambda: nullcontext(load_model(path)))
    return arguments.run(task.scene, model, devices=None)
