"""Leave-one-region-out: for each region a model that learnt from the others, and its scores there.

In: resolved training settings, and the column that names the regions. Out: a folder with `region_1_NAME/`, ..., each
the folder of a run whose test side is that region, and beside them regions.json and a report. A model is trained as the
settings say, its epoch chosen on the validation side of the other regions; the region itself chooses nothing and is
scored once. A killed run goes on with the first region that is not finished.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from geoseg.commands.train_folds import on_all_labels, with_split
from geoseg.commands.train_parts import begin, kept_once_begun, run_part
from geoseg.commands.train_run import Start
from geoseg.core.errors import LabelError, SpecError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import draft_of, write_errors
from geoseg.core.version import __version__
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.data.listing import CHOOSING, TEST, list_rasters, values_in
from geoseg.metrics.region_scores import AllRegions, RegionScores
from geoseg.metrics.scores import Scores
from geoseg.models.header import read_spec
from geoseg.outputs.report.regions import RegionsPage, write_regions_page
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import TrainSpec, load_train_spec
from geoseg.spec.settings import TrainSettings
from geoseg.training.data.training_data import read_training_data
from geoseg.training.run.run_folder import RunFolder
from geoseg.training.run.settings import Config, resolve_settings

MOST_REGIONS = 100
"""Most regions: a model is trained for each."""
LONGEST_NAME = 40
"""Most characters of a region's name in that of its folder."""


@dataclass(frozen=True)
class LeaveOutResult:
    """Scores in regions from which nothing was learnt."""

    name: str
    """Name of the config."""
    column: str
    """The column that names the regions."""
    found: AllRegions
    """Scores of each region, their mean and range."""
    file: Path
    """All of this as JSON."""
    report: Path
    """All of this as one HTML file."""
    seconds: float
    """Duration of all trainings."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "leave_out": self.column,
            **self.found.as_dict(),
            "file": str(self.file),
            "report": str(self.report),
            "seconds": self.seconds,
            "notices": list(self.notices),
        }


def leave_out(
    config: Config,
    column: str,
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[TrainSettings],
) -> LeaveOutResult:
    """Train a model for each region on all others, and score it on that region.

    Where the config has folds, each model learns all labels of the other regions, as the model of a cross-validation
    does. Images given as test are learnt by none, and scored with their region.

    Args:
        config: a training config, the folder of a run, or settings already read.
        column: of the list of tiles, with the region of each image; `group` where the config lists `scenes`.
        output: folder that gets regions.json, report.html, config.yaml and the folder of a run for each region.
        overwrite: replace the results of an earlier run.
        resume: go on where an earlier run was interrupted.
        reporter: gets notices, and progress as from `train`.
        settings: fields of TrainSpec, over what the config says.

    Raises:
        SpecError: if a setting is invalid, or does not go with regions that are left out.
        LabelError: if there are fewer than two regions, one has no labels, or all images without labels lie in it, or
            only one has labels of a class.
        GeosegError: as `train`.
    """
    spec = resolve_settings(config, None, settings)
    _check(spec)
    folder, log = RunFolder(Path(output), spec.name), NoticeLog(reporter)
    parts = _parts(spec, column, folder.path)
    _check_earlier(parts, folder, overwrite=overwrite)
    for part in parts:
        _check_given_split(part)
    with gdal_settings():
        _check_labels(parts, log)
        for part in parts:
            _check_without_labels(part)
    begin(folder, spec, Start(overwrite=overwrite, resume=resume), folder.path.glob("region_*"))
    file = folder.path / "regions.json"
    file.unlink(missing_ok=True)
    for number, part in enumerate(parts, 1):
        log.notice(f"{column} {part.region} left out, {number} of {len(parts)}")
        with kept_once_begun(folder, parts[0].path):
            run_part(part.spec, part.path, log)
    result = LeaveOutResult(
        name=spec.name,
        column=column,
        found=AllRegions([part.scores() for part in parts]),
        file=file,
        report=folder.report,
        seconds=sum(part.card_training["seconds"] for part in parts),
        notices=tuple(log.lines),
    )
    with write_errors(folder.path):
        with draft_of(file) as draft:
            draft.write_text(json.dumps(result.as_dict(), indent=2, ensure_ascii=False), "utf-8")
        _write_report(spec, result, parts)
    return result


@dataclass(frozen=True)
class _Part:
    """The run of a region that is left out."""

    region: str
    """Name of the region."""
    spec: TrainSpec
    """Settings of the run, whose test side is the region."""
    path: Path
    """Folder of the run."""

    @property
    def bundle(self) -> Path:
        """Its model."""
        return RunFolder(self.path, self.spec.name).bundle

    @property
    def card_training(self) -> Mapping[str, Any]:
        """What the model's card says of its training."""
        return read_spec(self.bundle).card.training

    def scores(self) -> RegionScores:
        """Scores of the finished run."""
        card = read_spec(self.bundle).card
        home = Scores.from_dict(card.scores) if card.scores else None
        calibration = card.calibration.get(TEST, {})
        return RegionScores(
            self.region, card.training["test_images"], Scores.from_dict(card.test_scores), home, calibration
        )


def _check(spec: TrainSpec) -> None:
    """Refuse settings that do not go with regions that are left out.

    Raises:
        SpecError: saying what to change.
    """
    split = spec.data.split
    if spec.seeds > 1 or spec.devices > 1:
        name = "seeds" if spec.seeds > 1 else "devices"
        raise SpecError(f"{name} {getattr(spec, name)} does not go with regions that are left out: take {name} 1")
    if split.test_share or split.test_where:
        name = "test_share" if split.test_share else "test_where"
        raise SpecError(
            f"data.split.{name} does not go with regions that are left out, each of which is the test of its model: "
            f"remove {name}"
        )


def _parts(spec: TrainSpec, column: str, folder: Path) -> list[_Part]:
    """A run for each region, in the order of the list of images.

    Raises:
        LabelError: if there are not two regions, or far too many.
    """
    regions = values_in(spec.data, column)
    if not 2 <= len(regions) <= MOST_REGIONS:
        has = f"has {len(regions):,} values" if len(regions) != 1 else f"has one value, {regions[0]}"
        raise LabelError(
            f"column {column} {has}: a model is trained for each region and learns the others, so give a column with "
            f"2 to {MOST_REGIONS} regions"
        )
    others = on_all_labels(spec) if spec.data.split.folds else spec
    return [
        _Part(region, with_split(others, test_where={column: region}), folder / f"region_{number}_{_plain(region)}")
        for number, region in enumerate(regions, 1)
    ]


def _plain(region: str) -> str:
    """The name of a region as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", region)[:LONGEST_NAME]


def _check_earlier(parts: Sequence[_Part], folder: RunFolder, *, overwrite: bool) -> None:
    """Refuse to go on with runs of other regions.

    Raises:
        SpecError: if the folder holds some.
    """
    wanted = {part.path: part.spec.data.split.test_where for part in parts}
    for path in () if overwrite else folder.path.glob("region_*"):
        if load_train_spec(path).data.split.test_where != wanted.get(path):
            raise SpecError(f"{path} holds the run of other regions: choose another --output, or pass --overwrite")


def _check_given_split(part: _Part) -> None:
    """Refuse a given split of which a side would be left empty.

    Raises:
        LabelError: if the region holds all images of a side.
    """
    sides = {one.split for one in list_rasters(part.spec.data) if one.split != TEST}
    is_given = part.spec.data.split.by in ("auto", "column") and sides & {*CHOOSING}
    missing = [side for side in CHOOSING if side not in sides]
    if is_given and missing:
        raise LabelError(
            f"{part.region} holds all images of split {missing[0]}: give {missing[0]} to images of other regions, or "
            "let geoseg split them (data.split.by: scene, blocks or none)"
        )


def _check_labels(parts: Sequence[_Part], reporter: Reporter) -> None:
    """Refuse a region without labels, and a class of a single region; report classes that a region lacks.

    Raises:
        LabelError: naming the region.
    """
    reporter.notice(f"counting the labels of {number_of(len(parts), 'region')}")
    counts = np.stack([_counts(part) for part in parts])
    names = [one.name for one in parts[0].spec.classes]
    for name, held in zip(names, (counts > 0).T, strict=True):
        if held.sum() == 1 and parts[0].spec.data.tags_column is None:
            raise LabelError(
                f"class {name} is labelled in {parts[int(held.argmax())].region} alone: where that is left out, no "
                "model learns it: label it elsewhere, or take the class out of `classes`"
            )
    for part, own in zip(parts, counts, strict=True):
        absent = [name for name, count in zip(names, own, strict=True) if not count]
        if absent:
            reporter.notice(
                f"{part.region} shows no {', '.join(absent)}: its means are over its other classes, and compare less "
                "well with those of other regions"
            )


def _check_without_labels(part: _Part) -> None:
    """Refuse images without labels that all lie in the region that is left out, which hides them from its model.

    Raises:
        LabelError: naming the region.
    """
    if part.spec.data.without_labels:
        with _naming(part):
            read_training_data(part.spec)


def _counts(part: _Part) -> NDArray[np.int64]:
    """Labelled pixels of a region per class (K)."""
    with _naming(part):
        return read_training_data(part.spec, only="test").side("test").class_counts


@contextmanager
def _naming(part: _Part) -> Iterator[None]:
    """Say of what is wrong with labels in which region it shows."""
    try:
        yield
    except LabelError as error:
        raise LabelError(f"{part.region} cannot be left out and scored: {error}") from None


def _write_report(spec: TrainSpec, result: LeaveOutResult, parts: Sequence[_Part]) -> None:
    network, scored = spec.network, sum(one.scores.pixels for one in result.found.regions)
    facts = {
        "Network": f"{network.architecture} {network.encoder}".strip(),
        "Bands": ", ".join(spec.data.bands),
        "Regions": f"{len(parts)}, by the column {result.column}; a model for each, which learnt from the others",
        "Labels scored": pixels_in_words(scored),
        "Epoch kept": read_spec(parts[0].bundle).card.epoch_rule,
        "Time": f"{result.seconds / 60:,.1f} min, all models together",
        "Reports": ", ".join(f"{part.path.name}/report.html" for part in parts),
        "Made by": f"geoseg {__version__}",
    }
    settings = RunFolder(result.report.parent, spec.name).config.read_text("utf-8")
    write_regions_page(
        RegionsPage(f"{spec.name}, each {result.column} left out", spec.classes, result.found, facts, settings),
        result.report,
    )
