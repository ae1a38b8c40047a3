"""`geoseg soup`: one model from several, the mean of their weights (Wortsman et al. 2022: a uniform soup).

In: bundles of one network that were trained from the same start. Out: a bundle, whose card says what it was made from.
It costs at prediction what one of its members costs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from torch import Tensor

from geoseg.commands.bundle_path import check_bundle_path
from geoseg.commands.describe_imagery import with_training_imagery
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.fit_temperature import with_fitted_temperature
from geoseg.commands.measure_seams import with_seams
from geoseg.commands.quantize import with_integers
from geoseg.commands.soup_members import Member, find_members
from geoseg.core.errors import SpecError
from geoseg.core.events import SILENT, NoticeLog, Progress, Reporter
from geoseg.core.files import workspace
from geoseg.core.redaction import public_form
from geoseg.data.listing import TEST, list_rasters
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.scores import Scores
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.model import Model
from geoseg.models.soup import is_half, mean_weights, share_alike
from geoseg.spec import ModelCard, ModelSpec, TrainSpec, parse_spec
from geoseg.training.run.settings import Config, resolve_settings

__all__ = ["SoupResult", "soup"]

LEAST_ALIKE = 0.9
"""Share of two models' kernels that are alike where both come from one start."""
TEXTS = "purpose", "description", "data", "credits", "licence", "limits"
"""Texts of a card that a soup takes from its members."""


@dataclass(frozen=True)
class SoupResult:
    """The result of `soup`."""

    bundle: Path
    """The model file."""
    name: str
    """Name of the model."""
    members: tuple[str, ...]
    """The bundles it was made from, in the order in which they were given."""
    alike: tuple[float, ...]
    """Of each member, the share of its kernels that point in about the direction of the first one's: about 1 where both
    were trained from the same weights, about 0 where they were not."""
    scores: Scores | None
    """Its scores on the validation side; None if there was no data."""
    test_scores: Scores | None
    """Its scores on the test side; None if there is none."""
    member_miou: tuple[float, ...]
    """Mean IoU of each member on the same pixels; of none if there was no data."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "bundle": str(self.bundle),
            "scores": self.scores and self.scores.as_dict(),
            "test_scores": self.test_scores and self.test_scores.as_dict(),
        }


def soup(
    models: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    config: Config | None = None,
    data: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> SoupResult:
    """Write the mean of the weights of models that share a start as one bundle.

    The mean of weights and of running statistics is computed in float64. Kernels are stored in 16 bits if those of all
    members are. The card names the members and their digests; their scores are not the soup's, and are left out.

    Args:
        models: bundles, `default`, or folders of runs; two or more, equal in network, bands, normalisation and classes.
        output: path of the bundle, NAME.safetensors; NAME becomes the model's name.
        config: a training config (YAML), or settings already read: its validation side fits the soup's
            temperature and scores soup and members; the soup's scores go on its card.
        data: CSV of labelled rasters, instead of the config's data.
        overwrite: replace a bundle that exists.
        device: where they are scored: auto, cpu, cuda, cuda:1 or mps.
        reporter: gets notices, and the progress of scoring.

    Raises:
        ModelError: if a bundle cannot be read, or differs in what its weights mean.
        SpecError: if a model is given twice, or a setting is invalid.
        LabelError: if labels cannot be used, or there are none to score.
        SceneError: if an image cannot be read.
        OutputError: if the bundle exists or cannot be written.
    """
    path, log = Path(output), NoticeLog(reporter)
    members = find_members(models)
    check_bundle_path(path, overwrite=overwrite)
    if config is None and data is not None:
        raise SpecError("a list of tiles does not say what their labels mean: give the config that does as well")
    settings = None if config is None else resolve_settings(config, data, {})
    loaded = [load_model(member.path) for member in members]
    states = [model.module.state_dict() for model in loaded]
    alike = tuple(share_alike(states[0], state) for state in states)
    _notice_starts(members, alike, log)
    spec = _spec(path.stem, members, loaded, log)
    half = all(is_half(model.module) for model in loaded)
    made, scored = _as_stored(spec, mean_weights(states), half=half), NOT_SCORED
    if settings is None:
        _notice_temperature(spec, members, log)
    else:
        made = with_fitted_temperature(made, settings, device, _Progress(log))
        made = with_training_imagery(made, settings, device, _Progress(log))
        made = with_integers(made, settings, _Progress(log))
        made = with_seams(made, settings, device, _Progress(log))
        scored = _score(made, loaded, settings, device, log)
    described = made.spec.model_copy(update={"card": scored.on_card(spec.card)})
    save_model(made.module, described, path, half=half, ranges=made.ranges)
    return SoupResult(
        bundle=path,
        name=spec.name,
        members=tuple(public_form(member.path) for member in members),
        alike=alike,
        scores=scored.val,
        test_scores=scored.test,
        member_miou=scored.member_miou,
        notices=tuple(log.lines),
    )


# ------------------------------------------------------------------------------------------------------------- scores


@dataclass(frozen=True)
class _Scored:
    """Scores of a soup, and of its members."""

    val: Scores | None = None
    """Of the soup on the validation side."""
    test: Scores | None = None
    """Of the soup on the test side."""
    test_images: int = 0
    """Images of the test side."""
    calibration: Mapping[str, Calibration | None] = field(default_factory=dict)
    """How well the soup's probabilities fit the labels of each side."""
    member_miou: tuple[float, ...] = ()
    """Mean IoU of each member on the validation side."""

    def on_card(self, card: ModelCard) -> ModelCard:
        """A card with these scores."""
        sides = {"scores": self.val, "test_scores": self.test}
        found: dict[str, Any] = {name: one.as_dict() for name, one in sides.items() if one is not None}
        if self.calibration:
            found["calibration"] = {side: one.as_dict() for side, one in self.calibration.items() if one is not None}
        images = {} if self.test is None else {"test_images": self.test_images}
        return card.model_copy(update=found | {"training": card.training | images})


NOT_SCORED = _Scored()


class _Progress(Reporter):
    """Passes on progress alone: the notices on the members are those on the soup."""

    def __init__(self, to: Reporter):
        self._to = to

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._to.progress(progress)


def _score(made: Model, members: Sequence[Model], settings: TrainSpec, device: str, log: Reporter) -> _Scored:
    """Score the soup and its members on the validation side, and the soup on the test side, if there is one."""
    val = evaluate_model(made, settings, reporter=log, device=device)
    quiet = _Progress(log)
    miou = tuple(evaluate_model(one, settings, reporter=quiet, device=device).scores.miou for one in members)
    _notice_scores(val.scores.miou, miou, log)
    if not _has_test(settings):
        return _Scored(val.scores, calibration={"val": val.calibration}, member_miou=miou)
    test = evaluate_model(made, settings, reporter=quiet, device=device, split="test")
    both = {"val": val.calibration, "test": test.calibration}
    return _Scored(val.scores, test.scores, test.images, both, miou)


def _has_test(settings: TrainSpec) -> bool:
    return bool(settings.data.split.test_share) or any(one.split == TEST for one in list_rasters(settings.data))


# --------------------------------------------------------------------------------------------------------------- model


def _as_stored(spec: ModelSpec, weights: Mapping[str, Tensor], *, half: bool) -> Model:
    """The model as its bundle will be read: what is scored is what is written.

    Raises:
        ModelError: if the mean is not finite.
    """
    module = build_network(spec, fresh=False)
    module.load_state_dict(weights)
    with workspace(Path(tempfile.gettempdir()) / "geoseg-soup") as scratch:
        return load_model(save_model(module, spec, scratch / "soup.safetensors", half=half))


def _spec(name: str, members: Sequence[Member], loaded: Sequence[Model], log: Reporter) -> ModelSpec:
    """The first member's spec under another name, with a card of its own and the members' mean temperature.

    What its imagery looks like stays, but for the features, which are those of the member's own weights.
    """
    specs = [member.spec for member in members]
    temperature = _mean_temperature([spec.temperature for spec in specs])
    found: dict[str, Any] = {"name": name, "int8": None, "seams": None, "temperature": temperature}
    for setting in ("tile", "overlap", "statistics", "brightness"):
        if any(getattr(spec, setting) != getattr(specs[0], setting) for spec in specs):
            log.notice(f"the models differ in {setting}: the soup takes that of {public_form(members[0].path)}")
    if specs[0].imagery is not None:
        found["imagery"] = specs[0].imagery.model_dump() | {"features": None}
    card = _card(specs, [_digest(model) for model in loaded], members)
    return parse_spec(ModelSpec, specs[0].model_dump() | found | {"card": card.model_dump()}, source="soup")


def _mean_temperature(given: Sequence[float]) -> float:
    """The geometric mean, to four digits; as it is where all are equal."""
    return given[0] if len(set(given)) == 1 else float(f"{geometric_mean(given):.4g}")


def _notice_temperature(spec: ModelSpec, members: Sequence[Member], log: Reporter) -> None:
    if any(member.spec.temperature != spec.temperature for member in members):
        log.notice(
            f"the soup's temperature {spec.temperature:g} is the mean of its models', not fitted to the soup itself: "
            "with data it is fitted"
        )


def _card(specs: Sequence[ModelSpec], digests: Sequence[str], members: Sequence[Member]) -> ModelCard:
    """Texts of the members' cards, and what the soup was made from; without the members' scores."""
    texts: dict[str, Any] = {name: _joined([getattr(spec.card, name) for spec in specs]) for name in TEXTS}
    trainings = [spec.card.training for spec in specs]
    shared = {key: value for key, value in trainings[0].items() if all(key in t and t[key] == value for t in trainings)}
    made_from = [
        {"name": spec.name, "file": member.path.name, "sha256": digest}
        | {key: spec.card.training[key] for key in ("seed", "best_epoch") if key in spec.card.training}
        for spec, digest, member in zip(specs, digests, members, strict=True)
    ]
    rule = f"mean of the weights of {len(specs)} models, of each as its own run kept it"
    return ModelCard(**texts, epoch_rule=rule, training=shared | {"soup": made_from})


def _joined(texts: Sequence[str]) -> str:
    """Texts without those that say again what an earlier one says."""
    return " ".join(dict.fromkeys(text for text in texts if text))


def _digest(model: Model) -> str:
    assert model.file is not None  # it was read from one
    return model.file.sha256


# ------------------------------------------------------------------------------------------------------------- doubts


def _notice_starts(members: Sequence[Member], alike: Sequence[float], log: Reporter) -> None:
    """Say which models do not share a start with the first one, or are equal to it."""
    first = members[0].path.read_bytes()
    for member, share in zip(members[1:], alike[1:], strict=True):
        if member.path.read_bytes() == first:
            log.notice(
                f"{public_form(member.path)} is a copy of {public_form(members[0].path)}: it counts twice, leave it out"
            )
        if share < LEAST_ALIKE:
            log.notice(
                f"{public_form(member.path)} and {public_form(members[0].path)} do not seem to come from one start "
                f"({share:.0%} of their kernels are alike): the mean of such weights classifies badly, train both with "
                "one init_from, which has decoder and classes as well"
            )


def _notice_scores(miou: float, members: Sequence[float], log: Reporter) -> None:
    mean = sum(members) / len(members)
    if miou < mean:
        log.notice(
            f"the soup scores worse (mIoU {miou:.4f}) than its models in the mean ({mean:.4f}): they may not share a "
            "start, or differ too much; take the best of them"
        )
