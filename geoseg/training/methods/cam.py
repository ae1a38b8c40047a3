"""Class activation maps: images of which it is known what they show, but not where, give seeds of labels.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016: a linear classifier of globally
averaged features says which classes an image shows; the same classifier, applied pixel by pixel, says where. Kolesnikov
& Lampert, "Seed, Expand and Constrain", ECCV 2016, section 3: the network learns the surest of these places. What
differs: features are those of the decoder, maps include the classifier's bias, so that 0 is where it is in two minds,
and seeds come from running means of the weights while these are trained. As the tags of an image name all of its
classes, it is also learnt that each pixel is of one of them.

In: labelled windows, some with the index of a combination of tags as label. Out: the loss of labels and seeds, plus
that of the tags. The classifier is left out of the bundle.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import SpecError
from geoseg.data.labels.class_sets import ClassSets, class_sets
from geoseg.data.labels.tags import several_tags
from geoseg.models.decoded_features import DecodedFeatures
from geoseg.models.families.building import family_of
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, ModelSpec, Spec, TrainSpec
from geoseg.training.criterion import JoinedCriterion, TrainingCriterion
from geoseg.training.methods.method import LABELLED, Method, Setup, StepLoss, TrainingBatch
from geoseg.training.methods.unlabelled import evaluating, plain_of
from geoseg.training.optimization import ema_update
from geoseg.training.perturbations.targets import share

LEAST = 1e-6
"""Least weight of a mean, and least height of a map."""


class CamSettings(Spec):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=1.0, gt=0, le=1000)
    """Weight of the loss of the tags; that of labels and seeds is 1."""
    warm_up: float = Field(default=0.3, ge=0, lt=1)
    """Share of the steps before the first seeds: maps of the first steps show nothing."""
    threshold: float = Field(default=0.3, ge=0, le=1)
    """Height of a class's map, as a share of its highest one in the window, from which a pixel is a seed."""
    margin: float = Field(default=0.2, ge=0, le=1)
    """By how much it is higher than the maps of the other classes."""


class ClassActivationMaps(Method):
    """Minimises the loss of labels and, after a warm-up, of seeds, plus a weight times the loss of the tags.

    The latter is the binary cross-entropy of the classifier of windows, plus the mean of -log(sum of the probabilities
    of the tagged classes) over pixels with tags alone.
    """

    Settings = CamSettings
    learns_tags = True
    sees_unlabelled = True
    needs_plain = True
    figures = ("labelled", "tags", "seeds")
    steps: Tensor

    def __init__(self, setup: Setup, settings: CamSettings):
        """Prepare the losses, and a classifier of the decoder's features.

        Raises:
            SpecError: if the network that gives these features is frozen, or classes weigh nothing as they have tags
                alone.
        """
        super().__init__(setup, settings)
        _check_weights(setup)
        network = setup.network
        if any(part is network.body for part in network.frozen_parts):
            raise SpecError(
                "method cam: the features of the network are frozen in this run: set freeze_local to false, or take "
                "method supervised"
            )
        self.criterion = TrainingCriterion(network, setup.spec, setup.class_counts)
        self.classifier = nn.Conv2d(network.body.channels, len(setup.spec.classes), kernel_size=1)
        self.averaged_classifier = copy.deepcopy(self.classifier).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._decoded, self._given = DecodedFeatures(network.body), settings
        self._legend = TagLegend.of(setup)
        self._update = ema_update(setup.spec.ema)

    @classmethod
    def check(cls, spec: TrainSpec, settings: CamSettings) -> None:
        """Refuse a run without tags, with images without labels, or of a network without features of pixels.

        Raises:
            SpecError: saying what to change.
        """
        if spec.data.tags_column is None:
            raise SpecError("method cam learns from tags of images: name their column in data.tags_column")
        if spec.data.unlabelled:
            raise SpecError("method cam learns nothing from images without labels and tags: remove data.unlabelled")
        name = spec.network.architecture.lower()
        if not family_of(spec.network).info(name).takes_context:
            raise SpecError(
                f"method cam: {name} classifies masks and has no features of pixels: take another network, e.g. upernet"
            )

    @classmethod
    def example(cls, model: ModelSpec, folder: Path) -> dict[str, Any]:
        """Seeds from the first step on."""
        return {"warm_up": 0}

    def notices(self, known: Mapping[str, Any]) -> Sequence[str]:
        """Notify of classes that tags cannot separate."""
        always = [self.setup.spec.classes[index].name for index in self._legend.always]
        if len(always) < 2:
            return ()
        return [
            f"{' and '.join(always)} are among the tags of every image without labels: these cannot separate them, "
            "and give no seeds of them; add images that show one of them alone, or label some"
        ]

    def loss(self, batches: Mapping[str, TrainingBatch], generator: torch.Generator) -> StepLoss:
        """Loss of a batch of windows, its parts, and the share of the pixels with several tags that are seeds."""
        setup = self.setup
        windows = batches[LABELLED].augmented(setup.augment, setup.spec.window, generator)
        tagged = self._legend.read(windows)
        seeds = self._seeds(windows, tagged) if self.steps >= self._given.warm_up * setup.steps else tagged.labels
        windows = replace(windows, labels=seeds)
        tags = torch.zeros((), device=seeds.device)

        def of_tags(logits: Tensor) -> Tensor:
            nonlocal tags
            maps = self.classifier(self._decoded.take(len(logits), windows.image.shape[-2:])).float()
            value = tagged.presence_loss(maps)
            tags = value.detach()
            return value + tagged.loss_of_one(logits.float())

        criterion = JoinedCriterion(self.criterion, of_tags, windows.labels, weights=(1.0, self._given.weight))
        value = setup.network.training_loss(windows, criterion, setup.averaged, generator)
        assert criterion.last is not None  # the body is trained, and so are logits of windows
        figures = {"labelled": value - self._given.weight * criterion.last, "tags": tags}
        return StepLoss(value, figures | {"seeds": share((seeds != IGNORE) & tagged.several, tagged.several)})

    def after_step(self) -> None:
        """Count the step, and update the running mean of the classifier."""
        self.steps += 1
        self._update(list(self.averaged_classifier.parameters()), list(self.classifier.parameters()), self.steps)

    @torch.no_grad()
    def _seeds(self, windows: LabelledWindows, tagged: TaggedWindows) -> Tensor:
        """Labels (B, S, S) of windows, and seeds by the running means where there are several tags."""
        network, plain = self.setup.averaged, plain_of(windows)
        with evaluating(network):
            decoded, _ = network.body.classify(network.normalize(plain))
        maps = functional.interpolate(self.averaged_classifier(decoded).float(), plain.shape[-2:], mode="bilinear")
        return tagged.seeded(maps, self._legend.always, self._given.threshold, self._given.margin)


@dataclass(frozen=True)
class TagLegend:
    """What indexes of labels beyond the classes stand for."""

    first: int
    """The index of the first combination of tags; those between the classes and it are sets of classes."""
    shown: Tensor
    """Classes of each index (N, K), bool: a class itself, none of a set, those of a combination of tags; last, none."""
    always: tuple[int, ...]
    """Classes that are among the tags of every image without labels."""

    @classmethod
    def of(cls, setup: Setup) -> TagLegend:
        """The legend of a run."""
        count, combined = len(setup.spec.classes), several_tags(setup.tag_sets)
        first = count + len(class_sets(setup.spec.classes, setup.spec.data.class_sets))
        shown = torch.zeros(first + len(combined) + 1, count, dtype=torch.bool)
        shown[:count] = torch.eye(count, dtype=torch.bool)
        for number, members in enumerate(combined):
            shown[first + number, list(members)] = True
        return cls(first, shown, _common(setup.tag_sets))

    def read(self, windows: LabelledWindows) -> TaggedWindows:
        """What labels and tags say of windows."""
        labels, none = windows.labels, len(self.shown) - 1
        several = (labels >= self.first) & (labels != IGNORE)
        shown = self.shown.to(labels.device)[labels.where(labels != IGNORE, none)].movedim(-1, 1)
        is_set = (labels >= self.shown.shape[1]) & (labels < self.first)
        is_known = ~(windows.unlabelled | is_set).flatten(1).any(dim=1)
        own = (labels != IGNORE) | windows.unlabelled
        return TaggedWindows(labels.masked_fill(several, IGNORE), several, shown, own, is_known)


@dataclass(frozen=True)
class TaggedWindows:
    """What labels and tags say of the pixels of windows."""

    labels: Tensor
    """Class indexes (B, S, S), IGNORE where there is no label or several tags."""
    several: Tensor
    """Pixels of images with several tags and no label (B, S, S), bool."""
    shown: Tensor
    """Classes that each pixel may be of (B, K, S, S), bool; none where nothing is known."""
    own: Tensor
    """Pixels with data on the training side (B, S, S), bool."""
    is_known: Tensor
    """Windows (B,) of which it is known which classes they show: all of their pixels have a label or tags."""

    @property
    def tags(self) -> Tensor:
        """Classes that each window shows (B, K), float32."""
        return self.shown.flatten(2).any(dim=2).float()

    def presence_loss(self, maps: Tensor) -> Tensor:
        """Binary cross-entropy of the means of maps (B, K, h, w) over pixels with data against the tags, a scalar."""
        weights = functional.interpolate(self.own.unsqueeze(1).float(), maps.shape[-2:], mode="area")
        scores = (maps * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=LEAST)
        losses = functional.binary_cross_entropy_with_logits(scores, self.tags, reduction="none").mean(dim=1)
        counted = self.is_known & self.own.flatten(1).any(dim=1)
        return (losses * counted).sum() / counted.sum().clamp(min=1)

    def loss_of_one(self, logits: Tensor) -> Tensor:
        """Mean of -log(sum of the probabilities of its tags) over pixels with several tags, of logits (B, K, S, S)."""
        # Elsewhere all classes are allowed, so that nothing is infinite there, whose gradient would be NaN.
        allowed = self.shown | ~self.several.unsqueeze(1)
        within = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min).logsumexp(dim=1)
        losses = logits.logsumexp(dim=1) - within
        return (losses * self.several).sum() / self.several.sum().clamp(min=1)

    def seeded(self, maps: Tensor, always: Sequence[int], threshold: float, margin: float) -> Tensor:
        """Class indexes (B, S, S): the labels, and seeds by maps (B, K, S, S) where there are several tags.

        A class that all images show has no map of use: it is where no other class is. Of two such
        classes there are no seeds.

        Args:
            maps: the classifier's, above 0 where it finds the class.
            always: classes that all images show.
            threshold: height, as a share of the map's highest, from which a pixel is a seed.
            margin: by how much it is higher than the maps of the other classes.
        """
        heights = maps.clamp(min=0) * (self.shown & self.several.unsqueeze(1))
        heights = heights / heights.amax(dim=(2, 3), keepdim=True).clamp(min=LEAST)
        heights[:, list(always)] = 0
        if len(always) == 1:
            heights[:, always[0]] = 1 - heights.amax(dim=1)
        highest, classes = heights.topk(min(2, heights.shape[1]), dim=1)
        lead = highest[:, 0] - highest[:, -1]
        sure = self.several & (highest[:, 0] >= threshold) & (lead >= margin) & (highest[:, 0] > 0)
        return classes[:, 0].where(sure, self.labels)


def _check_weights(setup: Setup) -> None:
    """Refuse weights by the number of labelled pixels where a class has none: its seeds would weigh nothing."""
    how, counts = setup.spec.loss.class_weights, setup.class_counts
    absent = next((c.name for c, count in zip(setup.spec.classes, counts, strict=True) if not count), None)
    if isinstance(how, str) and how != "none" and absent is not None:
        raise SpecError(
            f"loss.class_weights: {how} counts labelled pixels, and class {absent} has tags alone: give a weight for "
            "each class, or none"
        )


def _common(sets: ClassSets) -> tuple[int, ...]:
    """The classes that are in all of some sets, sorted; none of no set."""
    return tuple(sorted(set.intersection(*map(set, sets)))) if sets else ()
