"""Runs that are parts of a larger one, each in a folder of its own: of a cross-validation, or of several seeds."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.commands.train_run import Start, train_run
from geoseg.core.errors import GeosegError
from geoseg.core.events import Reporter
from geoseg.spec import TrainSpec
from geoseg.training.run.run_folder import RunFolder


def begin(folder: RunFolder, spec: TrainSpec, start: Start, parts: Iterable[Path]) -> None:
    """Begin a run of several parts, or go on with it.

    Args:
        folder: of the whole run.
        spec: its settings.
        start: what becomes of an earlier run there.
        parts: folders of an earlier run's parts, which are removed if it is replaced.

    Raises:
        OutputError: if results exist already, or cannot be written.
        SpecError: if the run to be resumed had other settings.
    """
    folder.check(spec, overwrite=start.overwrite, resume=start.resume)
    if start.resume and folder.config.exists():
        return
    for part in parts:
        if (part / "config.yaml").exists():
            shutil.rmtree(part)
    folder.start(spec)


def run_part(spec: TrainSpec, path: Path, reporter: Reporter) -> Path:
    """Train one model, or go on with it, unless it is finished; return its bundle."""
    folder = RunFolder(path, spec.name)
    if not folder.is_finished:
        train_run(spec, path, Start(resume=folder.config.exists()), reporter)
    return folder.bundle


@contextmanager
def kept_once_begun(folder: RunFolder, first: Path) -> Iterator[None]:
    """Leave no folder behind if a mistake in the settings or labels shows before the first part has begun."""
    try:
        yield
    except GeosegError:
        if not first.exists():
            folder.config.unlink(missing_ok=True)
            with suppress(OSError):
                folder.path.rmdir()
        raise
