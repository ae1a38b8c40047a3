"""The folder of a training run: its files, whether a run may start or be resumed there, and from which checkpoint.

All files are complete at any time, so that a run may be killed at any time.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import yaml

from geoseg.core.errors import ModelError, OutputError, SpecError
from geoseg.core.events import Reporter
from geoseg.core.files import draft_of
from geoseg.core.redaction import public_values
from geoseg.models.bundle import load_model
from geoseg.spec import TrainSpec, load_yaml, parse_spec

MAY_CHANGE = {"device", "devices", "card"}
"""Settings that may differ when a run is resumed."""
LEFTOVERS = ".geoseg-*"
"""Pattern of the unfinished files of a killed run."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and where its files lie."""

    path: Path
    """The folder."""
    name: str
    """Name of the model."""

    @property
    def bundle(self) -> Path:
        """The model of the best epoch."""
        return self.path / f"{self.name}.safetensors"

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """CSV with one line per epoch."""
        return self.path / "metrics.csv"

    @property
    def scores(self) -> Path:
        """CSV with the scores of the bundle, one line per side of the split."""
        return self.path / "scores.csv"

    @property
    def unit_counts(self) -> Path:
        """Pixel counts of the bundle on the validation side, by unit of a bootstrap."""
        return self.path / "unit_counts.npz"

    @property
    def report(self) -> Path:
        """Curves, scores and examples, as one HTML file."""
        return self.path / "report.html"

    @property
    def events(self) -> Path:
        """Folder of TensorBoard's events."""
        return self.path / "tensorboard"

    @property
    def class_statistics(self) -> Path:
        """Class statistics of images that do not fit into memory."""
        return self.path / "census.npz"

    @property
    def cached_windows(self) -> Path:
        """Folder of the windows that all epochs share; removed when the run is finished."""
        return self.path / "cached_windows"

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last epoch; removed when the run is finished."""
        return self.path / "checkpoint.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint of the epoch before, in case the last is damaged."""
        return self.path / "previous.ckpt"

    @property
    def is_finished(self) -> bool:
        """Whether it holds a finished run."""
        return self.bundle.exists() and self.report.exists() and not self.last_checkpoint.exists()

    def check(self, spec: TrainSpec, *, overwrite: bool, resume: bool) -> None:
        """Refuse to start or resume where results of another run would be lost.

        Raises:
            OutputError: if results exist already, or there is no such folder.
            SpecError: if the run to be resumed had other settings.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file: choose a folder as --output")
        existing = self._existing()
        if resume:
            self._check_resumable(spec, existing)
        elif existing and not overwrite:
            raise OutputError(
                f"{existing[0]} exists: pass --overwrite to replace it, --resume to go on with an interrupted run, "
                "or choose another --output"
            )

    def make(self) -> None:
        """Make the folder, which also takes scratch files before the run starts.

        Raises:
            OutputError: if it cannot be made.
        """
        with self._named_errors():
            self.path.mkdir(parents=True, exist_ok=True)

    def start(self, spec: TrainSpec) -> None:
        """Remove the results of an earlier run and write the config; called after all other checks.

        Raises:
            OutputError: if the folder cannot be written to.
        """
        text = yaml.safe_dump(written_settings(spec), sort_keys=False, allow_unicode=True)
        self.make()
        with self._named_errors():
            for path in self._existing():
                _remove(path)
        with draft_of(self.config) as draft:
            draft.write_text(text, "utf-8")

    def checkpoint(self, reporter: Reporter) -> Path | None:
        """The checkpoint from which a run is resumed; None if it has to start from the beginning."""
        both = self.last_checkpoint, self.previous_checkpoint
        found = next((path for path in both if _is_intact(path)), None)
        if found is not None:
            try:
                load_model(self.bundle)
            except ModelError as error:  # the best epoch so far would be lost otherwise
                reporter.notice(f"the model of the best epoch is damaged: {error}")
                found = None
        if found is None:
            reporter.notice(f"{self.path} holds no finished epoch to resume from: starting from the beginning")
        elif found != self.last_checkpoint:
            reporter.notice(f"{self.last_checkpoint} is missing or damaged: going on from the epoch before")
        return found

    def clear_leftovers(self) -> None:
        """Remove the unfinished files of a killed run."""
        for path in self.path.glob(LEFTOVERS):
            _remove(path)

    def clear_scratch(self) -> None:
        """Remove the checkpoints and the cached windows of a finished run."""
        if self.cached_windows.exists():
            _remove(self.cached_windows)
        for path in (self.previous_checkpoint, self.last_checkpoint):
            path.unlink(missing_ok=True)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write into {self.path}: {error.strerror}: choose another --output") from None

    def _existing(self) -> list[Path]:
        """The results that exist."""
        results = self.bundle, self.config, self.metrics, self.scores, self.report, self.events, self.unit_counts
        return [path for path in (*results, self.last_checkpoint, self.previous_checkpoint) if path.exists()]

    def _check_resumable(self, spec: TrainSpec, existing: list[Path]) -> None:
        if self.config not in existing:
            if existing:
                raise OutputError(
                    f"{existing[0]} exists but {self.config} does not: pass --overwrite, or choose another --output"
                )
            return
        was, now = self._stored_settings(), written_settings(spec)
        changed = [name for name in now if name not in MAY_CHANGE and now[name] != was.get(name)]
        if changed:
            raise SpecError(
                f"{self.path} holds a run with other settings ({', '.join(changed)} differ from {self.config}): resume "
                "it with its own config, or pass --overwrite to start anew"
            )
        if self.report in existing and self.last_checkpoint not in existing:
            raise OutputError(f"{self.path} holds a finished run: there is nothing to resume, choose another --output")

    def _stored_settings(self) -> dict[str, Any]:
        """The settings in the config of the run to be resumed, completed by defaults."""
        try:
            return written_settings(parse_spec(TrainSpec, load_yaml(self.config), source=str(self.config)))
        except SpecError as error:
            raise SpecError(f"{error}: the run cannot be resumed, pass --overwrite to start it anew") from None


def written_settings(spec: TrainSpec) -> dict[str, Any]:
    """The resolved settings as config.yaml has them: without secrets."""
    settings: dict[str, Any] = yaml.safe_load(yaml.safe_dump(public_values(spec.model_dump(mode="json"))))
    return settings


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_intact(checkpoint: Path) -> bool:
    """Whether a checkpoint is undamaged: it is an archive with checksums of its parts."""
    try:
        with ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, BadZipFile, zlib.error, EOFError, ValueError, RuntimeError):
        return False
