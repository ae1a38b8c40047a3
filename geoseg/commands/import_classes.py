"""Classes of an imported model: as they are named on a command line or in a file, and fitted to its head.

In: names, or a file that names classes; weights. Out: classes with ids and colours, and the weights of their channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.errors import ModelError, SpecError
from geoseg.core.wording import number_of
from geoseg.models.layouts.head import Counts, with_background, with_channels
from geoseg.raster.legend import Legend
from geoseg.raster.legends import LegendReading, with_file
from geoseg.raster.named_colors import colored_classes
from geoseg.spec import ClassSpec, ImportedClass, load_yaml

YAML = ".yaml", ".yml"


def read_classes(given: Sequence[Any]) -> list[Any]:
    """Classes as they are given: of a file, if a single text is the path of one.

    Raises:
        SpecError: if the file names no classes.
    """
    if len(given) != 1 or not isinstance(given[0], str) or not Path(given[0]).is_file():
        return [*given]
    path = Path(given[0])
    if path.suffix.lower() in YAML:
        classes = load_yaml(path).get("classes")
        if not isinstance(classes, list):
            raise SpecError(f"{path} names no classes: write `classes: [water, forest, ...]`")
        return classes
    legend = with_file(LegendReading(Legend(), False, ()), path).legend
    if not legend.names:
        raise SpecError(f"{path} names no classes: give a file that names values, or write the names")
    return [
        {"name": legend.names[value], "id": value, "color": legend.colors.get(value)} for value in sorted(legend.names)
    ]


@dataclass(frozen=True)
class FittedHead:
    """Classes, and weights whose head has a channel for each."""

    classes: tuple[ClassSpec, ...]
    """The classes in the order of the channels."""
    weights: Mapping[str, Tensor]
    """Weights of the body."""
    notices: tuple[str, ...] = ()
    """What was done to the head."""


def fit_head(given: Sequence[ImportedClass], weights: Mapping[str, Tensor], counts: Counts) -> FittedHead:
    """Fit a head to the classes that are named: cut channels of no class, and turn a sigmoid into two classes.

    Raises:
        ModelError: if the head has another number of channels than there are classes.
        SpecError: if two classes share an id or a channel.
    """
    classes = _with_colors(given)
    if counts.channels is None:
        return FittedHead(classes, weights)
    if counts.channels == 1 and all(one.channel is None for one in given):
        return _fit_sigmoid(classes, weights, counts)
    channels = [place if one.channel is None else one.channel for place, one in enumerate(given)]
    if len(given) != counts.channels and all(one.channel is None for one in given):
        raise ModelError(
            f"the weights have {number_of(counts.channels, 'channel')} for classes, but "
            f"{number_of(len(given), 'class')} named: name all in the order of the channels, or give each class its "
            "`channel` in a --spec, and others are cut off"
        )
    if len({*channels}) < len(channels):
        raise SpecError("two classes share a channel: give each its own")
    if (wrong := max(channels)) >= counts.channels:
        raise ModelError(f"there is no channel {wrong}: the weights have {counts.channels}, counted from 0")
    if channels == [*range(counts.channels)]:
        return FittedHead(classes, weights)
    cut = [place for place in range(counts.channels) if place not in channels]
    line = f"{number_of(len(cut), 'channel')} of no class cut off ({_listed(cut)})"
    return FittedHead(classes, with_channels(weights, counts, channels), (line,) if cut else ())


def _fit_sigmoid(classes: Sequence[ClassSpec], weights: Mapping[str, Tensor], counts: Counts) -> FittedHead:
    if len(classes) != 2:
        raise ModelError(
            "the weights have one channel, the logit of a class against all others: name two classes, the others "
            f"first, e.g. background,building, not {number_of(len(classes), 'class')}"
        )
    line = f"the head's only channel is the logit of {classes[1].name}: {classes[0].name} gets the logit 0"
    return FittedHead(tuple(classes), with_background(weights, counts), (line,))


def _with_colors(given: Sequence[ImportedClass]) -> tuple[ClassSpec, ...]:
    """Classes with ids and colours, in their order."""
    ids = [place if one.id is None else one.id for place, one in enumerate(given)]
    if len({*ids}) < len(ids):
        raise SpecError("two classes share an id: give each its own, or none at all")
    names = {class_id: one.name for class_id, one in zip(ids, given, strict=True)}
    colors = {class_id: one.color for class_id, one in zip(ids, given, strict=True) if one.color is not None}
    found = {one.id: one for one in colored_classes(Legend(names, colors))}
    return tuple(found[class_id] for class_id in ids)


def _listed(places: Sequence[int]) -> str:
    return ", ".join(map(str, places[:12])) + (", ..." if len(places) > 12 else "")
